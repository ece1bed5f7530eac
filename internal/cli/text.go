package cli

import (
	"context"
	"io"
	"regexp"
	"strings"
	"sync"

	"modwsgi/internal/spelling"
)

// sequences matches what terminals interpret as commands (ECMA-48): control sequences,
// strings up to their terminator (titles, links), and two-character escapes.
var sequences = regexp.MustCompile("\x1b\\[[0-?]*[ -/]*[@-~]|\x1b[\\]PX^_][^\x07\x1b]*(?:\x07|\x1b\\\\)?|\x1b[ -/]*[0-~]")

// printable removes escape sequences and control characters from the output of tools
// and servers, so that it cannot manipulate a terminal. It also removes characters
// that reorder text (Unicode's bidirectional controls).
func printable(s string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case r == '\n', r == '\t':
			return r
		case r < ' ', r == 0x7f, r >= 0x80 && r < 0xa0, r >= 0x202a && r <= 0x202e, r >= 0x2066 && r <= 0x2069:
			return -1
		}
		return r
	}, sequences.ReplaceAllString(s, ""))
}

// defuse changes lines that GitHub Actions would take for workflow commands:
// "::name::" at the beginning of a line, and the old "##[name]" anywhere.
func defuse(s string) string {
	lines := strings.Split(s, "\n")
	for i, line := range lines {
		if rest := strings.TrimLeft(line, " \t"); strings.HasPrefix(rest, "::") {
			line = line[:len(line)-len(rest)] + ": :" + rest[2:]
		}
		lines[i] = strings.ReplaceAll(line, "##[", "## [")
	}
	return strings.Join(lines, "\n")
}

// githubEscape escapes text as the data of one command
// (https://docs.github.com/en/actions/reference/workflow-commands-for-github-actions).
func githubEscape(s string) string {
	return strings.NewReplacer("%", "%25", "\r", "%0D", "\n", "%0A").Replace(s)
}

// nearest returns the name that differs least from a word, or "" if every name differs
// in more than a third of it.
func nearest(word string, names []string) string {
	return spelling.Nearest(word, names, max(1, (len(word)+2)/3))
}

// output is standard output. A failed write is an error of the whole program, so that
// a script that reads the results never takes half of them for all.
type output struct {
	to     io.Writer
	failed context.CancelCauseFunc
	mu     sync.Mutex
	err    error
}

func (o *output) Write(b []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.err != nil {
		return 0, o.err
	}
	n, err := o.to.Write(b)
	if o.err = err; err != nil {
		o.failed(err)
	}
	return n, err
}

func (o *output) problem() error {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.err
}
