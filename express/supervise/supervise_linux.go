package supervise

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// childAttributes puts httpd into a group of its own, so that a key on the
// terminal reaches it through us only, and ends it when we are killed in a way
// that leaves us no time. As a single process (no group) httpd may lose a SIGTERM
// to a thread of the application's, and has no children that need a goodbye.
func childAttributes(group bool) *syscall.SysProcAttr {
	if !group {
		return &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	}
	return &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGTERM}
}

// adopt makes us the parent of what httpd leaves behind (prctl(2)). As a single
// process it may end without a word to the processes of services.
func adopt() { _ = unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) }

// endAdopted ends what was left behind: first kindly, after some time by force.
func endAdopted(patience time.Duration) {
	for _, s := range []unix.Signal{unix.SIGTERM, unix.SIGKILL} {
		for _, pid := range children() {
			_ = unix.Kill(pid, s)
		}
		for deadline := time.Now().Add(patience); time.Now().Before(deadline); time.Sleep(10 * time.Millisecond) {
			for {
				if pid, err := unix.Wait4(-1, nil, unix.WNOHANG, nil); err != nil || pid <= 0 {
					break
				}
			}
			if len(children()) == 0 {
				return
			}
		}
	}
}

// children are the processes whose parent we are (proc(5): the parent follows
// the name, which is in parentheses, and the state).
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
