//go:build !linux

package host

// Configurations is for Linux.
func Configurations() []string { return nil }
