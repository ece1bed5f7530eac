package doctor

import "syscall"

const stNoexec = 8 // ST_NOEXEC of statfs(2)

func mountOf(path string) (mountPoint, bool) {
	var st syscall.Statfs_t
	if syscall.Statfs(path, &st) != nil {
		return mountPoint{}, false
	}
	return mountPoint{noexec: st.Flags&stNoexec != 0, free: st.Bavail * uint64(st.Bsize)}, true
}
