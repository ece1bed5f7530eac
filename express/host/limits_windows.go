package host

// OpenFiles returns 0: Windows has no such limit.
func OpenFiles() int { return 0 }

// AllowOpenFiles returns n.
func AllowOpenFiles(n int) int { return n }
