package host

// Writable always returns true on Windows.
func Writable(string) bool { return true }
