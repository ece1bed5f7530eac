//go:build linux

package main

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// marker is in the environment of every server, so that what its tree loses is found.
const marker = "MODWSGI_BENCH"

// stat is a line of /proc/PID/stat.
type stat struct {
	parent, session int
	ticks           int64 // of the process and of its children that have ended
}

func parseStat(data []byte) (s stat, ok bool) {
	i := bytes.LastIndexByte(data, ')') // a name may contain anything
	if i < 0 {
		return s, false
	}
	f := strings.Fields(string(data[i+1:]))
	if len(f) < 15 || f[0] == "X" {
		return s, false
	}
	s.parent, _ = strconv.Atoi(f[1])
	s.session, _ = strconv.Atoi(f[3])
	for _, n := range f[11:15] { // utime, stime, cutime, cstime
		t, _ := strconv.ParseInt(n, 10, 64)
		s.ticks += t
	}
	return s, true
}

// tree is what the given processes have become: their descendants, all of their
// sessions, and every process with the marker.
func tree(roots []int, id string) map[int]stat {
	all := map[int]stat{}
	entries, _ := os.ReadDir("/proc")
	for _, e := range entries {
		pid, err := strconv.Atoi(e.Name())
		if err != nil || pid == os.Getpid() {
			continue
		}
		data, err := os.ReadFile(filepath.Join("/proc", e.Name(), "stat"))
		if err != nil {
			continue
		}
		if s, ok := parseStat(data); ok {
			all[pid] = s
		}
	}
	in := map[int]stat{}
	member := func(pid int, s stat) bool {
		for _, r := range roots {
			if pid == r || s.session == r {
				return true
			}
		}
		if _, there := in[s.parent]; there {
			return true
		}
		env, err := os.ReadFile(fmt.Sprintf("/proc/%d/environ", pid))
		return err == nil && bytes.Contains(append(env, 0), []byte(marker+"="+id+"\x00"))
	}
	for grown := true; grown; {
		grown = false
		for pid, s := range all {
			if _, there := in[pid]; !there && member(pid, s) {
				in[pid], grown = s, true
			}
		}
	}
	return in
}

// group is the running processes of one server.
type group struct {
	id       string
	patience time.Duration // with a server that ends politely
	roots    []int
	ended    []chan struct{}
}

// start starts one command of the server.
func (g *group) start(dir, logfile string, env []string, as *syscall.Credential, argv []string) error {
	out, err := os.OpenFile(logfile, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	defer func() { _ = out.Close() }()
	c := exec.Command(argv[0], argv[1:]...)
	c.Dir, c.Env = dir, append(env, marker+"="+g.id)
	c.Stdout, c.Stderr = out, out
	c.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Credential: as}
	if err := c.Start(); err != nil {
		return err
	}
	ended := make(chan struct{})
	g.roots, g.ended = append(g.roots, c.Process.Pid), append(g.ended, ended)
	go func() { _ = c.Wait(); close(ended) }()
	return nil
}

// over reports whether one of the commands has ended.
func (g *group) over() bool {
	for _, e := range g.ended {
		select {
		case <-e:
			return true
		default:
		}
	}
	return false
}

// cpu is the processor time that the server has used so far.
func (g *group) cpu() time.Duration {
	const tick = time.Second / 100 // USER_HZ, which Linux fixes on all of its systems
	n := int64(0)
	for _, s := range tree(g.roots, g.id) {
		n += s.ticks
	}
	return time.Duration(n) * tick
}

// memory is the sum of the proportional set sizes, in kilobytes, and the number of
// processes.
func (g *group) memory() (kb int64, processes int) {
	for pid := range tree(g.roots, g.id) {
		data, err := os.ReadFile(fmt.Sprintf("/proc/%d/smaps_rollup", pid))
		if err != nil {
			continue
		}
		for line := range strings.Lines(string(data)) {
			if f := strings.Fields(line); len(f) >= 2 && f[0] == "Pss:" {
				n, _ := strconv.ParseInt(f[1], 10, 64)
				kb, processes = kb+n, processes+1
			}
		}
	}
	return kb, processes
}

// stop ends the server: politely, then by force.
func (g *group) stop() error {
	for _, pid := range g.roots {
		if p := tree(g.roots, g.id); len(p) > 0 {
			if _, runs := p[pid]; runs {
				_ = syscall.Kill(pid, syscall.SIGTERM)
			}
		}
	}
	if g.gone(max(g.patience, time.Second)) {
		return nil
	}
	for pid := range tree(g.roots, g.id) {
		if pid > 1 {
			_ = syscall.Kill(pid, syscall.SIGKILL)
		}
	}
	if !g.gone(5 * time.Second) {
		return fmt.Errorf("processes of a server do not end: %v", tree(g.roots, g.id))
	}
	return nil
}

func (g *group) gone(limit time.Duration) bool {
	for end := time.Now().Add(limit); time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
		if len(tree(g.roots, g.id)) == 0 {
			for _, e := range g.ended {
				<-e
			}
			return true
		}
	}
	return false
}
