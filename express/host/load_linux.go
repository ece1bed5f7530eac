package host

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

// ticks is the unit of times in proc(5), which is the same on all systems of Linux.
const ticks = 100 // per second

// booted is the time of the last boot.
var booted = sync.OnceValue(func() time.Time {
	data, _ := os.ReadFile("/proc/stat")
	for line := range strings.Lines(string(data)) {
		if text, ok := strings.CutPrefix(line, "btime "); ok {
			seconds, _ := strconv.ParseInt(strings.TrimSpace(text), 10, 64)
			return time.Unix(seconds, 0)
		}
	}
	return time.Time{}
})

// Workers returns the processes that an httpd has started, by number. What this process
// may not read is left out.
func Workers(parent int) (all []Worker) {
	for _, name := range processIDs() {
		fields, err := statFields(name)
		if err != nil || len(fields) <= statResidentSize || fields[statParent] != strconv.Itoa(parent) || fields[statState] == "Z" || fields[statState] == "X" {
			continue
		}
		number := func(k int) int64 { n, _ := strconv.ParseInt(fields[k], 10, 64); return n }
		dir := "/proc/" + name
		w := Worker{
			Started: booted().Add(time.Duration(number(statStart)) * time.Second / ticks),
			CPU:     time.Duration(number(statUser)+number(statSystem)) * time.Second / ticks,
			Memory:  number(statResidentSize) * int64(os.Getpagesize()),
		}
		w.PID, _ = strconv.Atoi(name)
		line, _ := os.ReadFile(dir + "/cmdline")
		title, _, _ := bytes.Cut(line, []byte{0})
		w.Title = strings.TrimSpace(string(title))
		files, err := os.ReadDir(dir + "/fd")
		w.Hidden = err != nil
		for _, f := range files {
			target, err := os.Readlink(dir + "/fd/" + f.Name())
			w.Hidden = w.Hidden || errors.Is(err, fs.ErrPermission)
			if text, ok := strings.CutPrefix(target, "socket:["); ok {
				if inode, err := strconv.ParseUint(strings.TrimSuffix(text, "]"), 10, 64); err == nil {
					w.Sockets = append(w.Sockets, inode)
				}
			}
		}
		all = append(all, w)
	}
	slices.SortFunc(all, func(a, b Worker) int { return a.PID - b.PID })
	return all
}

// DaemonQueue returns how many requests the daemon processes of an httpd serve, how many
// wait for them, and the sockets of the former. mod_wsgi has a connection per request.
func DaemonQueue(dir string, httpd int) (q Queue, serving map[uint64]bool) {
	data, err := os.ReadFile("/proc/net/unix")
	if err != nil {
		return q, nil
	}
	serving = map[uint64]bool{}
	mark := fmt.Sprintf(" %s/wsgi.%d.", strings.TrimSuffix(dir, "/"), httpd)
	for line := range strings.Lines(string(data)) {
		if !strings.Contains(line, mark) {
			continue
		}
		fields := strings.Fields(line)
		const flags, inode = 3, 6
		if len(fields) <= inode || fields[flags] != "00000000" { // it listens
			continue
		}
		if n, err := strconv.ParseUint(fields[inode], 10, 64); err == nil && n > 0 {
			q.Connected++
			serving[n] = true
		} else {
			q.Waiting++
		}
	}
	return q, serving
}

// PortQueue returns the number of open connections to ports of this machine, and of
// those that no process has accepted yet.
func PortQueue(ports ...int) (q Queue) {
	for _, name := range []string{"/proc/net/tcp", "/proc/net/tcp6"} {
		data, _ := os.ReadFile(name)
		for line := range strings.Lines(string(data)) {
			fields := strings.Fields(line)
			const local, state, queues = 1, 3, 4
			if len(fields) <= queues {
				continue
			}
			_, port, _ := strings.Cut(fields[local], ":")
			n, err := strconv.ParseUint(port, 16, 16)
			if err != nil || !slices.Contains(ports, int(n)) {
				continue
			}
			switch fields[state] {
			case "01": // established
				q.Connected++
			case "0A": // listening
				_, waiting, _ := strings.Cut(fields[queues], ":")
				w, _ := strconv.ParseUint(waiting, 16, 32)
				q.Waiting += int(w)
			}
		}
	}
	return q
}
