package express

import (
	"context"
	"fmt"
	"os"
	"path/filepath"

	"modwsgi/internal/fault"
	"modwsgi/internal/run"
)

// account is the user as whom the application runs; on Windows always ourselves.
type account struct {
	user, group string
	other       bool
}

func (p *Program) findAccount(_ context.Context, s *Server) (*account, error) {
	if s.User != "" || s.Group != "" {
		p.warn("--user and --group have no effect on Windows")
	}
	return &account{}, nil
}

// need is what the application's account must be able to do with a path.
type need struct {
	path, what string
	read       bool
}

func checkAccess(*account, []need) error { return nil }

func (p *Program) defaultRoot(host string, port int, _ *account) string {
	tmp := run.Getenv(p.Env, "TEMP")
	if tmp == "" {
		tmp = os.TempDir()
	}
	return filepath.Join(tmp, fmt.Sprintf("mod_wsgi-%s-%d-%s", host, port, run.Getenv(p.Env, "USERNAME")))
}

func checkRoot(dir string, _ bool) error {
	if info, err := os.Lstat(dir); err == nil && !info.IsDir() {
		return fault.New(fault.Environment, "choose another one with --server-root", "the server root %s is not a directory", dir)
	}
	return nil
}

func makeRoot(dir string, _ *account) (bool, error) {
	if info, err := os.Stat(dir); err == nil && info.IsDir() {
		return false, nil
	}
	return true, os.Mkdir(dir, 0o700)
}

func makeSub(dir string, _ *account, _ bool) error { return os.MkdirAll(dir, 0o700) }
func giveGroup(string, *account) error             { return nil }
func checkSocketPath(string) error                 { return nil }
func removeStaleSockets(string)                    {}
func alive(pid int) bool                           { _, err := os.FindProcess(pid); return err == nil }

// Signals lists what the launcher has to be told about from its first moment on.
func Signals() []os.Signal { return []os.Signal{os.Interrupt} }

func (p *Program) replace(l *launch, argv []string) (int, error) {
	proc, err := os.StartProcess(argv[0], argv, &os.ProcAttr{Dir: l.Dir, Env: l.environ(p.Env), Files: []*os.File{p.Stdin, p.Stdout, p.Stderr}})
	if err != nil {
		return 1, fault.New(fault.Environment, "", "start %s: %w", argv[0], err)
	}
	state, err := proc.Wait()
	if err != nil {
		return 1, err
	}
	return state.ExitCode(), nil
}

// supervise runs httpd as a single process, the only way on Windows. The first
// Ctrl-C goes to httpd through the console, the second one ends it.
func (p *Program) supervise(_ *instance, l *launch) (int, error) {
	argv := append(append([]string{l.HTTPD}, l.Args...), "-DONE_PROCESS")
	proc, err := os.StartProcess(l.HTTPD, argv, &os.ProcAttr{Dir: l.Dir, Env: l.environ(p.Env), Files: []*os.File{p.Stdin, p.Stdout, p.Stderr}})
	if err != nil {
		return 1, fault.New(fault.Environment, "", "start %s: %w", l.HTTPD, err)
	}
	done := make(chan int, 1)
	go func() {
		state, err := proc.Wait()
		if err != nil {
			done <- 1
			return
		}
		done <- state.ExitCode()
	}()
	for told := 0; ; {
		select {
		case <-p.Signals:
			if told++; told > 1 {
				_ = proc.Kill()
			}
		case code := <-done:
			return code, nil
		}
	}
}

// The options for these have no meaning on Windows and are refused earlier.
func (p *Program) envVars(context.Context, *instance) error         { return nil }
func (p *Program) serviceAccounts(context.Context, *instance) error { return nil }

type signalKind int

const (
	graceful signalKind = iota
	drain
	terminate
)

func signalProcess(int, signalKind) error {
	return fault.New(fault.Usage, "end it in its own window", "a running instance cannot be told anything on Windows")
}

func caller() *account { return &account{} }
