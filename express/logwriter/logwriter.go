// Package logwriter is the program that httpd pipes a log into (the hidden command
// write-log): it turns httpd's lines into readable text or JSON, and appends them to a
// file that it rotates, or to a stream.
//
// # Why a program of our own
//
// httpd escapes every byte above 0x7f, has no directive against that, and its escapes
// are not JSON. rotatelogs ends at the SIGTERM that it gets with each reload, with lines
// in the pipe and clients still being served by the previous processes.
//
// # What it must survive
//
//   - Reload: httpd sends SIGTERM to the old program and starts a new one, while old
//     processes still write to the old one. A program therefore ends only when all writers
//     have closed the pipe, and two or more append to the same file.
//   - Being killed: httpd starts the program of an access log again, and keeps the pipe
//     open meanwhile. It does neither for error logs. Those have two processes: one reads
//     and writes, the other keeps the pipe open and replaces the first.
//   - Stop: httpd waits up to 3 seconds for the program of the error log, and for no
//     other. A lock in the server root tells the launcher which programs still have
//     lines (see [WaitForAll]).
//   - A full disk: lines are kept up to a limit, then counted, and httpd is never blocked.
//   - Hostile bytes: nothing that a client sends can end a line or look like another
//     field, because httpd escapes control characters and fields are separated by one.
//
// It knows nothing of options and of httpd's configuration.
package logwriter

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// Command is the command of the launcher that runs this package.
const Command = "write-log"

// Form is what is made of httpd's lines.
type Form string

// The forms.
const (
	Plain      Form = ""            // as httpd writes them
	UTF8       Form = "utf-8"       // readable text instead of escapes
	AccessText Form = "access-text" // from lines in TextFormat
	AccessJSON Form = "access-json" // from lines in AccessFormat
	ErrorJSON  Form = "error-json"  // from lines in ErrorFormat, and any others

	AccessTerminal Form = "access-terminal" // for people, from lines in AccessFormat
	ErrorTerminal  Form = "error-terminal"  // the same of lines in ErrorFormat, and any others
)

// The streams that a log can be written to instead of a file.
const (
	Stdout = "stdout"
	Stderr = "stderr"
)

// StreamVariable is the environment variable with the number of the descriptor that is
// the launcher's standard error: httpd gives its standard output as standard error to the
// program of the main error log.
const StreamVariable = "MOD_WSGI_STDERR_FD"

// DirectoryVariable is the environment variable with the working directory of the
// application.
const DirectoryVariable = "MOD_WSGI_WORKING_DIRECTORY"

// Settings are the parameters of one log.
type Settings struct {
	To     string // absolute path of a file, or a stream
	Form   Form
	Error  bool   // an error log: httpd does not start its program again
	Size   int64  // bytes at which a file is full, 0 for no limit
	Every  string // interval of rotation: a key of [Intervals], a number of seconds, or ""
	Keep   int    // full files to keep, 0 for all
	Root   string // server root, for locks
	worker bool   // reads and writes; false for the process that replaces it
}

// Args returns the settings as arguments of the command.
func (s *Settings) Args() []string {
	args := []string{"to=" + s.To}
	add := func(when bool, name, value string) {
		if when {
			args = append(args, name+"="+value)
		}
	}
	add(s.Form != Plain, "form", string(s.Form))
	add(s.Error, "log", "error")
	add(s.Size > 0, "size", strconv.FormatInt(s.Size, 10))
	add(s.Every != "", "every", s.Every)
	add(s.Keep > 0, "keep", strconv.Itoa(s.Keep))
	add(s.worker, "part", "worker")
	add(s.Root != "", "root", s.Root)
	return args
}

// Parse is the reverse of Args.
func Parse(args []string) (*Settings, error) {
	s := &Settings{}
	for _, a := range args {
		name, value, _ := strings.Cut(a, "=")
		var err error
		switch name {
		case "to":
			s.To = value
		case "form":
			s.Form = Form(value)
		case "log":
			s.Error = value == "error"
		case "size":
			s.Size, err = strconv.ParseInt(value, 10, 64)
		case "every":
			if s.Every = value; !IsInterval(value) {
				err = fmt.Errorf("not an interval")
			}
		case "keep":
			s.Keep, err = strconv.Atoi(value)
		case "part":
			s.worker = value == "worker"
		case "root":
			s.Root = value
		default:
			err = fmt.Errorf("unknown")
		}
		if err != nil {
			return nil, fmt.Errorf("argument %q: %w", a, err)
		}
	}
	switch {
	case s.To == "":
		return nil, fmt.Errorf("the argument to= is missing")
	case !slices.Contains([]Form{Plain, UTF8, AccessText, AccessJSON, ErrorJSON, AccessTerminal, ErrorTerminal}, s.Form):
		return nil, fmt.Errorf("unknown form %q", s.Form)
	}
	return s, nil
}
