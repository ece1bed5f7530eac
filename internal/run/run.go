// Package run is the only user of os/exec. It starts tools from an argument vector and an
// explicit environment (never a shell), each in a separate process group that ends as a
// whole with the context, and also if this process is killed (see [Guard]). It keeps the
// tail of their output, and echoes their command lines on request. It does not know what
// any tool means.
package run

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"time"

	"modwsgi/internal/quote"
)

// MaxOutput is how many bytes of standard output Output keeps; a tool that prints more is
// an error.
const MaxOutput = 16 << 20

// killDelay is how long a tool has between SIGTERM and SIGKILL after its context ended.
const killDelay = 3 * time.Second

// tailLines is how many of a tool's last lines an Error carries.
const tailLines = 20

// Cmd describes one tool invocation.
type Cmd struct {
	Argv    []string  // Argv[0] is a path, or a name that is looked up in the PATH of Env
	Dir     string    // working directory; "" is the caller's
	Env     []string  // the complete environment; nil is an empty one
	Stdin   io.Reader // nil for no input
	Log     io.Writer // gets standard output and error as they come; may be nil
	LogPath string    // path of the log, for error messages; may be ""
	Account *Account  // run as another user (only as root, not on Windows); nil for the current user
}

// Account is the user that a tool runs as: without other groups, without capabilities,
// and on Linux without a way to gain any from a program that it starts
// (PR_SET_NO_NEW_PRIVS).
type Account struct {
	UID, GID uint32
	// ReadAll keeps one capability, to read every file and enter every directory
	// (CAP_DAC_READ_SEARCH). It is for programs that nobody else can change. Without
	// CanReadAll the tool is not started.
	ReadAll bool
}

// Runner starts tools. The zero value is ready to use.
type Runner struct {
	// Echo, if not nil, gets one line for each command before it starts.
	Echo io.Writer
	mu   sync.Mutex
}

// Error is a tool that could not be started or failed.
type Error struct {
	Argv     []string
	Dir      string
	ExitCode int      // -1 if the tool did not start or was killed by a signal
	Tail     []string // the last lines of its output
	LogPath  string   // path of the whole output, "" if it was not kept
	Err      error
}

func (e *Error) Error() string {
	return fmt.Sprintf("run %s: %v", filepath.Base(e.Argv[0]), e.Err)
}

func (e *Error) Unwrap() error { return e.Err }

// Run starts a tool and waits for its end. It returns an *Error for a tool that did not
// start or did not exit with 0, and the context's error if that ended it.
func (r *Runner) Run(ctx context.Context, c Cmd) error {
	p, err := r.Start(ctx, c)
	if err != nil {
		return err
	}
	return p.Wait()
}

// Output runs a tool and returns what it wrote to standard output. Standard
// error goes to c.Log and to the error's tail.
func (r *Runner) Output(ctx context.Context, c Cmd) ([]byte, error) {
	out := &limited{max: MaxOutput}
	p, err := r.start(ctx, c, out)
	if err != nil {
		return nil, err
	}
	err = p.Wait()
	if err == nil && out.over {
		err = &Error{Argv: c.Argv, Dir: c.Dir, ExitCode: 0, Err: fmt.Errorf("printed more than %d bytes", MaxOutput)}
	}
	return out.buf.Bytes(), err
}

// Start starts a tool and returns at once. Wait must be called.
func (r *Runner) Start(ctx context.Context, c Cmd) (*Process, error) {
	return r.start(ctx, c, nil)
}

// Process is a started tool.
type Process struct {
	cmd  *exec.Cmd
	c    Cmd
	ctx  context.Context
	tail *tail
	done chan struct{}
	err  error
}

// Usage returns the processor time (user and system) of a tool that has ended and of the
// children that it waited for, and its largest resident set in bytes; zero if the system
// does not report them.
func (p *Process) Usage() (cpu time.Duration, maxRSS int64) {
	<-p.done
	s := p.cmd.ProcessState
	if s == nil {
		return 0, 0
	}
	return s.UserTime() + s.SystemTime(), maxResident(s)
}

// PID returns the process id, which is also that of its group.
func (p *Process) PID() int { return p.cmd.Process.Pid }

// Signal sends a signal to the tool itself.
func (p *Process) Signal(s os.Signal) error { return p.cmd.Process.Signal(s) }

// KillGroup ends the processes that an ended tool left in its process group.
func (p *Process) KillGroup() {
	<-p.done
	killGroup(p.cmd)
}

// Done is closed when the tool has ended and Wait would return at once.
func (p *Process) Done() <-chan struct{} { return p.done }

// Wait waits for the tool's end and returns the same as Run. It may be called more than
// once.
func (p *Process) Wait() error {
	<-p.done
	return p.err
}

func (r *Runner) start(ctx context.Context, c Cmd, stdout io.Writer) (*Process, error) {
	if len(c.Argv) == 0 {
		return nil, errors.New("run: no command")
	}
	r.echo(c)
	for wait := time.Millisecond; ; wait *= 2 {
		p, err := attempt(ctx, c, stdout)
		// A newly written file cannot be started while a process that was forked in the
		// meantime still has it open, which it has until its exec
		// (https://go.dev/issue/22315).
		if !errors.Is(err, syscall.ETXTBSY) || wait > time.Second {
			return p, err
		}
		time.Sleep(wait)
	}
}

// attempt is one try to start a tool.
func attempt(ctx context.Context, c Cmd, stdout io.Writer) (*Process, error) {
	path, err := LookPath(c.Argv[0], c.Env)
	if err != nil {
		return nil, &Error{Argv: c.Argv, Dir: c.Dir, ExitCode: -1, LogPath: c.LogPath, Err: err}
	}
	t := &tail{log: c.Log}
	cmd := exec.CommandContext(ctx, path, c.Argv[1:]...)
	cmd.Args[0] = c.Argv[0]
	cmd.Dir = c.Dir
	cmd.Env = TrustedPath(c.Env)
	cmd.Stdin = c.Stdin
	cmd.Stdout, cmd.Stderr = io.Writer(t), t
	if stdout != nil {
		cmd.Stdout = stdout
	}
	cmd.WaitDelay = killDelay
	done, err := setProcessAttributes(cmd, c.Account)
	if done != nil {
		defer done()
	}
	if err != nil {
		return nil, &Error{Argv: c.Argv, Dir: c.Dir, ExitCode: -1, Err: err}
	}
	p := &Process{cmd: cmd, c: c, ctx: ctx, tail: t, done: make(chan struct{})}
	guard.ready()
	started := make(chan error)
	go p.supervise(started)
	if err := <-started; err != nil {
		if ctx.Err() != nil {
			return nil, fmt.Errorf("run %s: %w", filepath.Base(c.Argv[0]), context.Cause(ctx))
		}
		return nil, &Error{Argv: c.Argv, Dir: c.Dir, ExitCode: -1, LogPath: c.LogPath, Err: err}
	}
	return p, nil
}

// supervise starts the tool and waits for it on one locked thread: on Linux the tool gets
// a signal when that thread ends, which without the lock could happen while this process
// continues (https://go.dev/issue/27505).
func (p *Process) supervise(started chan<- error) {
	runtime.LockOSThread()
	restore, spoilt := prepareThread(p.c.Account)
	if !spoilt { // otherwise the thread ends with this goroutine
		defer runtime.UnlockOSThread()
	}
	err := p.cmd.Start()
	restore()
	if err == nil {
		guard.began(p.cmd.Process.Pid)
		defer guard.ended(p.cmd.Process.Pid)
	}
	started <- err
	if err != nil {
		return
	}
	err = p.cmd.Wait()
	if p.ctx.Err() != nil {
		killGroup(p.cmd)
	}
	switch {
	case err != nil && p.ctx.Err() != nil:
		p.err = fmt.Errorf("run %s: %w", filepath.Base(p.c.Argv[0]), context.Cause(p.ctx))
	case errors.Is(err, exec.ErrWaitDelay) && p.cmd.ProcessState.Success():
		// A background child kept the output open; the tool itself succeeded.
	case err != nil:
		p.err = &Error{
			Argv: p.c.Argv, Dir: p.c.Dir, ExitCode: p.cmd.ProcessState.ExitCode(),
			Tail: p.tail.lines(), LogPath: p.c.LogPath, Err: err,
		}
	}
	close(p.done)
}

func (r *Runner) echo(c Cmd) {
	if r.Echo == nil {
		return
	}
	words := make([]string, len(c.Argv))
	for i, a := range c.Argv {
		words[i] = Quote(a)
	}
	line := "+ " + strings.Join(words, " ") + "\n"
	if c.Dir != "" {
		line = "+ (cd " + Quote(c.Dir) + " && " + strings.Join(words, " ") + ")\n"
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	_, _ = io.WriteString(r.Echo, line)
}

// Quote returns s as one word of a POSIX shell, for display and for scripts.
func Quote(s string) string { return quote.Shell(s) }

// LookPath finds a program. A name with a slash is used as it is; any other is searched
// for in the PATH that env sets (not in this process's environment). Relative directories
// are skipped: what they are depends on where the tool runs, possibly in a directory that
// another user fills. For root, those of other users are skipped too (see usable).
func LookPath(name string, env []string) (string, error) {
	if strings.ContainsRune(name, '/') || filepath.IsAbs(name) || strings.ContainsRune(name, filepath.Separator) {
		return name, nil
	}
	var ignored error
	for _, dir := range filepath.SplitList(Getenv(env, "PATH")) {
		if !filepath.IsAbs(dir) {
			continue
		}
		path, err := exec.LookPath(filepath.Join(dir, name))
		if err != nil {
			continue
		}
		if err := usable(dir); err != nil {
			ignored = errors.Join(ignored, fmt.Errorf("%s is ignored for root: %w", path, err))
			continue
		}
		return path, nil
	}
	if ignored != nil {
		return "", fmt.Errorf("%s: %w (%w)", name, exec.ErrNotFound, ignored)
	}
	return "", fmt.Errorf("%s: %w", name, exec.ErrNotFound)
}

// ErrNotFound is wrapped by the error for a program that was not found.
var ErrNotFound = exec.ErrNotFound

// Getenv returns the last value of name in env ("NAME=value" strings), or "".
func Getenv(env []string, name string) string {
	for i := len(env) - 1; i >= 0; i-- {
		if v, ok := strings.CutPrefix(env[i], name+"="); ok {
			return v
		}
	}
	return ""
}

// limited keeps what fits and remembers whether there was more.
type limited struct {
	buf  bytes.Buffer
	max  int
	over bool
}

func (l *limited) Write(b []byte) (int, error) {
	room := l.max - l.buf.Len()
	if len(b) > room {
		l.over = true
		l.buf.Write(b[:max(room, 0)])
		return len(b), nil
	}
	return l.buf.Write(b)
}

// tail passes everything on and keeps the last few kilobytes.
type tail struct {
	mu   sync.Mutex
	log  io.Writer
	last []byte
	lost error // why the log is incomplete; a full disk must not hide the tool's output
}

const tailBytes = 16 << 10

func (t *tail) Write(b []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.last = append(t.last, b...)
	if len(t.last) > 2*tailBytes {
		t.last = append([]byte(nil), t.last[len(t.last)-tailBytes:]...)
	}
	if t.log != nil && t.lost == nil {
		_, t.lost = t.log.Write(b)
	}
	return len(b), nil
}

func (t *tail) lines() []string {
	t.mu.Lock()
	defer t.mu.Unlock()
	text := strings.TrimRight(string(t.last), "\n")
	if t.lost != nil {
		text = strings.TrimLeft(text+"\n(the log is incomplete: "+t.lost.Error()+")", "\n")
	}
	if text == "" {
		return nil
	}
	lines := strings.Split(text, "\n")
	return lines[max(0, len(lines)-tailLines):]
}
