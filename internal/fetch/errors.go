package fetch

import (
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"

	"modwsgi/internal/fault"
	"modwsgi/internal/httpc"
	"modwsgi/internal/owned"
	"modwsgi/internal/recipe"
)

// Attempt is one location that did not have an archive.
type Attempt struct {
	Provider string // SourceDir, Cache, URL or Debian
	From     string // location for people, without credentials
	Err      error  // reason
}

// Unavailable is the error for an archive that no provider has.
type Unavailable struct {
	Archive  recipe.Archive
	Attempts []Attempt // in the order in which they were made
	Offline  bool      // the network was not allowed
}

func (n *Unavailable) add(provider, from string, err error) {
	n.Attempts = append(n.Attempts, Attempt{Provider: provider, From: from, Err: err})
}

func (n *Unavailable) Error() string {
	var b strings.Builder
	fmt.Fprintf(&b, "fetch %s: no provider has %s", n.Archive, n.Archive.File)
	for _, a := range n.Attempts {
		fmt.Fprintf(&b, "\n  %s %s: %v", a.Provider, a.From, a.Err)
	}
	return b.String()
}

// Summary returns the message on one line, with each reason once.
func (n *Unavailable) Summary() string {
	var reasons []string
	seen := map[string]bool{}
	for _, a := range n.Attempts {
		if a.Provider == Cache && len(n.Attempts) > 1 {
			continue
		}
		where := a.Provider
		if u, err := url.Parse(a.From); err == nil && u.Host != "" {
			where = u.Host
		}
		if text := where + ": " + a.Err.Error(); !seen[text] {
			seen[text] = true
			reasons = append(reasons, text)
		}
	}
	return fmt.Sprintf("%s is unavailable (%s)", n.Archive, strings.Join(reasons, "; "))
}

// Unwrap gives access to the reasons.
func (n *Unavailable) Unwrap() []error {
	out := make([]error, len(n.Attempts))
	for i, a := range n.Attempts {
		out[i] = a.Err
	}
	return out
}

// Hint describes how to provide the archive by hand.
func (n *Unavailable) Hint() string {
	hint := fmt.Sprintf("put %s (SHA-256 %s) into a directory and name that with --source-dir", n.Archive.File, n.Archive.SHA256)
	if slices.ContainsFunc(n.Attempts, func(a Attempt) bool { return httpc.TooSlow(a.Err) }) {
		hint = "run the same command again to resume, with a longer --download-timeout on a slow line; or " + hint
	}
	if n.Offline {
		return hint + ", or run without --offline"
	}
	return hint + ", or name a server that has it with --mirror"
}

// Mismatch is the error for contents that do not match their name.
type Mismatch struct {
	File           string // path or address, without credentials
	Expected       string // SHA-256, lower case hex
	Actual         string // SHA-256, lower case hex
	ExpectedBytes  int64  // 0 if unknown
	ActualBytes    int64
	LooksLikeAPage bool // an HTML page came instead of an archive
}

func (m *Mismatch) Error() string {
	text := fmt.Sprintf("verify %s: it has sha256 %s, expected %s", m.File, m.Actual, m.Expected)
	if m.ExpectedBytes > 0 && m.ActualBytes != m.ExpectedBytes {
		text += fmt.Sprintf(" (%d bytes instead of %d)", m.ActualBytes, m.ExpectedBytes)
	}
	if m.LooksLikeAPage {
		text += "; the server answered with an HTML page"
	}
	return text
}

func cacheFault(dir string, err error) error {
	var u *owned.Untrusted
	if errors.As(err, &u) {
		return fault.New(fault.Environment, u.Hint()+", or name another cache with --cache-dir", "use download cache %s: %w", dir, err)
	}
	return fault.New(fault.Environment, "make it a directory that you can write to and that has room, or name another one with --cache-dir",
		"use download cache %s: %w", dir, err)
}
