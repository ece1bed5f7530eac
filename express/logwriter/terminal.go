package logwriter

import (
	"bytes"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"
)

// The forms for people who look at a terminal: one short line per request, and what the
// application prints as it is. Everything that comes from a client or the application is
// shown without control characters.

// paint reports whether colours are used.
type paint bool

// Colours of the eight that every terminal has, as their palette defines them.
const (
	bold   = "1"
	dim    = "2"
	red    = "31"
	green  = "32"
	yellow = "33"
	cyan   = "36"
)

func (p paint) text(to []byte, colour, text string) []byte {
	if !p || text == "" {
		return append(to, text...)
	}
	return append(to, "\x1b["+colour+"m"+text+"\x1b[0m"...)
}

// wantsColours reports whether the user has not asked for text without colours
// (https://no-color.org).
func wantsColours(env []string) bool {
	for _, kv := range env {
		if name, value, _ := strings.Cut(kv, "="); name == "NO_COLOR" && value != "" || kv == "TERM=dumb" {
			return false
		}
	}
	return true
}

const clockLayout = "15:04:05"

// newAccessTerminal makes a short line of each request.
func newAccessTerminal(now func() time.Time, p paint) *accessLines {
	part := func(to, text []byte) []byte { return append(readable(to, text), '\n') }
	var v ['z' + 1][]byte
	return &accessLines{part: part, whole: func(to, record []byte) []byte {
		if n, once := fields(record, &v); !once || n != accessFields {
			return part(to, record)
		}
		at := now()
		if micro, err := strconv.ParseInt(string(v['s']), 10, 64); err == nil {
			at = time.UnixMicro(micro)
		}
		to = p.text(to, dim, at.Format(clockLayout))
		to = append(to, ' ', ' ')
		method := v['m']
		if len(method) == 0 {
			method = []byte("-")
		}
		to = readable(to, method)
		to = append(to, strings.Repeat(" ", max(1, 7-len(method)))...)
		to = p.text(to, statusColour(v['c']), string(readable(nil, v['c'])))
		to = append(to, ' ', ' ')
		to = p.text(to, dim, fmt.Sprintf("%8s", took(v['d'])))
		to = append(to, ' ', ' ')
		if len(v['p']) == 0 {
			to = readable(to, v['x'])
		}
		to = readable(to, v['p'])
		return append(readable(to, v['q']), '\n')
	}}
}

func statusColour(status []byte) string {
	if len(status) == 0 {
		return red
	}
	switch status[0] {
	case '2':
		return green
	case '3', '1':
		return cyan
	case '4':
		return yellow
	}
	return red
}

// took is a number of microseconds as people read it.
func took(micro []byte) string {
	n, err := strconv.ParseInt(string(micro), 10, 64)
	switch d := time.Duration(n) * time.Microsecond; {
	case err != nil:
		return "-"
	case d < 10*time.Millisecond:
		return fmt.Sprintf("%.1f ms", float64(n)/1000)
	case d < time.Second:
		return fmt.Sprintf("%d ms", d.Milliseconds())
	default:
		return fmt.Sprintf("%.1f s", d.Seconds())
	}
}

// terminal makes readable text of an error log's messages.
type terminal struct {
	paint

	dir string // working directory of the application; its files are shown relative to it
}

// chatter is what servers and the launcher's Python part report when all is well.
var chatter = regexp.MustCompile(`^(AH00489|AH00163|AH00094|AH0049[123]|AH00292|AH01873|monitor \(pid=\d+\): (Starting change monitor|Triggering process restart)\.$|mod_wsgi \(pid=\d+\): (Exception occurred processing WSGI script|Failed to exec Python script file)|WSGI\d+: .*(exception raised (processing|loading)|Failed to exec Python script file))`)

// changed is the message of the launcher's Python part before a restart.
var changed = regexp.MustCompile(`^monitor \(pid=\d+\): Change detected to '(.*)'\.$`)

func (t *terminal) message(to []byte, m *message) []byte {
	if chatter.Match(m.text) {
		return to
	}
	if c := changed.FindSubmatch(m.text); c != nil {
		to = t.head(to, m)
		to = t.text(to, cyan, "reload")
		file := c[1]
		if t.dir != "" && t.dir != "/" {
			file = bytes.TrimPrefix(file, []byte(t.dir+"/"))
		}
		return append(append(appendVisible(append(to, ' ', ' '), file), " has changed"...), '\n')
	}
	if bytes.HasPrefix(m.text, opening) || bytes.HasPrefix(m.text, group) {
		return t.traceback(to, m)
	}
	if len(m.pid) == 0 || string(m.module) == "wsgi" && !bytes.HasPrefix(m.text, []byte("mod_wsgi (pid=")) { // the application prints it
		return append(appendVisible(to, m.text), '\n')
	}
	to = t.head(to, m)
	level := string(m.level)
	colour := yellow
	if slices.Contains([]string{"emerg", "alert", "crit", "error"}, level) {
		colour = red
	}
	to = t.text(to, colour, level)
	to = append(to, ' ', ' ')
	return append(appendVisible(to, m.text), '\n')
}

func (t *terminal) head(to []byte, m *message) []byte {
	return append(t.text(to, dim, m.at.Local().Format(clockLayout)), ' ', ' ')
}

// traceback shows a traceback without the frames of the launcher's Python part, and sets
// those of the application apart from those of installed packages.
func (t *terminal) traceback(to []byte, m *message) []byte {
	inside, library := false, false
	for line := range strings.SplitSeq(string(m.text), "\n") {
		visible := string(appendVisible(nil, []byte(line)))
		frame := strings.HasPrefix(line, `  File "`)
		if frame {
			inside = strings.Contains(line, `/handler.wsgi", line `)
			library = strings.Contains(line, "-packages/") || strings.Contains(line, "/lib/python3") || strings.Contains(line, `"<frozen `)
		}
		switch {
		case inside && strings.HasPrefix(line, "  "):
			continue
		case frame && !library:
			to = t.text(to, bold, visible)
		case strings.HasPrefix(line, "  ") && library:
			to = t.text(to, dim, visible)
		case line != "" && line[0] != ' ' && line[0] != '\t' && line != string(opening):
			to = t.text(to, red, visible)
		default:
			to = append(to, visible...)
		}
		to = append(to, '\n')
	}
	return to
}

// appendVisible appends text in UTF-8. Control characters but the tab, bytes that are not
// UTF-8 and characters without a visible form become escapes.
func appendVisible(to, text []byte) []byte {
	for len(text) > 0 {
		c := text[0]
		if c < utf8.RuneSelf {
			if c < ' ' && c != '\t' || c == 0x7f {
				to = appendHex(to, c)
			} else {
				to = append(to, c)
			}
			text = text[1:]
			continue
		}
		_, n := utf8.DecodeRune(text)
		to = appendHigh(to, text[:n])
		text = text[n:]
	}
	return to
}
