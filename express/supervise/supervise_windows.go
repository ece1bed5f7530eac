package supervise

import (
	"errors"
	"fmt"
	"os"
	"time"

	"golang.org/x/sys/windows"

	"modwsgi/express/host"
)

// Run runs httpd: one process that serves, below one that watches it. The
// first Ctrl-C, or the end of the session, has it end in good order; the second
// one ends it at once.
func (s *Server) Run() (int, error) {
	l := s.Launch
	proc, err := host.Command{
		Path: l.HTTPD, Argv: append([]string{l.HTTPD}, l.Args...), Dir: l.Dir, Env: l.Environ(s.Environ),
		Files: []*os.File{s.Stdin, s.Stdout, s.Stderr},
	}.Start(true)
	if err != nil {
		return 1, err
	}
	group, err := host.NewJob()
	if err == nil {
		err = group.Add(proc.Pid)
	}
	if err != nil {
		s.Warn(fmt.Sprintf("httpd would go on if this program were killed: %v", err))
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
		case <-s.Signals:
			if told++; told > 1 && group != nil {
				group.Kill()
				_ = proc.Kill()
				continue
			}
			again = time.After(0)
		case <-again:
			again = nil
			if err := host.SignalProcess(proc.Pid, host.Terminate); errors.Is(err, windows.ERROR_FILE_NOT_FOUND) {
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
