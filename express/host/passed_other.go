//go:build !linux

package host

import (
	"os"
	"strconv"

	"modwsgi/internal/fault"
	"modwsgi/internal/run"
)

// PassedSockets refuses sockets that this process was started with.
func PassedSockets(environ []string) ([]Passed, error) {
	if run.Getenv(environ, "LISTEN_PID") == strconv.Itoa(os.Getpid()) && run.Getenv(environ, "LISTEN_FDS") != "0" {
		return nil, fault.New(fault.Environment, "start it without LISTEN_FDS", "sockets that this program is started with can only be used on Linux")
	}
	return nil, nil
}

// ClosePassed is for Linux.
func ClosePassed([]int) {}
