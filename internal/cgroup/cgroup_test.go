package cgroup

import (
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"testing/fstest"
)

const (
	v2mount = "30 23 0:26 / /sys/fs/cgroup rw,nosuid - cgroup2 cgroup2 rw,nsdelegate\n"
	v1mount = "31 23 0:27 / /sys/fs/cgroup/cpu,cpuacct rw - cgroup cgroup rw,cpu,cpuacct\n" +
		"32 23 0:28 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n33 23 0:29 / /sys/fs/cgroup/cpuset rw - cgroup cgroup rw,cpuset\n"
	docker1 = "31 23 0:27 /docker/abc /sys/fs/cgroup/cpu,cpuacct ro - cgroup cgroup rw,cpu,cpuacct\n32 23 0:28 /docker/abc /sys/fs/cgroup/memory ro - cgroup cgroup rw,memory\n"
)

func TestParse(t *testing.T) {
	for name, tt := range map[string]struct {
		files map[string]string
		want  Limits
		jobs  int
	}{
		"nothing": {nil, Limits{}, 1},
		"version 2": {map[string]string{
			"proc/self/cgroup": "0::/user.slice/job\n", "proc/self/mountinfo": v2mount, "proc/meminfo": "MemTotal:       16384000 kB\n",
			"sys/fs/cgroup/user.slice/job/cpu.max": "150000 100000\n", "sys/fs/cgroup/user.slice/job/memory.max": "1073741824\n",
			"sys/fs/cgroup/user.slice/job/cpuset.cpus.effective": "0-3,8\n", "sys/fs/cgroup/user.slice/job/pids.max": "max\n", "sys/fs/cgroup/user.slice/pids.max": "700\n",
		}, Limits{CPUs: 1.5, Cores: 5, Memory: 1 << 30, Tasks: 700}, 2},
		"a limit above": {map[string]string{
			"proc/self/cgroup": "0::/a/b\n", "proc/self/mountinfo": v2mount,
			"sys/fs/cgroup/a/b/cpu.max": "max 100000\n", "sys/fs/cgroup/a/cpu.max": "300000 100000\n", "sys/fs/cgroup/a/b/memory.max": "max\n",
			"sys/fs/cgroup/a/memory.high": "734003200\n", "sys/fs/cgroup/a/b/cpuset.cpus.effective": "0-7\n",
		}, Limits{CPUs: 3, Cores: 8, Memory: 700 << 20}, 2},
		"a container with its own namespace": {map[string]string{
			"proc/self/cgroup": "0::/\n", "proc/self/mountinfo": v2mount, "sys/fs/cgroup/cpu.max": "200000 100000", "sys/fs/cgroup/memory.max": "536870912",
			"sys/fs/cgroup/cpuset.cpus.effective": "2-5",
		}, Limits{CPUs: 2, Cores: 4, Memory: 512 << 20}, 1},
		"version 1": {map[string]string{
			"proc/self/cgroup": "4:memory:/job\n3:cpuset:/job\n2:cpu,cpuacct:/job\n", "proc/self/mountinfo": v1mount, "proc/meminfo": "MemTotal: 8192000 kB",
			"sys/fs/cgroup/cpu,cpuacct/job/cpu.cfs_quota_us": "400000", "sys/fs/cgroup/cpu,cpuacct/job/cpu.cfs_period_us": "100000",
			"sys/fs/cgroup/memory/job/memory.limit_in_bytes": "2147483648", "sys/fs/cgroup/cpuset/job/cpuset.cpus": "1,3",
		}, Limits{CPUs: 4, Cores: 2, Memory: 2 << 30}, 2},
		"version 1 without limits": {map[string]string{
			"proc/self/cgroup": "4:memory:/\n2:cpu,cpuacct:/\n", "proc/self/mountinfo": v1mount, "proc/meminfo": "MemTotal: 8192000 kB",
			"sys/fs/cgroup/cpu,cpuacct/cpu.cfs_quota_us": "-1", "sys/fs/cgroup/cpu,cpuacct/cpu.cfs_period_us": "100000",
			"sys/fs/cgroup/memory/memory.limit_in_bytes": "9223372036854771712",
		}, Limits{Memory: 8192000 << 10}, 1},
		"tasks of version 1": {map[string]string{
			"proc/self/cgroup": "5:pids:/job\n", "proc/self/mountinfo": "34 23 0:30 / /sys/fs/cgroup/pids rw - cgroup cgroup rw,pids\n", "sys/fs/cgroup/pids/job/pids.max": "512\n",
		}, Limits{Tasks: 512}, 1},
		"docker of version 1": {map[string]string{
			"proc/self/cgroup": "4:memory:/docker/abc\n2:cpu,cpuacct:/docker/abc\n", "proc/self/mountinfo": docker1,
			"sys/fs/cgroup/cpu,cpuacct/cpu.cfs_quota_us": "50000", "sys/fs/cgroup/cpu,cpuacct/cpu.cfs_period_us": "100000",
			"sys/fs/cgroup/memory/memory.limit_in_bytes": "104857600",
		}, Limits{CPUs: 0.5, Memory: 100 << 20}, 1},
		"garbage": {map[string]string{
			"proc/self/cgroup": "0::/\nx\n::\n", "proc/self/mountinfo": v2mount + "nonsense\n - \n", "proc/meminfo": "MemTotal: many kB",
			"sys/fs/cgroup/cpu.max": "-5 0", "sys/fs/cgroup/memory.max": "-1", "sys/fs/cgroup/pids.max": "many", "sys/fs/cgroup/cpuset.cpus.effective": "9-1,x",
		}, Limits{}, 1},
		"both versions": {map[string]string{
			"proc/self/cgroup": "4:memory:/\n0::/x\n", "proc/self/mountinfo": v1mount + "40 23 0:30 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n",
			"sys/fs/cgroup/unified/x/cpu.max": "max 100000", "sys/fs/cgroup/memory/memory.limit_in_bytes": "1048576000",
		}, Limits{Memory: 1048576000}, 1},
	} {
		t.Run(name, func(t *testing.T) {
			root := fstest.MapFS{}
			for file, text := range tt.files {
				root[file] = &fstest.MapFile{Data: []byte(text)}
			}
			got := Parse(root)
			if got != tt.want {
				t.Errorf("got %+v, want %+v", got, tt.want)
			}
			if n, why := got.Jobs(); n != tt.jobs || why == "" {
				t.Errorf("%d jobs for %s, want %d", n, why, tt.jobs)
			}
		})
	}
}

func TestJobs(t *testing.T) {
	for want, l := range map[int]Limits{
		1:  {Cores: 64, CPUs: 0.3},
		2:  {Cores: 64, CPUs: 2},
		3:  {Cores: 64, CPUs: 2.5},
		64: {Cores: 64, Memory: 1 << 40},
		6:  {Cores: 64, Memory: 6 * PerJob},
	} {
		if n, _ := l.Jobs(); n != want {
			t.Errorf("%+v: %d, want %d", l, n, want)
		}
	}
}

// TestInside runs itself bound to one processor and, if this machine permits it, in a
// group with a memory limit.
func TestInside(t *testing.T) {
	if testing.Short() {
		t.Skip("-short starts no tool")
	}
	if os.Getenv("MODWSGI_TEST_CGROUP") != "" {
		l := Read()
		n, _ := l.Jobs()
		if _, err := os.Stdout.WriteString("JOBS " + strconv.Itoa(n) + " MEMORY " + strconv.FormatInt(l.Memory, 10) + "\n"); err != nil {
			t.Fatal(err)
		}
		return
	}
	if runtime.GOOS != "linux" {
		t.Skip("control groups exist only on Linux")
	}
	run := func(argv ...string) string {
		c := exec.Command(argv[0], append(argv[1:], os.Args[0], "-test.run=TestInside$", "-test.v")...)
		c.Env = append(os.Environ(), "MODWSGI_TEST_CGROUP=1")
		out, err := c.CombinedOutput()
		if err != nil {
			t.Fatalf("%v: %s", err, out)
		}
		return string(out)
	}
	if _, err := exec.LookPath("taskset"); err == nil {
		if out := run("taskset", "-c", "0"); !strings.Contains(out, "JOBS 1 ") {
			t.Errorf("bound to one processor: %s", out)
		}
	}
	dir := ""
	for _, at := range []string{"/sys/fs/cgroup/memory", "/sys/fs/cgroup"} {
		d := filepath.Join(at, "modwsgi-test-"+strconv.Itoa(os.Getpid()))
		if os.Mkdir(d, 0o755) == nil {
			dir = d
			defer func() { _ = os.Remove(d) }()
			break
		}
	}
	limit := ""
	for _, name := range []string{"memory.limit_in_bytes", "memory.max"} {
		if dir != "" && os.WriteFile(filepath.Join(dir, name), []byte("419430400"), 0o644) == nil {
			limit = name
		}
	}
	if limit == "" {
		t.Skip("cannot create a control group with a limit below /sys/fs/cgroup")
	}
	out := run("sh", "-c", `echo $$ >"$0/cgroup.procs" && exec "$@"`, dir)
	if !strings.Contains(out, "JOBS 1 MEMORY 419430400") {
		t.Errorf("in a group with 400 MB: %s", out)
	}
}
