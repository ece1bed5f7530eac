// Command mod_wsgi-express serves Python WSGI applications through httpd; see
// package express.
package main

import (
	"context"
	"os"
	"os/signal"

	"modwsgi/express"
	"modwsgi/internal/run"
	"modwsgi/internal/version"
)

func main() {
	signals := make(chan os.Signal, 32)
	signal.Notify(signals, express.Signals()...)
	env := run.WithPath(os.Environ())
	exe := run.Executable(os.Args[0], env)
	dir, dirErr := os.Getwd()
	args := express.HideSecrets(os.Args[1:])
	os.Exit(express.Run(context.Background(), &express.Console{Stdin: os.Stdin, Stdout: os.Stdout, Stderr: os.Stderr}, &express.Invocation{
		Args: args, Env: env, Executable: exe, Name: os.Args[0], Dir: dir, NoDir: dirErr, Version: version.String(), Signals: signals,
	}))
}
