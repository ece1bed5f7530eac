//go:build !linux

package host

// Workers is for Linux.
func Workers(int) []Worker { return nil }

// DaemonQueue is for Linux.
func DaemonQueue(string, int) (q Queue, serving map[uint64]bool) { return q, nil }

// PortQueue is for Linux.
func PortQueue(...int) (q Queue) { return q }
