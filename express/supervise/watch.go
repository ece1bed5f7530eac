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
	proc := awaited(l, starter)
	if proc == nil {
		return 1, nil // httpd did not start, and reported why
	}
	defer proc.Release()
	leads := host.LeadsGroup(proc.Pid)
	proc.Wait()
	// An httpd that ends by itself ends its children, and removes the file.
	if leads && named(l, proc.Pid) {
		host.EndGroup(proc.Pid, false)
	}
	return 0, nil
}

// awaited waits for the httpd that a process starts; nil means that it did not start.
// The process ends when httpd goes into the background, a moment before httpd writes its
// PID file.
func awaited(l *instance.Launch, starter int) *host.Process {
	last := time.Now().Add(time.Minute)
	for time.Now().Before(last) {
		if proc, err := l.Running(); err != nil || proc != nil {
			return proc
		}
		if os.Getppid() != starter {
			last, starter = time.Now().Add(10*time.Second), os.Getppid()
		}
		time.Sleep(50 * time.Millisecond)
	}
	return nil
}

// named reports whether the PID file still names a process.
func named(l *instance.Launch, pid int) bool {
	found := 0
	_ = l.WithPIDFile(func(dir *owned.Dir, name string) (err error) {
		found, err = instance.ReadPID(dir, name)
		return err
	})
	return found == pid
}
