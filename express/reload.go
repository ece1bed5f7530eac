package express

import (
	"bytes"
	"context"
	"strings"

	"modwsgi/express/instance"
	"modwsgi/internal/fault"
	"modwsgi/internal/run"
)

// checkAgain has httpd check its configuration and tells whether it can be read
// again; what is said against it is shown. An httpd that is told to read one that
// it cannot would end.
func (p *Program) checkAgain(ctx context.Context, l *instance.Launch) <-chan bool {
	good := make(chan bool, 1)
	go func() {
		err := p.startAgain(l)
		if err == nil {
			err = p.trust().Configuration(l)
		}
		if err != nil {
			p.showError(fault.New(fault.Environment, "the instance goes on as it was", "no restart: %w", err))
			good <- false
			return
		}
		var r run.Runner
		var said bytes.Buffer
		argv := append(append([]string{l.HTTPD}, l.Args...), "-t")
		// Who waits for all of our children may get its exit code before us, so
		// only what it says counts.
		err = r.Run(ctx, run.Cmd{Argv: argv, Dir: l.Dir, Env: l.Environ(p.Env), Log: &said})
		if strings.Contains(said.String(), "Syntax OK") {
			good <- true
			return
		}
		reason := strings.TrimSpace(said.String())
		if reason == "" && err != nil {
			reason = err.Error()
		}
		p.showError(fault.New(fault.Environment, "the instance goes on as it was", "no restart, for httpd refuses the configuration:\n%s", reason))
		good <- false
	}()
	return good
}
