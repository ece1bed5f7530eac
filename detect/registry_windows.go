package detect

import (
	"strings"

	winreg "golang.org/x/sys/windows/registry"
)

// hostRegistry is this machine's registry.
type hostRegistry struct{}

func thisRegistry() registry { return hostRegistry{} }

func (hostRegistry) open(path string, access uint32) (winreg.Key, bool) {
	root, rest, _ := strings.Cut(path, `\`)
	k, err := winreg.OpenKey(map[string]winreg.Key{"HKCU": winreg.CURRENT_USER, "HKLM": winreg.LOCAL_MACHINE}[root], rest, access)
	return k, err == nil
}

func (h hostRegistry) keys(path string) []string {
	k, ok := h.open(path, winreg.ENUMERATE_SUB_KEYS)
	if !ok {
		return nil
	}
	defer func() { _ = k.Close() }()
	names, _ := k.ReadSubKeyNames(-1)
	return names
}

func (h hostRegistry) value(path, name string) string {
	k, ok := h.open(path, winreg.QUERY_VALUE)
	if !ok {
		return ""
	}
	defer func() { _ = k.Close() }()
	s, kind, err := k.GetStringValue(name)
	if err == nil && kind == winreg.EXPAND_SZ {
		if expanded, err := winreg.ExpandString(s); err == nil {
			return expanded
		}
	}
	return s
}
