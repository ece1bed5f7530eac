//go:build unix

package supervise

import (
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"modwsgi/express/host"
	"modwsgi/express/instance"
	"modwsgi/internal/owned"
)

// An httpd that apachectl has started has no launcher beside it. When its first
// process is killed, its children do not notice: they keep the port and go on
// answering, and no stop or restart reaches them. So apachectl leaves a process of
// its own behind, which waits for the end of that first process and then ends what it
// has left. It sleeps in the kernel until then, and ends with httpd.

// WatchVerb is the verb of apachectl by which that process is started.
const WatchVerb = "watch-httpd"

// StartWatch starts that process; it is told which process becomes the one that
// starts httpd: this one.
func StartWatch(l *instance.Launch, executable string, env []string) error {
	if l.GDB != "" || slices.Contains(l.Args, "-DONE_PROCESS") {
		return nil // in the foreground, and a single process
	}
	null, err := os.OpenFile(os.DevNull, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	defer null.Close()
	proc, err := os.StartProcess(executable, []string{filepath.Base(executable), "apachectl", l.Root, WatchVerb, strconv.Itoa(os.Getpid())}, &os.ProcAttr{
		Dir: "/", Env: env, Files: []*os.File{null, null, null}, Sys: &syscall.SysProcAttr{Setsid: true},
	})
	if err != nil {
		return err
	}
	return proc.Release()
}

// Watch waits for the end of the instance's httpd and ends what a killed one leaves.
func Watch(l *instance.Launch, words []string) (int, error) {
	starter := 0
	if len(words) == 1 {
		starter, _ = strconv.Atoi(words[0])
	}
	proc := awaited(l, starter)
	if proc == nil {
		return 1, nil // it did not start, and has said why
	}
	defer proc.Release()
	group, err := unix.Getpgid(proc.Pid)
	proc.Wait()
	// An httpd that ends by itself has ended its children, and removed the file.
	if err == nil && group == proc.Pid && named(l, proc.Pid) {
		EndGroup(group, false)
	}
	return 0, nil
}

// awaited waits for the httpd that a process starts; nil is none. That process ends
// when httpd goes into the background, a moment before the pid file is written.
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

// named reports whether the pid file still names a process.
func named(l *instance.Launch, pid int) bool {
	found := 0
	_ = l.WithPIDFile(func(dir *owned.Dir, name string) (err error) {
		found, err = instance.ReadPID(dir, name)
		return err
	})
	return found == pid
}
