//go:build !windows

package host

// RegisteredPythons finds none: only Windows has a registry.
func RegisteredPythons(string) []string { return nil }

// HTTPDServices finds none: where httpd is a service, its place is known.
func HTTPDServices() []string { return nil }
