package cachedir

import "golang.org/x/sys/unix"

// volumeOf returns the file system of a directory.
func volumeOf(dir string) (volume, error) {
	var fs unix.Statfs_t
	var st unix.Stat_t
	if err := unix.Statfs(dir, &fs); err != nil {
		return volume{}, err
	}
	if err := unix.Stat(dir, &st); err != nil {
		return volume{}, err
	}
	v := volume{id: st.Dev, free: int64(fs.Bavail) * int64(fs.Bsize), files: int64(fs.Ffree)}
	if fs.Files == 0 { // btrfs and others create them as needed
		v.files = -1
	}
	return v, nil
}
