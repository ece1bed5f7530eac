package prove

import "golang.org/x/sys/unix"

// noexec reports whether programs and libraries in a directory cannot be executed.
func noexec(dir string) bool {
	var st unix.Statfs_t
	return unix.Statfs(dir, &st) == nil && st.Flags&unix.ST_NOEXEC != 0
}
