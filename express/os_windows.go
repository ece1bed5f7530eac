package express

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"syscall"

	"modwsgi/express/config"
	"modwsgi/internal/owned"
	"modwsgi/internal/run"
)

// account is the user as whom the application runs; on Windows always ourselves.
type account struct {
	user, group string
	other       bool
}

func (p *Program) findAccount(_ context.Context, s *Server) (*account, error) {
	if config.User.In(s) != "" || config.Group.In(s) != "" {
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

func as(_ *account, f func() error) error { return f() }

func writable(string) bool { return true }

func (p *Program) checkLogs(*instance) error { return nil }

func (p *Program) defaultRoot(host string, port int, _ *account) string {
	tmp := run.Getenv(p.Env, "TEMP")
	if tmp == "" {
		tmp = os.TempDir()
	}
	return filepath.Join(tmp, fmt.Sprintf("mod_wsgi-%s-%d-%s", host, port, run.Getenv(p.Env, "USERNAME")))
}

// Rights are not taken or given on Windows: files have those of their directory.
func openUp(*owned.Dir, *account) error            { return nil }
func giveDirectory(*os.File, *account, bool) error { return nil }
func giveGroup(*os.File, *account) error           { return nil }
func (a *account) number() int                     { return 0 }
func checkSocketPath(string) error                 { return nil }
func removeStaleSockets(*owned.Dir)                {}

// Signals lists what the launcher has to be told about from its first moment on.
func Signals() []os.Signal { return []os.Signal{os.Interrupt, syscall.SIGTERM} } // the second one: the window is closed, the session ends

// The options for these have no meaning on Windows and are refused earlier.
func (p *Program) envVars(context.Context, *instance) error         { return nil }
func (p *Program) serviceAccounts(context.Context, *instance) error { return nil }

func caller() *account { return &account{} }
