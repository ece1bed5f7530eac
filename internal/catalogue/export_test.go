package catalogue

// SetSystemDir replaces the directory for every user, for a test.
func SetSystemDir(dir string) (restore func()) {
	was := systemDir
	systemDir = dir
	return func() { systemDir = was }
}
