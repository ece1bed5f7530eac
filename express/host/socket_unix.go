//go:build unix

package host

import (
	"errors"

	"golang.org/x/sys/unix"
)

// SocketProblem tells why an account cannot send datagrams to a socket, "" where it
// can. Nothing is sent.
func SocketProblem(a *Account, path string) string {
	err := As(a, func() error { return greet(path) })
	switch {
	case err == nil:
		return ""
	case errors.Is(err, unix.ENOENT):
		return "there is no socket " + path
	case errors.Is(err, unix.ECONNREFUSED):
		return "nobody listens at " + path
	case errors.Is(err, unix.EPROTOTYPE):
		return path + " is a socket of another kind than a collector's"
	case errors.Is(err, unix.EACCES):
		return "the user " + a.User + " may not write to " + path
	}
	return path + ": " + err.Error()
}

// greet connects to a collector's socket and sends nothing.
func greet(path string) error {
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_DGRAM, 0)
	if err != nil {
		return err
	}
	defer func() { _ = unix.Close(fd) }()
	unix.CloseOnExec(fd)
	return unix.Connect(fd, &unix.SockaddrUnix{Name: path})
}
