//go:build unix

package host

import (
	"bytes"
	"context"
	"io"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// mostOutput is the number of bytes of a program's output that are kept.
const mostOutput = 4096

// Collect runs a program to its end, and returns the last of what it has printed. A
// process that waits for all of its children, as the one that supervises httpd does, would
// take the exit code away from other ways to start a program.
func Collect(ctx context.Context, path string, argv, env []string) (Exit, string, error) {
	null, err := os.Open(os.DevNull)
	if err != nil {
		return Exit{}, "", err
	}
	defer null.Close()
	from, to, err := os.Pipe()
	if err != nil {
		return Exit{}, "", err
	}
	defer from.Close()
	pid, done, err := startChild(Command{Path: path, Argv: argv, Dir: "/", Env: env, Files: []*os.File{null, to, to}}, childAttributes(true, false))
	_ = to.Close()
	if err != nil {
		return Exit{}, "", err
	}
	printed := make(chan string, 1)
	go func() {
		var last bytes.Buffer
		chunk := make([]byte, mostOutput)
		for {
			n, err := from.Read(chunk)
			last.Write(chunk[:n])
			if over := last.Len() - mostOutput; over > 0 {
				_, _ = io.CopyN(io.Discard, &last, int64(over))
			}
			if err != nil {
				printed <- last.String()
				return
			}
		}
	}()
	var exit Exit
	select {
	case exit = <-done:
	case <-ctx.Done():
		_ = unix.Kill(-pid, unix.SIGKILL)
		exit = <-done
		err = ctx.Err()
	}
	_ = from.SetReadDeadline(time.Now().Add(time.Second)) // what it has started may keep the pipe
	return exit, <-printed, err
}
