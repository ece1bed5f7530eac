//go:build unix && !linux

package prove

func noexec(string) bool { return false }
