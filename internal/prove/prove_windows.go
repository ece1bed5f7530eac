package prove

import (
	"modwsgi/internal/fault"
	"modwsgi/internal/run"
)

func servingAccount() (*run.Account, error) { return nil, nil }

// openErrorLog fails: mod_wsgi has no daemon processes on Windows.
func openErrorLog(*throwaway) (*errorLog, error) {
	return nil, fault.New(fault.Environment, "start an application with it", "the throwaway server needs daemon processes, which mod_wsgi does not have on Windows")
}

func noexec(string) bool { return false }
