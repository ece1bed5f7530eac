package host

import (
	"path/filepath"
	"strings"

	"golang.org/x/sys/windows/registry"
)

// RegisteredPythons are the directories of Pythons of a minor version that their
// installers registered (PEP 514), the user's own first.
func RegisteredPythons(minor string) (dirs []string) {
	for _, root := range []registry.Key{registry.CURRENT_USER, registry.LOCAL_MACHINE} {
		k, err := registry.OpenKey(root, `Software\Python\PythonCore\`+minor+`\InstallPath`, registry.QUERY_VALUE|registry.WOW64_64KEY)
		if err != nil {
			continue
		}
		dir, _, err := k.GetStringValue("")
		_ = k.Close()
		if dir = strings.TrimRight(dir, `\/`); err == nil {
			dirs = append(dirs, dir)
		}
	}
	return dirs
}

// HTTPDServices are the server roots whose httpd.exe a service runs, wherever its
// distribution was unpacked to.
func HTTPDServices() []string {
	const services = `SYSTEM\CurrentControlSet\Services`
	k, err := registry.OpenKey(registry.LOCAL_MACHINE, services, registry.ENUMERATE_SUB_KEYS)
	if err != nil {
		return nil
	}
	names, _ := k.ReadSubKeyNames(-1)
	_ = k.Close()
	var dirs []string
	for _, name := range names {
		k, err := registry.OpenKey(registry.LOCAL_MACHINE, services+`\`+name, registry.QUERY_VALUE)
		if err != nil {
			continue
		}
		image, _, err := k.GetStringValue("ImagePath")
		_ = k.Close()
		if dir := serviceDir(image); err == nil && dir != "" {
			dirs = append(dirs, dir)
		}
	}
	return dirs
}

// serviceDir takes the server root out of a service's command line, which may be
// quoted; "" for another program's.
func serviceDir(image string) string {
	exe, _, quoted := strings.Cut(strings.TrimPrefix(image, `"`), `"`)
	if at := strings.Index(strings.ToLower(exe), ".exe "); !quoted && at >= 0 {
		exe = exe[:at+len(".exe")]
	}
	bin := filepath.Dir(exe)
	if !strings.EqualFold(filepath.Base(exe), "httpd.exe") || !strings.EqualFold(filepath.Base(bin), "bin") {
		return ""
	}
	return filepath.Dir(bin)
}
