package place

import (
	"path/filepath"

	"golang.org/x/sys/unix"

	"modwsgi/internal/owned"
)

// attributes returns the attributes of a name in a directory, or of the directory itself
// if name is "".
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
		return 0 // an old kernel, or a file system without attributes
	}
	return st.Attributes & st.Attributes_mask
}

// described describes the attributes that prevent a change, or nil.
func described(attr uint64) *obstacle {
	switch {
	case attr&unix.STATX_ATTR_IMMUTABLE != 0:
		return &obstacle{"is immutable (chattr +i): nobody can move, replace or remove it", "run chattr -i"}
	case attr&unix.STATX_ATTR_APPEND != 0:
		return &obstacle{"is append-only (chattr +a): nobody can move, replace or remove it", "run chattr -a"}
	}
	return nil
}

// closedDir returns what prevents names from being made and removed in a directory.
func closedDir(dir *owned.Dir) *obstacle {
	switch attr := attributes(dir, ""); {
	case attr&unix.STATX_ATTR_IMMUTABLE != 0:
		return &obstacle{"is immutable (chattr +i): nothing can be made or removed in it", "run chattr -i"}
	case attr&unix.STATX_ATTR_APPEND != 0:
		return &obstacle{"is append-only (chattr +a): nothing made in it can be removed", "run chattr -a"}
	}
	return nil
}

// fixed returns what prevents a name from being moved or removed.
func fixed(at spot) *obstacle {
	attr := attributes(at.dir, at.name)
	if attr&unix.STATX_ATTR_MOUNT_ROOT != 0 {
		return &obstacle{"is a mount point: it can be neither moved nor removed", "unmount"}
	}
	return described(attr)
}

// obstacleAt returns the obstacle at a path itself, or at its directory, for messages.
func obstacleAt(path string) (*obstacle, string) {
	for _, at := range []string{path, filepath.Dir(path)} {
		if o := described(attributesAt(unix.AT_FDCWD, at)); o != nil {
			return o, at
		}
	}
	return nil, ""
}

// writable asks the system whether names can be made in a directory. A read-only file
// system and missing rights show up without anything being made.
func writable(dir *owned.Dir) error {
	f, err := dir.Root().Open(".")
	if err != nil {
		return err
	}
	defer func() { _ = f.Close() }()
	return unix.Faccessat(int(f.Fd()), ".", unix.W_OK|unix.X_OK, 0)
}
