//go:build !windows

package detect

// noRegistry: only Windows has a registry.
type noRegistry struct{}

func thisRegistry() registry { return noRegistry{} }

func (noRegistry) keys(string) []string        { return nil }
func (noRegistry) value(string, string) string { return "" }
