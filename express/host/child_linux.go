package host

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// childAttributes puts httpd into a process group of its own, so that keys on the
// terminal reach it through the launcher only. The system ends httpd when the launcher is
// killed. A single process (no group) may lose a SIGTERM to a thread of the application,
// and has no children that need an orderly end.
func childAttributes(group bool) *syscall.SysProcAttr {
	if !group {
		return &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	}
	return &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGTERM}
}

// adopt makes the launcher the parent of the processes that httpd leaves behind
// (prctl(2)). A single process may end without ending the processes of services.
func adopt() { _ = unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) }

// EndAdopted ends the processes that httpd left behind: first by SIGTERM, after some
// time by SIGKILL.
func EndAdopted(patience time.Duration) {
	for _, s := range []unix.Signal{unix.SIGTERM, unix.SIGKILL} {
		for _, pid := range children() {
			_ = unix.Kill(pid, s)
		}
		for deadline := time.Now().Add(patience); time.Now().Before(deadline); time.Sleep(10 * time.Millisecond) {
			reap()
			if len(children()) == 0 {
				return
			}
		}
	}
}

// children returns the launcher's child processes (proc(5): the parent follows the name,
// which is in parentheses, and the state).
func children() []int {
	var found []int
	names, _ := filepath.Glob("/proc/[0-9]*/stat")
	for _, name := range names {
		data, err := os.ReadFile(name)
		if err != nil {
			continue
		}
		text := string(data)
		fields := strings.Fields(text[strings.LastIndexByte(text, ')')+1:])
		if len(fields) < 2 || fields[1] != strconv.Itoa(os.Getpid()) {
			continue
		}
		if pid, err := strconv.Atoi(filepath.Base(filepath.Dir(name))); err == nil {
			found = append(found, pid)
		}
	}
	return found
}
