//go:build unix

package remote

import (
	"fmt"
	"os"
)

// onlyOwner refuses a private key that others can read.
func onlyOwner(name string) error {
	info, err := os.Stat(name)
	if err != nil {
		return err
	}
	if mode := info.Mode(); mode.IsRegular() && mode.Perm()&0o077 != 0 {
		return fmt.Errorf("%s can be read by others than its owner (mode %v): chmod 600 it", name, mode.Perm())
	}
	return nil
}
