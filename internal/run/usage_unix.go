//go:build unix

package run

import (
	"os"
	"runtime"
	"syscall"
)

// maxResident returns the largest resident set of a process in bytes: getrusage(2) counts
// in KiB on Linux and the BSDs, in bytes on macOS.
func maxResident(s *os.ProcessState) int64 {
	u, ok := s.SysUsage().(*syscall.Rusage)
	if !ok {
		return 0
	}
	if runtime.GOOS == "darwin" {
		return int64(u.Maxrss)
	}
	return int64(u.Maxrss) << 10
}
