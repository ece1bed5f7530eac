package buildcache

import "os"

// openPlain opens a file; links were looked for before.
func openPlain(name string) (*os.File, error) { return os.Open(name) }

// trusted is for systems with owners and modes.
func (c Cache) trusted(entry string) error {
	_, err := os.Stat(entry)
	return err
}

// Owned is for systems with owners and modes.
func Owned(dir string) error {
	_, err := os.Stat(dir)
	return err
}
