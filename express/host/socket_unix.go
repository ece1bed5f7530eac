//go:build unix

package host

import (
	"errors"

	"golang.org/x/sys/unix"
)

// SocketProblem returns why an account cannot send datagrams to a socket, or "" if it
// can. It sends nothing.
func SocketProblem(a *Account, path string) string {
	err := As(a, func() error { return greet(path) })
	switch {
	case err == nil:
		return ""
	case errors.Is(err, unix.ENOENT):
		return "the socket " + path + " does not exist"
	case errors.Is(err, unix.ECONNREFUSED):
		return "nothing is listening on " + path
	case errors.Is(err, unix.EPROTOTYPE):
		return path + " is not a datagram socket, as collectors use"
	case errors.Is(err, unix.EACCES):
		return "the user " + a.User + " cannot write to " + path
	}
	return path + ": " + err.Error()
}

// greet connects to a collector's socket without sending anything.
func greet(path string) error {
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_DGRAM, 0)
	if err != nil {
		return err
	}
	defer func() { _ = unix.Close(fd) }()
	unix.CloseOnExec(fd)
	return unix.Connect(fd, &unix.SockaddrUnix{Name: path})
}
