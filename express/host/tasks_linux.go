package host

import (
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// Tasks returns how many processes and threads a server of this user may have; 0 if that
// is unknown. systemd gives a service 15 % of what the kernel allows (DefaultTasksMax in
// systemd-system.conf(5)), and a server may become one.
func Tasks() int {
	n := 0
	if data, err := os.ReadFile("/proc/sys/kernel/threads-max"); err == nil {
		all, _ := strconv.Atoi(strings.TrimSpace(string(data)))
		n = all / 20 * 3
	}
	var l unix.Rlimit
	if os.Geteuid() == 0 || unix.Getrlimit(unix.RLIMIT_NPROC, &l) != nil || l.Cur > 1<<30 {
		return n
	}
	if user := int(l.Cur); n == 0 || user < n {
		return user
	}
	return n
}
