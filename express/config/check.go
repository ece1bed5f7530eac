package config

import (
	"errors"
	"fmt"
	"net/netip"
	"path"
	"regexp"
	"strings"
)

// Checks for the values of options. Each error completes a message that starts with
// the option's name and a colon.

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

// processGroup accepts names that the module uses literally. A name that starts with
// %{ would be evaluated for each request, for example from its Host header.
func processGroup(v string) error {
	if strings.HasPrefix(v, "%{") {
		return fmt.Errorf("%q is not a literal name: mod_wsgi would choose a group for each request", v)
	}
	return oneWord(v)
}

func logLevel(v string) error {
	words := strings.Fields(v)
	if len(words) == 0 {
		return errors.New("the value is empty")
	}
	for _, w := range words {
		if !LevelWords.MatchString(w) {
			return fmt.Errorf("%q is not a log level", w)
		}
	}
	return nil
}

// HostName accepts a host name, an IPv4 address, or an IPv6 address with or without
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
		return fmt.Errorf("%q is neither a host name nor a pattern for host names", v)
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

// headerValue rejects values that mod_headers would evaluate as expressions.
func headerValue(v string) error {
	if strings.HasPrefix(v, "expr=") {
		return fmt.Errorf("%q is an httpd expression", v)
	}
	return nil
}

func Unbracket(host string) string {
	if strings.HasPrefix(host, "[") && strings.HasSuffix(host, "]") {
		return host[1 : len(host)-1]
	}
	return host
}

// CleanMount returns a mount point that starts with a slash and, except for the root,
// does not end with one.
func CleanMount(v string) string { return path.Clean("/" + v) }

// unixTarget accepts a local socket, the only supported target of telemetry.
func unixTarget(v string) error {
	if path, ok := strings.CutPrefix(v, "unix:"); !ok || !strings.HasPrefix(path, "/") {
		return fmt.Errorf("%q is not unix: followed by the absolute path of a socket", v)
	}
	return nil
}

// telemetryWords accepts names that either all have a sign or all have none.
func telemetryWords(v string) error {
	signed, plain := false, false
	for _, w := range strings.Fields(v) {
		name := strings.TrimLeft(w, "+-")
		if !LevelWords.MatchString(name) || len(w)-len(name) > 1 {
			return fmt.Errorf("%q is not the name of a telemetry option", w)
		}
		signed, plain = signed || w != name, plain || w == name
	}
	if signed == plain {
		return fmt.Errorf("%q mixes names with and without a sign", v)
	}
	return nil
}
