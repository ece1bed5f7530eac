package place

import (
	"errors"

	"golang.org/x/sys/unix"
)

// exchange swaps two existing entries atomically, see renameat2(2).
func exchange(a, b spot) error {
	return atBoth(a, b, "exchange", func(x, y int) error { return unix.Renameat2(x, a.name, y, b.name, unix.RENAME_EXCHANGE) })
}

// renameNew renames and never replaces.
func renameNew(from, to spot) error {
	err := atBoth(from, to, "rename", func(a, b int) error { return unix.Renameat2(a, from.name, b, to.name, unix.RENAME_NOREPLACE) })
	if errors.Is(err, unix.EINVAL) || errors.Is(err, unix.ENOSYS) || errors.Is(err, unix.ENOTSUP) {
		return renameChecked(from, to)
	}
	return err
}

// syncTree makes everything below an open directory durable: one call for the whole
// file system instead of one for each of some thousand files.
func syncTree(at spot) error {
	f, err := at.dir.Root().Open(".")
	if err != nil {
		return err
	}
	defer func() { _ = f.Close() }()
	return unix.Syncfs(int(f.Fd()))
}
