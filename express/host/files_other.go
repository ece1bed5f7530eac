//go:build !linux

package host

// HasLocalFiles is for Linux.
func HasLocalFiles(string) bool { return false }
