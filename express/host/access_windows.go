package host

// Writable reports whether files can be made in a directory; every one is believed.
func Writable(string) bool { return true }
