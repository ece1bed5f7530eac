package host

import (
	"os"
	"strconv"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// childAttributes puts httpd into a process group of its own, so that keys on the
// terminal reach it through the launcher only. The system ends httpd when the launcher is
// killed, unless httpd is to outlive it. A single process (no group) may lose a SIGTERM to a thread of the application,
// and has no children that need an orderly end.
func childAttributes(group, outlives bool) *syscall.SysProcAttr {
	if outlives {
		return &syscall.SysProcAttr{Setpgid: group}
	}
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

// children returns the launcher's child processes.
func children() []int {
	var found []int
	for _, name := range processIDs() {
		fields, err := statFields(name)
		if err != nil || len(fields) <= statParent || fields[statParent] != strconv.Itoa(os.Getpid()) {
			continue
		}
		if pid, err := strconv.Atoi(name); err == nil {
			found = append(found, pid)
		}
	}
	return found
}
