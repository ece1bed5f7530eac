// Command modwsgi puts Python web applications on Apache httpd: it builds an httpd and
// the mod_wsgi module into a Python environment and proves that they work.
package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"

	"modwsgi/internal/cli"
	"modwsgi/internal/run"
)

func main() {
	unguard := run.Guard()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	context.AfterFunc(ctx, stop)                            // a second signal ends the program at once
	signal.Notify(make(chan os.Signal, 1), syscall.SIGPIPE) // a closed reader ends the work cleanly, see cli.Main
	env := run.WithPath(os.Environ())
	exe := run.Executable(os.Args[0], env)
	dir, dirErr := os.Getwd()
	code := cli.Main(ctx, cli.Process{
		Args: os.Args[1:], Env: env, Dir: dir, NoDir: dirErr, Executable: exe, Stdout: os.Stdout, Stderr: os.Stderr,
	})
	stop()
	unguard()
	os.Exit(code)
}
