package config

import (
	"errors"
	"fmt"
	"net/netip"
	"path"
	"regexp"
	"strings"
)

// Conditions on values, for the table. Each error reads on after the option's
// name and a colon.

var (
	variableName = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_.:-]*$`)
	LevelWords   = regexp.MustCompile(`^[A-Za-z0-9_.:]+$`)
	hostWord     = regexp.MustCompile(`^[A-Za-z0-9._-]+$`)
	patternWord  = regexp.MustCompile(`^[A-Za-z0-9._*?-]+$`)
)

func Variable(v string) error {
	if !variableName.MatchString(v) {
		return fmt.Errorf("%q is not the name of a variable", v)
	}
	return nil
}

func oneWord(v string) error {
	if v == "" || strings.ContainsAny(v, " \t\r\n\x00\"'") {
		return fmt.Errorf("%q is not a single word", v)
	}
	return nil
}

// processGroup is a name that the module takes as it is: one that starts with %{
// would be made anew for each request, of its Host header for example.
func processGroup(v string) error {
	if strings.HasPrefix(v, "%{") {
		return fmt.Errorf("%q is not a name: mod_wsgi would choose a group for each request", v)
	}
	return oneWord(v)
}

func logLevel(v string) error {
	words := strings.Fields(v)
	if len(words) == 0 {
		return errors.New("it is empty")
	}
	for _, w := range words {
		if !LevelWords.MatchString(w) {
			return fmt.Errorf("%q is not a log level", w)
		}
	}
	return nil
}

// HostName accepts a name, an IPv4 address, and an IPv6 address with or without
// brackets.
func HostName(v string) error {
	if hostWord.MatchString(v) {
		return nil
	}
	if _, err := netip.ParseAddr(Unbracket(v)); err != nil {
		return fmt.Errorf("%q is neither a host name nor an address", v)
	}
	return nil
}

func hostPattern(v string) error {
	if !patternWord.MatchString(v) {
		return fmt.Errorf("%q is not a host name or a pattern of one", v)
	}
	return nil
}

func network(v string) error {
	if _, err := netip.ParsePrefix(v); err == nil {
		return nil
	}
	if _, err := netip.ParseAddr(v); err != nil {
		return fmt.Errorf("%q is neither an address nor a network such as 10.0.0.0/8", v)
	}
	return nil
}

func urlPath(v string) error {
	if strings.ContainsAny(v, "\r\n\x00?#") {
		return fmt.Errorf("%q is not a URL path", v)
	}
	return nil
}

// headerValue refuses what mod_headers would take for an expression.
func headerValue(v string) error {
	if strings.HasPrefix(v, "expr=") {
		return fmt.Errorf("%q is an expression of httpd's", v)
	}
	return nil
}

func Unbracket(host string) string {
	if strings.HasPrefix(host, "[") && strings.HasSuffix(host, "]") {
		return host[1 : len(host)-1]
	}
	return host
}

// CleanMount returns a mount point that starts with a slash and does not end in
// one, unless it is the root.
func CleanMount(v string) string { return path.Clean("/" + v) }

// unixTarget is where telemetry may be sent to: a socket of this machine.
func unixTarget(v string) error {
	if path, ok := strings.CutPrefix(v, "unix:"); !ok || !strings.HasPrefix(path, "/") {
		return fmt.Errorf("%q is not unix: and the absolute path of a socket", v)
	}
	return nil
}

// telemetryWords accepts names with a sign or without, but not both kinds.
func telemetryWords(v string) error {
	signed, plain := false, false
	for _, w := range strings.Fields(v) {
		name := strings.TrimLeft(w, "+-")
		if !LevelWords.MatchString(name) || len(w)-len(name) > 1 {
			return fmt.Errorf("%q is not the name of something that can be captured", w)
		}
		signed, plain = signed || w != name, plain || w == name
	}
	if signed == plain {
		return fmt.Errorf("%q: either all names have a sign or none has", v)
	}
	return nil
}
