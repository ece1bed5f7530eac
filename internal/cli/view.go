package cli

import (
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/term"

	"modwsgi/internal/event"
	"modwsgi/internal/run"
)

// view shows events. Results go to standard output and progress to standard error, so
// that a pipe gets only results. With --json both are lines on standard output.
type view struct {
	mu     sync.Mutex
	out    io.Writer
	mode   string // "terminal", "plain", "github", "json"
	now    func() time.Time
	began  time.Time
	width  int
	active []*activeStep // ordered by start
	drawn  int           // lines of the live region on screen
	stop   chan struct{}
	done   sync.WaitGroup
	closed bool
	detail bool
	// actions: GitHub Actions parses the output, whichever display is chosen.
	actions bool
}

type activeStep struct {
	name  string
	text  string
	bytes int64
	total int64
	began time.Time
}

// newView chooses the display: what the user asked for, else GitHub's grouping on
// GitHub Actions, else live lines on a terminal, else plain lines.
func newView(a *app) (*view, error) {
	if a.Now == nil {
		a.Now = time.Now
	}
	v := &view{out: a.Stderr, now: a.Now, began: a.Now(), stop: make(chan struct{}), detail: a.flags.verbose}
	if err := checkProgress(a.flags.color); err != nil {
		return v, err
	}
	v.actions = run.Getenv(a.Env, "GITHUB_ACTIONS") == "true"
	v.mode = a.flags.color
	if a.flags.color == "auto" {
		v.mode = "plain"
		f, ok := a.Stderr.(*os.File)
		switch {
		case v.actions:
			v.mode = "github"
		case ok && term.IsTerminal(int(f.Fd())) && run.Getenv(a.Env, "TERM") != "dumb" && run.Getenv(a.Env, "CI") == "":
			v.mode = "terminal"
		}
	}
	if a.flags.json {
		v.mode, v.out = "json", a.Stdout
	}
	if v.mode == "terminal" {
		v.width = 80
		if f, ok := a.Stderr.(*os.File); ok {
			if w, _, err := term.GetSize(int(f.Fd())); err == nil && w > 0 {
				v.width = w
			}
		}
		v.done.Go(v.tick)
	}
	return v, nil
}

// sink returns the receiver of the rest of the program's events.
func (v *view) sink() event.Sink {
	return func(e event.Event) {
		v.mu.Lock()
		defer v.mu.Unlock()
		if !v.closed {
			v.show(e)
		}
	}
}

// interruption is a writer for lines between progress.
func (v *view) interruption() io.Writer { return &interruption{v} }

type interruption struct{ v *view }

func (i *interruption) Write(b []byte) (int, error) {
	i.v.mu.Lock()
	defer i.v.mu.Unlock()
	if i.v.mode == "json" {
		writeJSON(i.v.out, event.Event{Kind: event.Note, Text: strings.TrimRight(string(b), "\n")})
		return len(b), nil
	}
	text := string(b)
	if i.v.actions {
		text = defuse(text)
	}
	i.v.erase()
	_, err := io.WriteString(i.v.out, text)
	i.v.draw()
	return len(b), err
}

// close ends the live region; later events are not shown.
func (v *view) close() {
	v.mu.Lock()
	if v.closed {
		v.mu.Unlock()
		return
	}
	v.closed = true
	v.erase()
	v.mu.Unlock()
	close(v.stop)
	v.done.Wait()
}

func (v *view) show(e event.Event) {
	switch v.mode {
	case "json":
		writeJSON(v.out, e)
		return
	case "github":
		v.showGitHub(e)
		return
	}
	v.track(e)
	v.erase()
	if line := v.line(e); line != "" {
		if v.actions {
			line = defuse(line)
		}
		_, _ = io.WriteString(v.out, line+"\n")
	}
	v.draw()
}

// line is the permanent line of an event, "" if it has none.
func (v *view) line(e event.Event) string {
	stamp := fmt.Sprintf("[%6.1fs] ", v.now().Sub(v.began).Seconds())
	switch e.Kind {
	case event.Start:
		if v.mode == "plain" {
			return stamp + printable(e.Step)
		}
	case event.Done:
		line := stamp + printable(e.Step) + ": done in " + seconds(e.Elapsed)
		if v.detail && e.Log != "" {
			line += ", log " + printable(e.Log)
		}
		return line
	case event.Failed:
		return stamp + printable(e.Step) + ": failed after " + seconds(e.Elapsed)
	case event.Note:
		return stamp + printable(e.Text)
	case event.Warn:
		return stamp + "warning: " + printable(e.Text)
	case event.Progress:
		if v.mode == "plain" && v.detail && e.Text != "" {
			return stamp + printable(e.Step) + ": " + printable(e.Text)
		}
	}
	return ""
}

// showGitHub folds each step and the output of its tools into a group
// (https://docs.github.com/en/actions/reference/workflow-commands-for-github-actions).
// A group is written when its step ends, as groups cannot be interleaved.
func (v *view) showGitHub(e event.Event) {
	var b strings.Builder
	switch e.Kind {
	case event.Done, event.Failed:
		result := ""
		if e.Kind == event.Failed {
			result = ": failed"
		}
		fmt.Fprintf(&b, "::group::%s (%s)%s\n", githubEscape(printable(e.Step)), seconds(e.Elapsed), result)
		b.WriteString(logForGroup(e.Log))
		b.WriteString("::endgroup::\n")
	case event.Note:
		fmt.Fprintln(&b, defuse(printable(e.Text)))
	case event.Warn:
		fmt.Fprintf(&b, "::warning title=modwsgi::%s\n", githubEscape(printable(e.Text)))
	}
	_, _ = io.WriteString(v.out, b.String())
}

// groupLines is how much of a step's log a group shows.
const groupLines = 400

// logForGroup is the end of a log, with workflow commands defused.
func logForGroup(path string) string {
	data, err := os.ReadFile(path)
	if err != nil || len(data) == 0 {
		return ""
	}
	lines := strings.Split(strings.TrimRight(string(data), "\n"), "\n")
	skipped := max(0, len(lines)-groupLines)
	var b strings.Builder
	if skipped > 0 {
		fmt.Fprintf(&b, "(%d earlier lines omitted)\n", skipped)
	}
	for _, line := range lines[skipped:] {
		fmt.Fprintf(&b, " %s\n", defuse(printable(line)))
	}
	return b.String()
}

// track keeps the list of running steps.
func (v *view) track(e event.Event) {
	at := slices.IndexFunc(v.active, func(s *activeStep) bool { return s.name == e.Step })
	switch e.Kind {
	case event.Start:
		v.active = append(v.active, &activeStep{name: e.Step, began: v.now()})
	case event.Progress:
		if at >= 0 {
			s := v.active[at]
			if e.Text != "" {
				s.text = e.Text
			}
			if e.Bytes > 0 || e.Total > 0 {
				s.bytes, s.total = e.Bytes, e.Total
			}
		}
	case event.Done, event.Failed:
		if at >= 0 {
			v.active = slices.Delete(v.active, at, at+1)
		}
	}
}

// tick redraws the live region.
func (v *view) tick() {
	t := time.NewTicker(100 * time.Millisecond)
	defer t.Stop()
	for {
		select {
		case <-v.stop:
			return
		case <-t.C:
			v.mu.Lock()
			if !v.closed {
				v.erase()
				v.draw()
			}
			v.mu.Unlock()
		}
	}
}

// erase clears the live region: cursor up, then clear to the end of the screen
// (ECMA-48 CUU, ED).
func (v *view) erase() {
	if v.drawn > 0 {
		_, _ = fmt.Fprintf(v.out, "\x1b[%dA\r\x1b[J", v.drawn)
		v.drawn = 0
	}
}

// draw puts one line per running step below the permanent lines.
func (v *view) draw() {
	if v.mode != "terminal" || v.closed {
		return
	}
	var b strings.Builder
	for _, s := range v.active {
		line := fmt.Sprintf("  %s  %s", s.name, seconds(v.now().Sub(s.began)))
		if s.bytes > 0 {
			line += "  " + megabytes(s.bytes)
			if s.total > 0 {
				line += fmt.Sprintf(" of %s (%d %%)", megabytes(s.total), 100*s.bytes/s.total)
			}
		}
		if s.text != "" {
			line += "  " + s.text
		}
		b.WriteString(cut(printable(line), v.width-1) + "\n")
		v.drawn++
	}
	_, _ = io.WriteString(v.out, b.String())
}

// cut shortens a line to a number of characters.
func cut(s string, width int) string {
	runes := []rune(strings.ReplaceAll(strings.ReplaceAll(s, "\n", " "), "\t", " "))
	if len(runes) <= width {
		return string(runes)
	}
	if width < 1 {
		return ""
	}
	return string(runes[:width-1]) + "…"
}

// megabytes shows a size in units of a million bytes.
func megabytes(n int64) string { return fmt.Sprintf("%.1f MB", float64(n)/1e6) }
