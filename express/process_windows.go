package express

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/windows"

	"modwsgi/internal/fault"
)

// httpd on Windows is told to stop and to restart by events that it names after
// its process (https://httpd.apache.org/docs/2.4/platform/windows.html#wincons).
const (
	shutdownEvent = "ap%d_shutdown"
	restartEvent  = "ap%d_restart"
)

// job is a group of processes that ends with ours, whatever way we end: httpd
// serves from a child, which nothing else would end.
type job struct{ handle windows.Handle }

func newJob() (*job, error) {
	h, err := windows.CreateJobObject(nil, nil)
	if err != nil {
		return nil, err
	}
	var limits windows.JOBOBJECT_EXTENDED_LIMIT_INFORMATION
	limits.BasicLimitInformation.LimitFlags = windows.JOB_OBJECT_LIMIT_KILL_ON_JOB_CLOSE
	if _, err := windows.SetInformationJobObject(h, windows.JobObjectExtendedLimitInformation, uintptr(unsafe.Pointer(&limits)), uint32(unsafe.Sizeof(limits))); err != nil {
		_ = windows.CloseHandle(h)
		return nil, err
	}
	return &job{h}, nil
}

func (j *job) add(pid int) error {
	h, err := windows.OpenProcess(windows.PROCESS_SET_QUOTA|windows.PROCESS_TERMINATE, false, uint32(pid))
	if err != nil {
		return err
	}
	defer func() { _ = windows.CloseHandle(h) }()
	return windows.AssignProcessToJobObject(j.handle, h)
}

// kill ends all of them at once.
func (j *job) kill() { _ = windows.TerminateJobObject(j.handle, 1) }

// start starts a program with our streams. With group it does not get the
// console's Ctrl-C: it is told by its event, once.
func (p *Program) start(l *launch, argv []string, group bool) (*os.Process, error) {
	attr := &os.ProcAttr{Dir: l.Dir, Env: l.environ(p.Env), Files: []*os.File{p.Stdin, p.Stdout, p.Stderr}}
	if group {
		attr.Sys = &syscall.SysProcAttr{CreationFlags: windows.CREATE_NEW_PROCESS_GROUP}
	}
	proc, err := os.StartProcess(argv[0], argv, attr)
	if err != nil {
		return nil, fault.New(fault.Environment, "", "start %s: %w", argv[0], err)
	}
	return proc, nil
}

// replace runs a program in our place. Windows cannot exchange one for another,
// so we wait for it.
func (p *Program) replace(l *launch, argv []string) (int, error) {
	proc, err := p.start(l, argv, false)
	if err != nil {
		return 1, err
	}
	state, err := proc.Wait()
	if err != nil {
		return 1, err
	}
	return state.ExitCode(), nil
}

// supervise runs httpd: one process that serves, below one that watches it. The
// first Ctrl-C, or the end of the session, has it end in good order; the second
// one ends it at once.
func (p *Program) supervise(_ context.Context, _ *instance, l *launch) (int, error) {
	proc, err := p.start(l, append([]string{l.HTTPD}, l.Args...), true)
	if err != nil {
		return 1, err
	}
	group, err := newJob()
	if err == nil {
		err = group.add(proc.Pid)
	}
	if err != nil {
		p.warn(fmt.Sprintf("httpd would go on if this program were killed: %v", err))
	}
	type end struct {
		code int
		err  error
	}
	done := make(chan end, 1)
	go func() {
		state, err := proc.Wait()
		if err != nil {
			done <- end{1, err}
			return
		}
		done <- end{state.ExitCode(), nil}
	}()
	told := 0
	var again <-chan time.Time // httpd makes its event a moment after its start
	for {
		select {
		case <-p.Signals:
			if told++; told > 1 && group != nil {
				group.kill()
				_ = proc.Kill()
				continue
			}
			again = time.After(0)
		case <-again:
			again = nil
			if err := signalProcess(proc.Pid, terminate); errors.Is(err, windows.ERROR_FILE_NOT_FOUND) {
				again = time.After(100 * time.Millisecond)
			} else if err != nil {
				_ = proc.Kill()
			}
		case e := <-done:
			if told > 0 && e.err == nil {
				return 0, nil // as asked for
			}
			return e.code, e.err
		}
	}
}

// alive tells whether a process runs: one that ended can still be opened while
// somebody has a handle of it.
func alive(pid int) bool {
	h, err := windows.OpenProcess(windows.SYNCHRONIZE, false, uint32(pid))
	if err != nil {
		return errors.Is(err, windows.ERROR_ACCESS_DENIED)
	}
	defer func() { _ = windows.CloseHandle(h) }()
	event, err := windows.WaitForSingleObject(h, 0)
	return err == nil && event == uint32(windows.WAIT_TIMEOUT)
}

// signalProcess sets the event by which httpd is told. It exists in the session
// of that httpd only: one that runs as a service is told by the service manager.
func signalProcess(pid int, kind signalKind) error {
	format := shutdownEvent
	if kind == graceful || kind == restart {
		format = restartEvent
	}
	name, err := windows.UTF16PtrFromString(fmt.Sprintf(format, pid))
	if err != nil {
		return err
	}
	h, err := windows.OpenEvent(windows.EVENT_MODIFY_STATE, false, name)
	if err != nil {
		return fmt.Errorf("open its event: %w", err)
	}
	defer func() { _ = windows.CloseHandle(h) }()
	return windows.SetEvent(h)
}

type signalKind int

const (
	graceful signalKind = iota
	restart             // it is the same
	drain               // httpd on Windows always completes what runs
	terminate
)

// process is a running httpd that was found to be the instance's.
type process struct{ pid int }

// identify returns the process with a number if it runs the instance's httpd.
// Another user's process cannot be opened, and so is not ours.
func (l *launch) identify(pid int) (*process, error) {
	h, err := windows.OpenProcess(windows.PROCESS_QUERY_LIMITED_INFORMATION, false, uint32(pid))
	if err != nil {
		return nil, nil //nolint:nilerr // none has that number, or it is somebody else's
	}
	defer func() { _ = windows.CloseHandle(h) }()
	name := make([]uint16, windows.MAX_LONG_PATH)
	size := uint32(len(name))
	if err := windows.QueryFullProcessImageName(h, 0, &name[0], &size); err != nil {
		return nil, fmt.Errorf("look at the program of process %d: %w", pid, err)
	}
	if !strings.EqualFold(filepath.Base(windows.UTF16ToString(name[:size])), filepath.Base(l.HTTPD)) || !alive(pid) {
		return nil, nil
	}
	return &process{pid}, nil
}

// ended reports whether the process has ended.
func (p *process) ended() bool { return !alive(p.pid) }

// signal asks the process for something; one that has ended is os.ErrProcessDone.
func (p *process) signal(kind signalKind) error {
	err := signalProcess(p.pid, kind)
	if err != nil && p.ended() {
		return os.ErrProcessDone
	}
	return err
}

func (p *process) release() {}
