// Package console is how the launcher talks to people: its three streams, and the form
// of its warnings, errors and hints.
//
// It does not know what they are about.
package console

import (
	"fmt"
	"io"
	"os"
	"strings"

	"modwsgi/internal/fault"
	"modwsgi/internal/shortage"
)

// Program is the name that people use for the launcher.
const Program = "mod_wsgi-express"

// Console is the streams of the launcher. httpd inherits them.
type Console struct{ Stdin, Stdout, Stderr *os.File }

// Printf prints a result on standard output.
func (c *Console) Printf(format string, args ...any) { fmt.Fprintf(c.Stdout, format, args...) }

// Warn prints a warning on standard error.
func (c *Console) Warn(text string) { fmt.Fprintf(c.Stderr, "%s: warning: %s\n", Program, text) }

// Note prints a remark on standard error.
func (c *Console) Note(text string) { show(c.Stderr, "note", text) }

// Fail prints an error as upstream does (PROG: error: TEXT), and its hint.
func (c *Console) Fail(err error) {
	err = shortage.Explain(err, "")
	show(c.Stderr, "error", err.Error())
	if hint := fault.HintOf(err); hint != "" {
		show(c.Stderr, "hint", hint)
	}
}

// show prints a message. Continuation lines are indented.
func show(w io.Writer, kind, message string) {
	message = strings.ReplaceAll(strings.TrimRight(message, "\n"), "\n", "\n    ")
	fmt.Fprintf(w, "%s: %s: %s\n", Program, kind, message)
}
