//go:build unix

package place

import (
	"os"

	"golang.org/x/sys/unix"
)

// atBoth calls do with the descriptors of two open directories.
func atBoth(from, to spot, op string, do func(from, to int) error) error {
	a, err := from.dir.Root().Open(".")
	if err != nil {
		return err
	}
	defer func() { _ = a.Close() }()
	b, err := to.dir.Root().Open(".")
	if err != nil {
		return err
	}
	defer func() { _ = b.Close() }()
	if err := do(int(a.Fd()), int(b.Fd())); err != nil {
		return &os.LinkError{Op: op, Old: from.path(), New: to.path(), Err: err}
	}
	return nil
}

// rename moves an entry. It moves links and does not follow them, on both sides.
func rename(from, to spot) error {
	return atBoth(from, to, "rename", func(a, b int) error { return unix.Renameat(a, from.name, b, to.name) })
}

// link gives a file, which must not be a symbolic link, another name.
func link(source string, to *os.File, name string) error {
	return unix.Linkat(unix.AT_FDCWD, source, int(to.Fd()), name, 0)
}
