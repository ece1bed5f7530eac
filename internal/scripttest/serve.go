//go:build unix

package scripttest

import (
	"fmt"
	"io"
	"net"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
)

// serve is the fake httpd: it knows -t, -v and how to be one process that listens
// where the configuration says, writes its pid file, says nothing to its clients,
// and ends with SIGTERM or SIGWINCH. A file "broken" beside the program is what it
// says of every configuration.
func serve(args []string, stderr io.Writer) int {
	value := func(name string) string {
		if i := slices.Index(args, name); i >= 0 && i+1 < len(args) {
			return args[i+1]
		}
		return ""
	}
	own, err := os.Executable()
	if err != nil {
		_, _ = fmt.Fprintln(stderr, err)
		return 1
	}
	if broken, err := os.ReadFile(filepath.Join(filepath.Dir(own), "broken")); err == nil {
		_, _ = fmt.Fprintf(stderr, "%s", broken)
		return 1
	}
	conf, err := os.ReadFile(value("-f"))
	switch {
	case slices.Contains(args, "-v"):
		_, _ = fmt.Fprintln(stderr, "Server version: Apache/2.4.68 (Unix)")
		return 0
	case err != nil:
		_, _ = fmt.Fprintln(stderr, err)
		return 1
	case slices.Contains(args, "-t"):
		_, _ = fmt.Fprintln(stderr, "Syntax OK")
		return 0
	}
	signals := make(chan os.Signal, 8)
	signal.Notify(signals, syscall.SIGTERM, syscall.SIGUSR1, syscall.SIGHUP, syscall.SIGWINCH)
	pidFile, listeners := "", 0
	for line := range strings.Lines(string(conf)) {
		directive, value, _ := strings.Cut(strings.TrimSpace(line), " ")
		value = strings.Trim(value, `"`)
		switch directive {
		case "PidFile":
			pidFile = value
		case "Listen":
			if !strings.Contains(value, ":") {
				value = "127.0.0.1:" + value
			}
			l, err := net.Listen("tcp", value)
			if err != nil {
				_, _ = fmt.Fprintln(stderr, err)
				return 1
			}
			defer func() { _ = l.Close() }()
			listeners++
		}
	}
	if listeners == 0 || os.WriteFile(pidFile, fmt.Appendln(nil, os.Getpid()), 0o644) != nil {
		_, _ = fmt.Fprintln(stderr, "no Listen, or no PidFile that can be written")
		return 1
	}
	for s := range signals {
		if s == syscall.SIGTERM || s == syscall.SIGWINCH {
			break
		}
	}
	_ = os.Remove(pidFile)
	return 0
}
