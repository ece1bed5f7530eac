//go:build unix && !linux

package installer

func noexec(string) bool { return false }
