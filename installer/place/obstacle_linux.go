package place

import (
	"path/filepath"

	"golang.org/x/sys/unix"

	"modwsgi/internal/owned"
)

// attributes asks about a name in a directory, the directory itself where name is "".
func attributes(dir *owned.Dir, name string) uint64 {
	f, err := dir.Root().Open(".")
	if err != nil {
		return 0
	}
	defer func() { _ = f.Close() }()
	return attributesAt(int(f.Fd()), name)
}

func attributesAt(dir int, name string) uint64 {
	var st unix.Statx_t
	if err := unix.Statx(dir, name, unix.AT_EMPTY_PATH|unix.AT_SYMLINK_NOFOLLOW|unix.AT_NO_AUTOMOUNT, unix.STATX_TYPE, &st); err != nil {
		return 0 // an old kernel, or a file system that does not say
	}
	return st.Attributes & st.Attributes_mask
}

// described names the attributes that are in the way; nil where none is.
func described(attr uint64) *obstacle {
	switch {
	case attr&unix.STATX_ATTR_IMMUTABLE != 0:
		return &obstacle{"is immutable (chattr +i): nobody can move, replace or remove it", "run chattr -i"}
	case attr&unix.STATX_ATTR_APPEND != 0:
		return &obstacle{"is append-only (chattr +a): nobody can move, replace or remove it", "run chattr -a"}
	}
	return nil
}

// closedDir reports what keeps names from being made in a directory and removed.
func closedDir(dir *owned.Dir) *obstacle {
	switch attr := attributes(dir, ""); {
	case attr&unix.STATX_ATTR_IMMUTABLE != 0:
		return &obstacle{"is immutable (chattr +i): nothing can be made or removed in it", "run chattr -i"}
	case attr&unix.STATX_ATTR_APPEND != 0:
		return &obstacle{"is append-only (chattr +a): what is made in it cannot be taken back", "run chattr -a"}
	}
	return nil
}

// fixed reports what keeps a name from being moved or removed.
func fixed(at spot) *obstacle {
	attr := attributes(at.dir, at.name)
	if attr&unix.STATX_ATTR_MOUNT_ROOT != 0 {
		return &obstacle{"is a mount point: it can be neither moved nor removed", "unmount"}
	}
	return described(attr)
}

// obstacleAt is what a path itself, or its directory, has in the way; for messages.
func obstacleAt(path string) (*obstacle, string) {
	for _, at := range []string{path, filepath.Dir(path)} {
		if o := described(attributesAt(unix.AT_FDCWD, at)); o != nil {
			return o, at
		}
	}
	return nil, ""
}

// writable asks the system whether names can be made in a directory: a read-only file
// system and missing rights show that way, and nothing is made.
func writable(dir *owned.Dir) error {
	f, err := dir.Root().Open(".")
	if err != nil {
		return err
	}
	defer func() { _ = f.Close() }()
	return unix.Faccessat(int(f.Fd()), ".", unix.W_OK|unix.X_OK, 0)
}
