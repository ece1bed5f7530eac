//go:build acceptance && linux

package cgroup

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// TestRealLimits enters real control groups: one with a quota of one processor, and one
// with memory for a single compiler.
func TestRealLimits(t *testing.T) {
	if os.Getenv("MODWSGI_TEST_CGROUP") != "" {
		n, why := Read().Jobs()
		fmt.Printf("%d %s\n", n, why)
		return
	}
	if n, _ := Read().Jobs(); n < 2 {
		t.Skip("needs more than one processor")
	}
	for _, c := range []struct{ why, v1, v1File, v1Value, v2File, v2Value string }{
		{"the control group's quota", "cpu", "cpu.cfs_quota_us", "100000", "cpu.max", "100000 100000"},
		{"memory", "memory", "memory.limit_in_bytes", "500000000", "memory.max", "500000000"},
	} {
		t.Run(c.why, func(t *testing.T) {
			dir, file, value := filepath.Join("/sys/fs/cgroup", c.v1), c.v1File, c.v1Value
			if _, err := os.Stat(filepath.Join(dir, "cgroup.procs")); err != nil {
				dir, file, value = "/sys/fs/cgroup", c.v2File, c.v2Value
			}
			group := filepath.Join(dir, fmt.Sprintf("modwsgi-test-%d", os.Getpid()))
			if err := os.Mkdir(group, 0o755); err != nil {
				t.Skipf("cannot create a control group: %v", err)
			}
			t.Cleanup(func() {
				if err := os.Remove(group); err != nil {
					t.Error(err)
				}
			})
			if err := os.WriteFile(filepath.Join(group, file), []byte(value), 0o644); err != nil {
				t.Skipf("cannot set a limit: %v", err)
			}
			run := exec.Command("sh", "-c", `echo $$ >"$1/cgroup.procs" && exec "$2" -test.run '^TestRealLimits$'`, "sh", group, os.Args[0])
			run.Env = append(os.Environ(), "MODWSGI_TEST_CGROUP=1")
			out, err := run.CombinedOutput()
			if err != nil || !strings.HasPrefix(string(out), "1 "+c.why+"\n") {
				t.Errorf("%v: %s", err, out)
			}
		})
	}
}
