//go:build linux

package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"syscall"
	"time"
)

// event is something that happens to a server that is asked all the time.
type event struct {
	name, about string
	both        bool     // in the foreground and in the background, if not chosen
	secure      bool     // over HTTPS
	ends        bool     // the server does not run afterwards
	bounded     bool     // a killed process may lose what it was doing
	options     []string // of the launcher
	run         func(*trial) error
}

var events = []event{
	{name: "reload", about: "the code has changed, reload", both: true, run: (*trial).newCode},
	{name: "reloads", about: "the same every 2 s for 10 s", both: true, run: (*trial).newCodeOften},
	{name: "config", about: "setup-server with another number of processes and another variable, reload", both: true, run: (*trial).newConfig},
	{name: "certificate", about: "another certificate, reload", both: true, secure: true, run: (*trial).newCertificate},
	{name: "logs", about: "log files are moved, reload", both: true, options: []string{"--access-log"}, run: (*trial).newLogs},
	{name: "hup", about: "SIGHUP to the first process", both: true, run: func(x *trial) error { return x.newCodeBySignal(syscall.SIGHUP) }},
	{name: "usr1", about: "SIGUSR1 to the first process", both: true, run: func(x *trial) error { return x.newCodeBySignal(syscall.SIGUSR1) }},
	{name: "touch", about: "the code has changed, the script is touched", run: (*trial).touch},
	{name: "maximum", about: "--maximum-requests is reached again and again", options: []string{"--maximum-requests", "100"}, run: (*trial).maximum},
	{name: "evict", about: "SIGUSR1 to a process of the application", run: (*trial).evict},
	{name: "resize", about: "4 processes instead of 2, then 2 again", both: true, run: (*trial).resize},
	{name: "stop", about: "stop after running requests", both: true, ends: true, run: (*trial).stopServer},
	{name: "long-reload", about: "requests of 12 s, the code has changed, reload", both: true, run: func(x *trial) error { return x.long((*trial).newCode) }},
	{name: "long-config", about: "requests of 12 s, then as config", both: true, run: func(x *trial) error { return x.long((*trial).newConfig) }},
	{name: "long-touch", about: "requests of 12 s, then as touch", run: func(x *trial) error { return x.long((*trial).touch) }},
	{name: "slow-reload", about: "4 clients read 4 MB in 8 s, reload", both: true, run: (*trial).slowReaders},
	{name: "kill-daemon", about: "kill -9 of a process of the application, 5 times", bounded: true, run: (*trial).killDaemons},
	{name: "kill-child", about: "kill -9 of a child of httpd, 5 times", bounded: true, run: (*trial).killChildren},
}

// trial is one row on one instance, with one kind of load.
type trial struct {
	*instance
	load     *load
	meter    *meter
	bound    int // requests that killed processes were working on
	problems []string
}

// sleep is where time is part of what is measured.
func (x *trial) sleep(d time.Duration) {
	select {
	case <-time.After(d):
	case <-x.t.ctx.Done():
	}
}

// change writes the next version, has it loaded, and expects it from then on.
func (x *trial) change(next stamp, load func() error) error {
	x.now = next
	err := errors.Join(x.write(), load())
	x.meter.from(x.now)
	return err
}

func (x *trial) nextCode() stamp { n := x.now; n.version++; return n }

func (x *trial) newCode() error { return x.change(x.nextCode(), x.reload) }

func (x *trial) newCodeOften() error {
	for range 5 {
		if err := x.newCode(); err != nil {
			return err
		}
		x.sleep(2 * time.Second)
	}
	return nil
}

// configured runs setup-server again with that number of processes.
func (x *trial) configured(processes int) error {
	next := x.now
	next.config++
	x.processes = processes
	return x.change(next, func() error {
		if err := x.setup(); err != nil {
			return err
		}
		return x.reload()
	})
}

func (x *trial) newConfig() error { return x.configured(5 - x.processes) }

func (x *trial) resize() error {
	if err := x.configured(2 * processes); err != nil {
		return err
	}
	x.count(2 * processes)
	if err := x.configured(processes); err != nil {
		return err
	}
	x.count(processes)
	return nil
}

// count waits until there are so many processes of the application, and no older ones.
func (x *trial) count(processes int) {
	x.settle()
	n := 0
	for end := time.Now().Add(30 * time.Second); time.Now().Before(end) && x.t.ctx.Err() == nil; x.sleep(100 * time.Millisecond) {
		if n = x.applications(); n == processes {
			return
		}
	}
	x.problem("30 s after the reload, the application has %d processes instead of %d", n, processes)
}

func (x *trial) newCertificate() error {
	next := x.now
	next.serial++
	return x.change(next, x.reload)
}

// newLogs moves the logs as logrotate does, and looks for new ones.
func (x *trial) newLogs() error {
	names := []string{"error_log", "access_log"}
	for _, name := range names {
		at := filepath.Join(x.root, name)
		if err := os.Rename(at, at+".1"); err != nil {
			return err
		}
	}
	if err := x.change(x.nextCode(), x.reload); err != nil {
		return err
	}
	x.settle()
	for _, name := range names {
		info, err := os.Stat(filepath.Join(x.root, name))
		if err == nil && info.Size() == 0 && name == "access_log" {
			err = errors.New(name + " is empty after the reload")
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func (x *trial) newCodeBySignal(s syscall.Signal) error {
	return x.change(x.nextCode(), func() error { return x.signal(s) })
}

func (x *trial) touch() error {
	return x.change(x.nextCode(), func() error {
		now := time.Now()
		return os.Chtimes(filepath.Join(x.app, "app.wsgi"), now, now)
	})
}

// maximum waits until processes have been replaced.
func (x *trial) maximum() error {
	for end := time.Now().Add(20 * time.Second); time.Now().Before(end) && x.t.ctx.Err() == nil; x.sleep(100 * time.Millisecond) {
		if len(x.meter.daemons(time.Hour)) >= 3*processes {
			return nil
		}
	}
	return fmt.Errorf("after 20 s, only these processes have answered: %v", x.meter.daemons(time.Hour))
}

// daemon is a process of the application that answers.
func (x *trial) daemon() (int, error) {
	all := x.meter.daemons(time.Second)
	if len(all) == 0 {
		return 0, errors.New("nothing has answered for a second")
	}
	return all[0], nil
}

func (x *trial) evict() error {
	pid, err := x.daemon()
	if err == nil {
		err = send(pid, syscall.SIGUSR1)
	}
	if err != nil {
		return err
	}
	for end := time.Now().Add(20 * time.Second); time.Now().Before(end) && x.t.ctx.Err() == nil; x.sleep(50 * time.Millisecond) {
		if syscall.Kill(pid, 0) != nil {
			return nil
		}
	}
	return fmt.Errorf("the process %d still runs 20 s after SIGUSR1", pid)
}

// stopServer asks until no connection can be made any more.
func (x *trial) stopServer() error {
	over := x.load.exhausted()
	go x.meter.watch(x.t.ctx, over, x.http, x.https)
	x.sleep(100 * time.Millisecond) // connections that are there already are seen
	x.meter.stopping.Store(true)
	defer x.meter.stopping.Store(false)
	err := x.stop()
	select {
	case <-over:
	case <-time.After(time.Minute):
		x.problem("a minute after the stop, connections are still accepted")
	}
	x.load.end()
	return errors.Join(err, x.gone())
}

// beside sends four requests beside the load, lets something happen when the application
// has begun with all of them, and waits for their end.
func (x *trial) beside(r request, do func(*trial) error) error {
	var running sync.WaitGroup
	defer running.Wait()
	r.limit, r.begun = requestLimit, true
	var names []string
	for range 4 {
		ask := r
		ask.number = x.load.number()
		names = append(names, filepath.Join(x.app, "begun", ask.number))
		running.Go(func() {
			c := x.client(false)
			defer c.close()
			x.load.ask(x.t.ctx, c, ask)
		})
	}
	for end := time.Now().Add(requestLimit); len(names) > 0 && x.t.ctx.Err() == nil; x.sleep(20 * time.Millisecond) {
		names = slices.DeleteFunc(names, func(name string) bool { return os.Remove(name) == nil })
		if time.Now().After(end) {
			return fmt.Errorf("the application has not begun with %d of 4 requests", len(names))
		}
	}
	x.sleep(500 * time.Millisecond) // into the work, and into the response
	return do(x)
}

func (x *trial) long(do func(*trial) error) error {
	return x.beside(request{seconds: 12}, do)
}

func (x *trial) slowReaders() error {
	return x.beside(request{size: 4 << 20, slowly: 512 << 10}, (*trial).newCode)
}

const kills = 5

func (x *trial) killDaemons() error {
	for range kills {
		pid, err := x.daemon()
		if err != nil {
			return err
		}
		kill9(pid)
		x.bound += threads
		x.sleep(1500 * time.Millisecond)
	}
	return nil
}

func (x *trial) killChildren() error {
	for range kills {
		pid, err := x.busyChild()
		if err != nil {
			return err
		}
		// What the child has: the connections that it has accepted, those in the queue,
		// and those that are made until the kill.
		before := x.dials.made.Load()
		all, err := connections(x.http, x.https)
		if err != nil {
			return err
		}
		x.bound += owns(pid, all)
		for _, c := range all {
			if c.queued {
				x.bound++
			}
		}
		kill9(pid)
		x.bound += int(x.dials.made.Load() - before + x.dials.begun.Load())
		x.sleep(1500 * time.Millisecond)
	}
	return nil
}

// busyChild waits for a child of httpd that has a connection.
func (x *trial) busyChild() (pid int, err error) {
	for end := time.Now().Add(5 * time.Second); ; x.sleep(10 * time.Millisecond) {
		if pid, err = x.child(); err == nil || time.Now().After(end) || x.t.ctx.Err() != nil {
			return pid, err
		}
	}
}

func (x *trial) problem(format string, args ...any) {
	if x.t.ctx.Err() == nil {
		x.problems = append(x.problems, fmt.Sprintf(format, args...))
	}
}

// settle waits until only the new version answers, and a little longer.
func (x *trial) settle() {
	const least, most = 1500 * time.Millisecond, 20 * time.Second
	x.sleep(least)
	if x.meter.since.IsZero() {
		return
	}
	for end := time.Now().Add(most); !x.meter.fresh(time.Second); x.sleep(50 * time.Millisecond) {
		if time.Now().After(end) || x.t.ctx.Err() != nil {
			x.problem("20 s after the change, the new version does not answer, or the old one still does")
			return
		}
	}
}
