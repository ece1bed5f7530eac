// Package cgroup reads how many processors, how much memory and how many tasks this process
// may use, from Linux control groups, versions 1 and 2 (cgroups(7)), and from its CPU affinity. It does
// not decide what to do with these limits.
package cgroup

import (
	"io/fs"
	"math"
	"os"
	"path"
	"runtime"
	"strconv"
	"strings"

	"modwsgi/internal/mountinfo"
)

// Limits are the resources that this process may use. Zero means no limit, or an unknown
// one.
type Limits struct {
	CPUs   float64 // CPU seconds per second
	Cores  int     // processors that it may run on
	Memory int64   // bytes; the host's memory if that is less
	Tasks  int     // processes and threads
}

// Read returns the limits of this process.
func Read() Limits {
	if runtime.GOOS != "linux" {
		return Limits{Cores: runtime.NumCPU()}
	}
	l := Parse(os.DirFS("/"))
	// From sched_getaffinity(2) at startup.
	if n := runtime.NumCPU(); l.Cores == 0 || n < l.Cores {
		l.Cores = n
	}
	return l
}

// Parse reads the files of a system below root: proc/self/cgroup, proc/self/mountinfo,
// proc/meminfo and everything below sys/fs/cgroup. Unreadable files do not limit
// anything.
func Parse(root fs.FS) Limits {
	var l Limits
	for _, m := range mounts(root) {
		m.limits(root, &l)
	}
	if n := meminfo(root); n > 0 && (l.Memory == 0 || n < l.Memory) {
		l.Memory = n
	}
	return l
}

// mount is the mount point of a hierarchy of groups, with this process's group in it.
type mount struct {
	at    string // mount point, without leading slash
	root  string // the group that is mounted there
	group string // this process's group, from /proc/self/cgroup
	v2    bool
	has   map[string]bool // controllers (version 1)
}

// mounts joins /proc/self/mountinfo (proc_pid_mountinfo(5)) with
// /proc/self/cgroup.
func mounts(root fs.FS) []mount {
	groups := map[string]string{} // controller, or "" for version 2
	for _, line := range lines(root, "proc/self/cgroup") {
		parts := strings.SplitN(line, ":", 3)
		if len(parts) != 3 {
			continue
		}
		for _, c := range strings.Split(parts[1], ",") {
			groups[c] = parts[2]
		}
	}
	var out []mount
	for at := range mountinfo.Parse(text(root, "proc/self/mountinfo")) {
		m, ok := mount{at: strings.TrimPrefix(at.Point, "/"), root: at.Root, has: map[string]bool{}}, false
		switch at.Type {
		case "cgroup2":
			m.v2 = true
			m.group, ok = groups[""]
		case "cgroup":
			for _, option := range strings.Split(at.Options, ",") {
				if at, known := groups[option]; known {
					m.has[option], m.group, ok = true, at, true
				}
			}
		default:
			continue
		}
		if ok {
			out = append(out, m)
		}
	}
	return out
}

// dirs are the directories of this process's group and its parents, as far as they are
// visible, because their limits apply as well. In a container, the group's name is one of
// the host, and the mount point is the group.
func (m mount) dirs(root fs.FS) []string {
	rel := m.group
	if m.root != "/" {
		rel = strings.TrimPrefix(m.group, m.root)
		if rel == m.group {
			rel = "/"
		}
	}
	at := path.Join(m.at, path.Clean("/"+rel))
	if _, err := fs.Stat(root, at); err != nil {
		at = m.at
	}
	out := []string{at}
	for at != m.at && at != "." {
		at = path.Dir(at)
		out = append(out, at)
	}
	return out
}

func (m mount) limits(root fs.FS, l *Limits) {
	for i, dir := range m.dirs(root) {
		if m.v2 {
			quota := strings.Fields(text(root, path.Join(dir, "cpu.max")))
			if len(quota) == 2 {
				l.cpus(quota[0], quota[1])
			}
			l.memory(text(root, path.Join(dir, "memory.max")))
			l.memory(text(root, path.Join(dir, "memory.high")))
			l.tasks(text(root, path.Join(dir, "pids.max")))
			if i == 0 {
				l.cores(text(root, path.Join(dir, "cpuset.cpus.effective")))
			}
			continue
		}
		if m.has["cpu"] {
			l.cpus(text(root, path.Join(dir, "cpu.cfs_quota_us")), text(root, path.Join(dir, "cpu.cfs_period_us")))
		}
		if m.has["memory"] {
			l.memory(text(root, path.Join(dir, "memory.limit_in_bytes")))
		}
		if m.has["pids"] {
			l.tasks(text(root, path.Join(dir, "pids.max")))
		}
		if m.has["cpuset"] && i == 0 {
			effective := text(root, path.Join(dir, "cpuset.effective_cpus"))
			if effective == "" {
				effective = text(root, path.Join(dir, "cpuset.cpus"))
			}
			l.cores(effective)
		}
	}
}

func (l *Limits) cpus(quota, period string) {
	q, err := strconv.ParseFloat(quota, 64)
	p, perr := strconv.ParseFloat(period, 64)
	if err != nil || perr != nil || q <= 0 || p <= 0 || math.IsInf(q, 0) || math.IsNaN(q) || math.IsInf(p, 0) || math.IsNaN(p) {
		return // "max", -1
	}
	if n := q / p; l.CPUs == 0 || n < l.CPUs {
		l.CPUs = n
	}
}

// unlimited is the value from which a limit of version 1 means no limit.
const unlimited = 1 << 60

func (l *Limits) memory(value string) {
	n, err := strconv.ParseInt(value, 10, 64)
	if err != nil || n <= 0 || n >= unlimited {
		return
	}
	if l.Memory == 0 || n < l.Memory {
		l.Memory = n
	}
}

func (l *Limits) tasks(value string) {
	if n, err := strconv.Atoi(value); err == nil && n > 0 && (l.Tasks == 0 || n < l.Tasks) { // or "max"
		l.Tasks = n
	}
}

// cores returns the number of processors in a list such as "0-3,8" (cpuset(7)).
func (l *Limits) cores(list string) {
	count := 0
	for _, part := range strings.Split(list, ",") {
		if part == "" {
			continue
		}
		from, to, isRange := strings.Cut(part, "-")
		a, err := strconv.Atoi(from)
		b := a
		if isRange && err == nil {
			b, err = strconv.Atoi(to)
		}
		if err != nil || b < a || b-a > 1<<16 {
			return
		}
		count += b - a + 1
	}
	if count > 0 && (l.Cores == 0 || count < l.Cores) {
		l.Cores = count
	}
}

// meminfo returns the memory of the host in bytes.
func meminfo(root fs.FS) int64 {
	for _, line := range lines(root, "proc/meminfo") {
		if rest, ok := strings.CutPrefix(line, "MemTotal:"); ok {
			n, err := strconv.ParseInt(strings.TrimSpace(strings.TrimSuffix(strings.TrimSpace(rest), "kB")), 10, 64)
			if err == nil && n < 1<<50 {
				return n << 10
			}
		}
	}
	return 0
}

func text(root fs.FS, name string) string {
	data, err := fs.ReadFile(root, name)
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(data))
}

func lines(root fs.FS, name string) []string { return strings.Split(text(root, name), "\n") }

// PerJob is the estimated memory for one compiler, in bytes.
const PerJob = 350 << 20

// Jobs returns the number of compilers that may run concurrently within the limits, at
// least one. why names the decisive limit.
func (l Limits) Jobs() (n int, why string) {
	n, why = max(1, l.Cores), "processors"
	if l.CPUs > 0 {
		// Round up: a job also waits for the disk.
		if quota := max(1, int(math.Ceil(l.CPUs-0.01))); quota < n {
			n, why = quota, "the control group's quota"
		}
	}
	if l.Memory > 0 {
		if fit := max(1, int(l.Memory/PerJob)); fit < n {
			n, why = fit, "memory"
		}
	}
	return n, why
}
