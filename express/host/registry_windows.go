package host

import (
	"path/filepath"
	"strings"

	"golang.org/x/sys/windows/registry"
)

// RegisteredPythons returns the directories of registered Pythons of a minor version
// (PEP 514), the current user's first.
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

// HTTPDServices returns the server roots whose httpd.exe runs as a service.
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

// serviceDir extracts the server root from a service's command line, which may be
// quoted. It returns "" for other programs.
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
