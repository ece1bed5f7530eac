// Package top shows what an instance does on a terminal, again and again.
//
// The layout (view.go) is made of text alone: it knows neither the terminal nor the
// instance. What is shown comes from the process that supervises httpd.
package top

import (
	"bufio"
	"cmp"
	"context"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"golang.org/x/term"

	"modwsgi/express/host"
	"modwsgi/express/supervise"
	"modwsgi/internal/run"
)

// Options are what to show, and how often.
type Options struct {
	Root     string
	Look     func(context.Context) (*supervise.Report, error)
	Interval time.Duration
	Count    int // how often; 0 is until it is ended, or once if the output is not a terminal
	Env      []string
	Signals  <-chan os.Signal

	Stdin, Stdout *os.File
}

const mostRecent = 60 // rates that are remembered

// exitStopped is the exit code for an instance that is not running when it is shown the last time.
const exitStopped = 3

// Run shows the instance until it is ended.
func Run(ctx context.Context, o *Options) (int, error) {
	w := &watcher{Options: o}
	fd := int(o.Stdout.Fd())
	isTerminal := term.IsTerminal(fd)
	name := run.Getenv(o.Env, "TERM")
	dumb := name == "" || name == "dumb"
	w.style = Style{Color: isTerminal && !dumb && run.Getenv(o.Env, "NO_COLOR") == "", UTF8: isUTF8(o.Env)}
	if !isTerminal {
		w.Count = max(w.Count, 1)
	}
	if w.Count == 1 || !isTerminal || dumb {
		return w.print(ctx, isTerminal)
	}
	return w.full(ctx)
}

// isUTF8 reports whether the environment's locale has the encoding UTF-8.
func isUTF8(env []string) bool {
	locale := cmp.Or(run.Getenv(env, "LC_ALL"), run.Getenv(env, "LC_CTYPE"), run.Getenv(env, "LANG"))
	locale = strings.ToLower(locale)
	return strings.Contains(locale, "utf-8") || strings.Contains(locale, "utf8")
}

// watcher remembers what it needs for the next moment.
type watcher struct {
	*Options

	style  Style
	last   *supervise.Report
	at     time.Time
	recent []float64
}

// look returns what is to be shown now.
func (w *watcher) look(ctx context.Context) *View {
	r, err := w.Look(ctx)
	now := time.Now()
	v := &View{Now: now, Root: w.Root, Report: r, Err: err, CPU: map[int]float64{}}
	seconds := now.Sub(w.at).Seconds()
	if last := w.last; last != nil && r != nil && seconds > 0 {
		if a, b := last.Supervised, r.Supervised; a != nil && b != nil && a.Since.Equal(b.Since) && b.Requests >= a.Requests {
			rate := float64(b.Requests-a.Requests) / seconds
			v.Rate = &rate
			w.recent = append(w.recent[max(0, len(w.recent)+1-mostRecent):], rate)
		} else {
			w.recent = nil
		}
		for _, p := range r.Workers {
			for _, before := range last.Workers {
				if p.PID == before.PID && p.Started.Equal(before.Started) {
					v.CPU[p.PID] = max(0, p.CPU-before.CPU) / seconds
				}
			}
		}
	}
	v.Recent = w.recent
	w.last, w.at = r, now
	return v
}

func (v *View) exit() int {
	switch {
	case v.Report == nil:
		return 1
	case !v.Report.Running:
		return exitStopped
	}
	return 0
}

// plainWidth is the width of output that is not for a terminal: paths are complete.
const plainWidth = 400

// print writes one state after the other, without moving the cursor.
func (w *watcher) print(ctx context.Context, isTerminal bool) (int, error) {
	for n := 1; ; n++ {
		columns := plainWidth
		if isTerminal {
			if c, _, err := term.GetSize(int(w.Stdout.Fd())); err == nil && c > 0 {
				columns = c
			}
		}
		v := w.look(ctx)
		if v.Report == nil && w.Count == 1 {
			return 1, v.Err
		}
		text := strings.Join(v.Lines(w.style, columns, 0), "\n") + "\n"
		if n > 1 {
			text = "\n" + text
		}
		if _, err := io.WriteString(w.Stdout, text); err != nil {
			return 1, err
		}
		if w.Count > 0 && n >= w.Count {
			return v.exit(), nil
		}
		if code, ended := w.pause(ctx, nil, nil); ended {
			return code, nil
		}
	}
}

// pause waits for the next moment. redraw is called when the size of the terminal changes.
func (w *watcher) pause(ctx context.Context, keys <-chan byte, redraw func()) (code int, ended bool) {
	next := time.After(w.Interval)
	for {
		select {
		case <-next:
			return 0, false
		case <-ctx.Done():
			return 1, true
		case got := <-w.Signals:
			if host.RequestOf(got) != host.Resized {
				return host.ExitCode(got), true
			}
			if redraw != nil {
				redraw()
			}
		case key, open := <-keys:
			switch {
			case !open:
				keys = nil
			case key == 'q' || key == 'Q' || key == ctrlC || key == ctrlD:
				return 0, true
			case key == ' ' || key == '\r':
				return 0, false
			case key == ctrlL && redraw != nil:
				redraw()
			}
		}
	}
}

const (
	ctrlC = 3
	ctrlD = 4
	ctrlL = 12
)

// Sequences of ECMA-48 and xterm, which all terminals of today have.
const (
	enter = "\x1b[?1049h\x1b[?25l\x1b[?7l" // the other screen, no cursor, no automatic line breaks
	leave = "\x1b[?7h\x1b[?25h\x1b[?1049l"
	home  = "\x1b[H"
	clear = "\x1b[2J"
	toEOL = "\x1b[K"
)

// full fills the terminal.
func (w *watcher) full(ctx context.Context) (int, error) {
	var keys chan byte
	in := int(w.Stdin.Fd())
	if term.IsTerminal(in) {
		before, err := term.MakeRaw(in)
		if err != nil {
			return 1, err
		}
		defer func() { _ = term.Restore(in, before) }()
		keys = make(chan byte)
		go func() { // it ends with the program
			defer close(keys)
			from := bufio.NewReader(w.Stdin)
			for {
				key, err := from.ReadByte()
				if err != nil {
					return
				}
				keys <- key
			}
		}()
	}
	if _, err := io.WriteString(w.Stdout, enter); err != nil {
		return 1, err
	}
	defer func() { _, _ = io.WriteString(w.Stdout, leave) }()
	for n := 1; ; n++ {
		v := w.look(ctx)
		v.Help = fmt.Sprintf("q: quit   space: refresh   every %g s", w.Interval.Seconds())
		if err := w.draw(v); err != nil {
			return 1, err
		}
		if w.Count > 0 && n >= w.Count {
			return v.exit(), nil
		}
		code, ended := w.pause(ctx, keys, func() {
			_, _ = io.WriteString(w.Stdout, clear)
			_ = w.draw(v)
		})
		if ended {
			return code, nil
		}
	}
}

// draw writes a frame at once, over the one before.
func (w *watcher) draw(v *View) error {
	columns, height, err := term.GetSize(int(w.Stdout.Fd()))
	if err != nil || columns <= 0 || height <= 0 {
		columns, height = 80, 24
	}
	lines := v.Lines(w.style, columns, height)
	// Each line is erased first: after one that ends in the last column, its end would be.
	_, err = io.WriteString(w.Stdout, home+toEOL+strings.Join(lines, "\r\n"+toEOL))
	return err
}
