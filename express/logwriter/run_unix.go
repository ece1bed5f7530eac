//go:build unix

package logwriter

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
	"golang.org/x/term"
)

// Streams are what the program was started with.
type Streams struct {
	Executable    string // of this program
	Env           []string
	Stdin, Stdout *os.File
	Stderr        *os.File
}

// Run reads the log that httpd writes to standard input until all of httpd's processes
// have closed it.
func Run(s *Settings, io Streams) error {
	// Ctrl-C in a terminal reaches every process in the foreground, and httpd sends SIGTERM
	// while others still write. SIGXFSZ is a limit of file sizes, which a write reports.
	signal.Ignore(unix.SIGINT, unix.SIGQUIT, unix.SIGHUP, unix.SIGTERM, unix.SIGPIPE, unix.SIGUSR1, unix.SIGUSR2, unix.SIGXFSZ)
	// The launcher kills what httpd leaves behind by its process group. A log is complete
	// only after that.
	_, _ = unix.Setsid()
	if s.Error && !s.worker {
		return keep(s, io)
	}
	return work(s, io)
}

// idleFD is the descriptor that the worker closes when it has been asked to drain, and
// has.
const idleFD = 3

// keep keeps the pipe of an error log open, and a worker running.
func keep(s *Settings, io Streams) error {
	asked := make(chan os.Signal, 1)
	signal.Notify(asked, unix.SIGTERM)
	again := *s
	again.worker = true
	argv := append([]string{filepath.Base(io.Executable), Command}, again.Args()...)
	var began time.Time
	for {
		if since := time.Since(began); since < time.Second {
			time.Sleep(time.Second - since) // it cannot run
		}
		began = time.Now()
		idle, theirs, err := os.Pipe()
		if err != nil {
			return err
		}
		proc, err := os.StartProcess(io.Executable, argv, &os.ProcAttr{Env: io.Env, Files: []*os.File{io.Stdin, io.Stdout, io.Stderr, theirs}})
		_ = theirs.Close()
		if err != nil {
			_ = idle.Close()
			return err
		}
		ended := make(chan bool, 1)
		go func() {
			state, err := proc.Wait()
			ended <- err == nil && state.Success()
		}()
		select {
		case good := <-ended:
			_ = idle.Close()
			if good {
				return nil
			}
		case <-asked:
			// httpd waits for this process, but not for longer than 3 seconds.
			_ = proc.Signal(unix.SIGTERM)
			_ = idle.SetReadDeadline(time.Now().Add(2 * time.Second))
			_, _ = idle.Read(make([]byte, 1))
			return nil
		}
	}
}

// pipeSize is the size of a pipe that every user may have.
const pipeSize = 1 << 20

// gather is the time between two reads under load. Each costs as much as several lines,
// which are safe in the pipe meanwhile.
const gather = 2 * time.Millisecond

// work reads and writes.
func work(s *Settings, io Streams) error {
	growPipe(int(io.Stdin.Fd()), pipeSize)
	busy := holdBusy(s.Root)
	w, err := newWriter(s, io)
	if err != nil {
		return err
	}
	var wanted atomic.Bool // to drain
	wake, waker, err := os.Pipe()
	if err != nil {
		return err
	}
	asked := make(chan os.Signal, 1)
	signal.Notify(asked, unix.SIGTERM)
	go func() {
		for range asked {
			wanted.Store(true)
			_, _ = waker.Write([]byte{0})
		}
	}()
	fds := []unix.PollFd{{Fd: int32(io.Stdin.Fd()), Events: unix.POLLIN}, {Fd: int32(wake.Fd()), Events: unix.POLLIN}}
	buffer := make([]byte, 256<<10)
	var last time.Time // of a read, which returned lately bytes
	lately := 0
	for {
		timeout := -1
		if w.waits() {
			timeout = int(joinTime / time.Millisecond)
		}
		draining := wanted.Load()
		if draining {
			timeout = 0
		}
		n, err := unix.Poll(fds, timeout)
		if err != nil && !errors.Is(err, unix.EINTR) {
			return err
		}
		if n > 0 && fds[1].Revents != 0 {
			_, _ = wake.Read(make([]byte, 16))
		}
		if n <= 0 || fds[0].Revents == 0 {
			if n == 0 {
				w.tick()
			}
			if draining && n == 0 {
				w.drain()
				wanted.Store(false)
				if s.Error { // httpd waits for that
					release(s, busy)
					busy = nil
				}
			}
			continue
		}
		if since := time.Since(last); since < gather && lately < len(buffer)/4 && !draining {
			time.Sleep(gather - since)
		}
		got, err := unix.Read(int(io.Stdin.Fd()), buffer)
		last, lately = time.Now(), got
		switch {
		case errors.Is(err, unix.EINTR), errors.Is(err, unix.EAGAIN):
		case err != nil || got == 0:
			w.finish()
			w.wait()
			return err
		default:
			w.add(buffer[:got])
		}
	}
}

// drain writes what is held back, but not the start of a line.
func (w *writer) drain() {
	w.out = w.form.flush(w.out)
	w.write()
}

// wait tries for some time to write the last lines.
func (w *writer) wait() {
	for range 20 {
		if len(w.out) == 0 {
			return
		}
		time.Sleep(100 * time.Millisecond)
		w.write()
	}
}

// release reports that all lines until now are written.
func release(s *Settings, busy *os.File) {
	if busy != nil {
		_ = busy.Close()
	}
	if s.worker {
		_ = unix.Close(idleFD)
		s.worker = false
	}
}

func newWriter(s *Settings, io Streams) (*writer, error) {
	w := &writer{name: s.To, now: time.Now, own: s.Error, notes: io.Stderr}
	colours := false
	switch s.To {
	case Stdout, Stderr:
		to := streamOf(s.To, io)
		w.sink = stream{to}
		colours = term.IsTerminal(int(to.Fd())) && wantsColours(io.Env)
	default:
		if !filepath.IsAbs(s.To) {
			return nil, fmt.Errorf("%s is neither an absolute path nor a stream", s.To)
		}
		f := &file{path: s.To, limit: s.Size, every: s.Every, keep: s.Keep, now: time.Now, lock: openLock(s.Root, lockName(s.To))}
		// As httpd does, before there is a line.
		if _, err := f.current(); err != nil {
			w.failing = true
			w.note(fmt.Sprintf("cannot open the log %s: %v", s.To, err))
		}
		w.sink = f
	}
	w.form = newFormer(s.Form, time.Now, colours, variable(io.Env, DirectoryVariable))
	return w, nil
}

func variable(env []string, name string) (value string) {
	for _, kv := range env {
		if v, ok := strings.CutPrefix(kv, name+"="); ok {
			value = v
		}
	}
	return value
}

// streamOf returns an inherited stream.
func streamOf(name string, io Streams) *os.File {
	if name == Stdout {
		return io.Stdout
	}
	for _, kv := range io.Env {
		if value, ok := strings.CutPrefix(kv, StreamVariable+"="); ok {
			var st unix.Stat_t
			if fd, err := strconv.Atoi(value); err == nil && fd > 2 && unix.Fstat(fd, &st) == nil {
				return os.NewFile(uintptr(fd), name)
			}
		}
	}
	return io.Stderr
}

// stream is a stream that lines are written to.
type stream struct{ w io.Writer }

func (s stream) write(lines []byte) (int, error) { return s.w.Write(lines) }

// The locks of an instance's logs are files in its server root, which only its user can
// open.
const (
	busyName = "logs.lock" // shared by all programs that may have lines
	logNames = "log-"
)

// lockName returns the name of the lock of a log.
func lockName(path string) string {
	return logNames + strings.NewReplacer("/", "_").Replace(filepath.Base(path)) + ".lock"
}

func openLock(root, name string) *os.File {
	if root == "" {
		return nil
	}
	f, err := os.OpenFile(filepath.Join(root, name), os.O_RDWR|os.O_CREATE|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0o600)
	if err != nil {
		return nil
	}
	return f
}

// holdBusy marks that this program may have lines.
func holdBusy(root string) *os.File {
	f := openLock(root, busyName)
	if f != nil {
		_ = unix.Flock(int(f.Fd()), unix.LOCK_SH|unix.LOCK_NB)
	}
	return f
}

// WaitForAll waits until the programs of an instance's logs have written all lines of an
// httpd that has ended, or until a time has passed. It reports whether they have.
func WaitForAll(root string, limit time.Duration) bool {
	f, err := os.OpenFile(filepath.Join(root, busyName), os.O_RDWR|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0)
	if err != nil {
		return true // no log has a program
	}
	defer f.Close()
	for last := time.Now().Add(limit); ; time.Sleep(5 * time.Millisecond) {
		if unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB) == nil {
			return true
		}
		if time.Now().After(last) {
			return false
		}
	}
}
