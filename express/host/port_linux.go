package host

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// holder describes the process that listens on a TCP port. It returns "" if the process
// is unknown. It looks up the inode of the socket in net/tcp and the process in PID/fd
// (proc(5)).
func holder(port int) string {
	inodes := map[string]bool{}
	for _, table := range []string{"/proc/net/tcp", "/proc/net/tcp6"} {
		data, err := os.ReadFile(table)
		if err != nil {
			continue
		}
		for line := range strings.Lines(string(data)) {
			f := strings.Fields(line)
			if len(f) > 9 && f[3] == "0A" && strings.HasSuffix(f[1], fmt.Sprintf(":%04X", port)) {
				inodes["socket:["+f[9]+"]"] = true
			}
		}
	}
	if len(inodes) == 0 {
		return ""
	}
	links, _ := filepath.Glob("/proc/[0-9]*/fd/*")
	first := 0
	for _, link := range links {
		if target, err := os.Readlink(link); err != nil || !inodes[target] {
			continue
		}
		// Prefer a parent to its children.
		if pid, err := strconv.Atoi(strings.Split(link, "/")[2]); err == nil && (first == 0 || pid < first) {
			first = pid
		}
	}
	if first == 0 {
		return ""
	}
	name, _ := os.ReadFile(fmt.Sprintf("/proc/%d/comm", first))
	return fmt.Sprintf("%s (process %d)", strings.TrimSpace(string(name)), first)
}
