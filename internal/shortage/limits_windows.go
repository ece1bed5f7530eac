package shortage

const fileSize, openFiles, addressSpace, processes = 0, 0, 0, 0

func rlimit(int) (uint64, bool) { return 0, false }

func noInodes(string) bool { return false }

// SameFileSystem reports whether two paths are on one volume, judging by their names.
func SameFileSystem(a, b string) bool {
	return len(a) > 1 && len(b) > 1 && a[:2] == b[:2]
}
