package supervise

import (
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"time"

	"modwsgi/express/host"
	"modwsgi/express/instance"
	"modwsgi/internal/owned"
)

// An httpd started by apachectl has no launcher process. If its first process is
// killed, its children do not notice: they keep the port and continue to answer, and no
// stop or restart reaches them. apachectl therefore leaves a process behind that waits
// for the end of httpd's first process and then ends the rest. It sleeps in the kernel
// until then, and ends with httpd.

// watchVerb is the verb of apachectl that starts this process.
const watchVerb = "watch-httpd"

// startWatch starts the process that watches the httpd that this process becomes.
func startWatch(l *instance.Launch, executable string, env []string) error {
	if !host.OrphansServe || l.GDB != "" || slices.Contains(l.Args, "-DONE_PROCESS") {
		return nil // the last two are a single process in the foreground
	}
	null, err := os.OpenFile(os.DevNull, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	defer null.Close()
	return host.StartDetached(host.Command{
		Path: executable, Argv: []string{filepath.Base(executable), "apachectl", l.Root, watchVerb, strconv.Itoa(os.Getpid())},
		Dir: "/", Env: env, Files: []*os.File{null, null, null},
	})
}

// watch waits for the instance's httpd to end, and ends what a killed one leaves.
func watch(l *instance.Launch, words []string) (int, error) {
	if !host.OrphansServe {
		return 0, nil
	}
	starter := 0
	if len(words) == 1 {
		starter, _ = strconv.Atoi(words[0])
	}
	proc, killed := awaited(l, starter)
	if proc == nil && killed == 0 {
		return 1, nil // httpd did not start, and reported why, or it has ended by itself
	}
	if proc != nil {
		defer proc.Release()
		leads := host.LeadsGroup(proc.Pid)
		proc.Wait()
		// An httpd that ends by itself ends its children, and removes the file.
		if leads && numberOf(l) == proc.Pid {
			killed = proc.Pid
		}
	}
	if killed != 0 {
		host.EndGroup(killed, false)
	}
	return 0, nil
}

// awaited waits for the httpd that a process starts. Instead of an httpd it returns the
// number of one that was killed before it could be looked at, or 0 if none started or it
// has ended by itself. The process ends when httpd goes into the background, a moment
// before httpd writes its PID file.
func awaited(l *instance.Launch, starter int) (proc *host.Process, killed int) {
	httpd := &host.HTTPD{Program: l.HTTPD, Args: l.Args, UID: l.UID}
	last, started := time.Now().Add(time.Minute), false
	for time.Now().Before(last) {
		if proc, err := l.Running(); err != nil || proc != nil {
			return proc, 0
		}
		// The start has removed the file of an earlier httpd.
		pid := numberOf(l)
		switch {
		case pid != 0 && host.Gone(pid):
			return nil, pid
		case started && pid == 0 && !httpd.Exists():
			return nil, 0
		case !started && os.Getppid() != starter:
			started, last = true, time.Now().Add(10*time.Second)
			continue // what was seen may be older than its end
		}
		time.Sleep(50 * time.Millisecond)
	}
	return nil, 0
}

// numberOf returns the number in the instance's PID file, 0 for none.
func numberOf(l *instance.Launch) (pid int) {
	_ = l.WithPIDFile(func(dir *owned.Dir, name string) (err error) {
		pid, err = instance.ReadPID(dir, name)
		return err
	})
	return pid
}
