//go:build !windows

package host

// RegisteredPythons returns nil, because only Windows has a registry.
func RegisteredPythons(string) []string { return nil }

// HTTPDServices returns nil, because services of other systems use known directories.
func HTTPDServices() []string { return nil }
