package supervise

import (
	"context"
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
// until something happens, except with --health-path, and ends with httpd.

// watchVerb is the verb of apachectl that starts this process.
const watchVerb = "watch-httpd"

// startWatch starts the process that watches the httpd that this process becomes. With a
// link, it also replaces that httpd when it is asked to reload.
func startWatch(l *instance.Launch, executable string, env []string, link *host.Handover) error {
	if !host.OrphansServe || l.GDB != "" || slices.Contains(l.Args, "-DONE_PROCESS") {
		return nil // the last two are a single process in the foreground
	}
	null, err := os.OpenFile(os.DevNull, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	defer null.Close()
	c := host.Command{
		Path: executable, Argv: []string{filepath.Base(executable), "apachectl", l.Root, watchVerb, strconv.Itoa(os.Getpid())},
		Dir: "/", Env: env, Files: []*os.File{null, null, null},
	}
	if link != nil {
		c.Argv, c.Files = append(c.Argv, linked), append(c.Files, link.Ours()...)
	}
	return host.StartDetached(c)
}

// linked is the argument for a process that has the descriptors of a link.
const linked = "linked"

// background is an httpd that this process did not start.
type background struct {
	*host.Process
	leads bool // it leads a process group
	done  chan host.Exit
}

func newBackground(l *instance.Launch, proc *host.Process) *background {
	b := &background{Process: proc, leads: host.LeadsGroup(proc.Pid), done: make(chan host.Exit, 1)}
	go func() {
		proc.Wait()
		// An httpd that ends by itself ends its children, and removes the file, unless it has
		// been replaced: then nothing is left of its group either.
		b.done <- host.Exit{Killed: b.leads && numberOf(l) != 0}
	}()
	return b
}

func (b *background) PID() int                    { return b.Pid }
func (b *background) Signal(kind host.SignalKind) { _ = b.Process.Signal(kind) }
func (b *background) Done() <-chan host.Exit      { return b.done }
func (b *background) EndRest(atOnce bool) {
	if b.leads {
		host.EndGroup(b.Pid, atOnce)
	}
}

// watch waits for the instance's httpd to end, and ends what a killed one leaves.
// Meanwhile it replaces httpd when it is asked to.
func (c *Control) watch(ctx context.Context, words []string) (int, error) {
	if !host.OrphansServe {
		return 0, nil
	}
	l, starter := c.Launch, 0
	if len(words) > 0 {
		starter, _ = strconv.Atoi(words[0])
	}
	first := &generation{launch: l}
	first.readsCertificate() // httpd does not read it before
	line := newSuccession(c.Console, c.Checks, first)
	line.background = true
	var asked <-chan request
	if slices.Contains(words, linked) {
		var err error
		if first.link, err = host.InheritedHandover(3); err == nil {
			var closeDoor func()
			asked, closeDoor = line.listen(ctx, l)
			defer closeDoor()
		}
	}
	proc, killed := awaited(l, starter)
	if killed != 0 {
		host.EndGroup(killed, false)
	}
	if proc == nil {
		return 1, nil // httpd did not start, and reported why, or it has ended by itself
	}
	defer proc.Release()
	first.runs(newBackground(l, proc))
	line.begins(first)
	c.attend(ctx, line, asked)
	return 0, nil
}

// attend waits for the end of the last httpd.
func (c *Control) attend(ctx context.Context, line *succession, asked <-chan request) {
	reload := func(asked chan<- error) {
		if line.possible() && line.held == 0 {
			line.begin(ctx, asked)
			return
		}
		now := line.present()
		now.restartsItself()
		answer(asked, errNotLinked)
		if asked == nil { // a signal, which httpd has passed on
			now.Signal(host.Graceful)
		}
	}
	for {
		now := line.present()
		select {
		case <-now.stale():
			line.publish(now)
		case r := <-asked:
			line.serve(r, reload)
		case <-now.link.Asks():
			reload(nil)
		case err := <-line.taken:
			line.commit(ctx, err)
		case <-line.changed:
		case <-now.gone:
			if now == line.present() {
				line.stop(errStopped)
				line.finish(now.exit.Killed)
				return
			}
		}
	}
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
