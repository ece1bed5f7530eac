package httpdbuild

import (
	"bytes"
	"fmt"
	"io"
	"path/filepath"
	"regexp"

	"modwsgi/internal/event"
)

// progress copies a tool's output to the step's log and reports its progress: the file
// being compiled and its number, or what configure checks for.
type progress struct {
	log    io.Writer
	events event.Sink
	step   string
	line   []byte
	files  int
}

// maxLine limits how much of an unfinished line is kept.
const maxLine = 64 << 10

func (p *progress) Write(b []byte) (int, error) {
	for rest := b; len(rest) > 0; {
		line, after, ended := bytes.Cut(rest, []byte("\n"))
		if len(p.line) < maxLine {
			p.line = append(p.line, line...)
		}
		if ended {
			p.tell()
			p.line = p.line[:0]
		}
		rest = after
	}
	return p.log.Write(b)
}

var (
	// A compiler's or libtool's command line, and automake's short form of it.
	compileLine = regexp.MustCompile(`(?:^\s+CC\s+|\s-c\s+(?:-o \S+\s+)?)(\S+\.(?:c|lo|o))(?:\s|$)`)
	checkLine   = regexp.MustCompile(`^checking (.{1,60}?)\.\.\. `)
)

func (p *progress) tell() {
	text := ""
	if m := compileLine.FindSubmatch(p.line); m != nil {
		p.files++
		text = fmt.Sprintf("%s (file %d)", filepath.Base(string(m[1])), p.files)
	} else if m := checkLine.FindSubmatch(p.line); m != nil {
		text = "checking " + string(m[1])
	}
	if text != "" {
		p.events.Send(event.Event{Kind: event.Progress, Step: p.step, Text: text})
	}
}
