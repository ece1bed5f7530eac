// Command mod_wsgi-express serves Python WSGI applications through httpd; see
// package express.
package main

import (
	"context"
	"os"
	"os/signal"

	"modwsgi/express"
	"modwsgi/internal/version"
)

func main() {
	signals := make(chan os.Signal, 32)
	signal.Notify(signals, express.Signals()...)
	exe, _ := os.Executable()
	dir, dirErr := os.Getwd()
	args := express.HideSecrets(os.Args[1:])
	os.Exit(express.Run(context.Background(), &express.Console{Stdin: os.Stdin, Stdout: os.Stdout, Stderr: os.Stderr}, &express.Invocation{
		Args: args, Env: os.Environ(), Executable: exe, Name: os.Args[0], Dir: dir, NoDir: dirErr, Version: version.String(), Signals: signals,
	}))
}
