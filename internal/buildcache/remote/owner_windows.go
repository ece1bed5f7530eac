package remote

import "os"

// onlyOwner is for systems with modes.
func onlyOwner(name string) error {
	_, err := os.Stat(name)
	return err
}
