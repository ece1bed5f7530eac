package supervise

import (
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
	"unicode"

	"modwsgi/express/host"
)

// ledger records the application's processes of one instance: the launcher's Python part
// reports when one has loaded the application or could not, and why it ends. A process
// that has ended without a report was killed, or has crashed.
type ledger struct {
	mu     sync.Mutex
	alive  map[int]*appProcess
	ends   []End          // the last ones, the latest one last
	counts map[string]int // of all ends, by reason
}

// appProcess is a process that has loaded the application, or is about to end.
type appProcess struct {
	of     *generation
	birth  string
	reason string // of its end, if it has reported that
	loaded bool
}

// End is the end of a process of the application.
type End struct {
	PID    int       `json:"pid"`
	Time   time.Time `json:"time"` // when it was noticed
	Reason string    `json:"reason"`
}

// mostEnds limits the ends that are kept one by one.
const mostEnds = 20

const (
	endKilled  = "killed"
	endUnknown = "unknown"
)

func newLedger() *ledger {
	return &ledger{alive: map[int]*appProcess{}, counts: map[string]int{}}
}

// report is one line of the launcher's Python part.
type report struct {
	kind string // "ready", "failed" or "stopping"
	pid  int
	text string // why
}

// message is a report of loading without the process.
func (r report) message() string { return strings.TrimSpace(r.kind + " " + r.text) }

// parseReport reads a line. The application runs in the same process, so it can be
// anything, and it is shown on terminals.
func parseReport(line string) (r report, ok bool) {
	kind, rest, _ := strings.Cut(line, " ")
	number, text, _ := strings.Cut(rest, " ")
	pid, err := strconv.Atoi(number)
	if err != nil || pid <= 0 || kind != "ready" && kind != "failed" && kind != "stopping" {
		return r, false
	}
	text = strings.Map(func(r rune) rune {
		if unicode.IsControl(r) {
			return unicode.ReplacementChar
		}
		return r
	}, strings.ToValidUTF8(text, "\ufffd"))
	return report{kind, pid, text}, true
}

// note records a report of a process of a generation.
func (l *ledger) note(g *generation, r report) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.sweep()
	p := l.alive[r.pid]
	if p == nil {
		if r.kind == "stopping" || !host.IsChild(r.pid, g.PID()) { // it has ended already, or is another program
			return
		}
		p = &appProcess{of: g, birth: host.Birth(r.pid)}
		l.alive[r.pid] = p
	}
	switch r.kind {
	case "ready":
		p.loaded, g.failed = true, ""
	case "failed":
		p.loaded, g.failed = false, r.text
	case "stopping":
		p.reason = reasonOf(r.text)
	}
}

// reasons are those of mod_wsgi 5 and 6, and of the launcher's Python part.
var reasons = []string{
	"cpu_time_limit", "deadlock_timeout", "eviction_signal", "graceful_signal", "inactivity_timeout", "maximum_requests", "request_timeout",
	"restart_interval", "script_reload", "shutdown_signal", "signal_pipe_error", "startup_timeout",
}

func reasonOf(text string) string {
	if !slices.Contains(reasons, text) {
		return endUnknown
	}
	return text
}

// sweep records the processes that have ended. Those of an httpd that leaves have ended
// with it.
func (l *ledger) sweep() {
	for pid, p := range l.alive {
		if host.Lives(pid, p.birth) {
			continue
		}
		delete(l.alive, pid)
		if p.of.leaves.Load() {
			continue
		}
		reason := p.reason
		if reason == "" {
			reason = endKilled
		}
		l.counts[reason]++
		if l.ends = append(l.ends, End{pid, time.Now().UTC().Truncate(time.Second), reason}); len(l.ends) > mostEnds {
			l.ends = l.ends[1:]
		}
	}
}

// state is that of the application of a generation.
func (l *ledger) state(g *generation) host.State {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.sweep()
	for _, p := range l.alive {
		if p.of == g && p.loaded {
			return host.Ready
		}
	}
	if g.failed != "" {
		return host.Failed
	}
	return host.Starting
}

// history returns what has ended, and whether a process has loaded the application.
func (l *ledger) history() (ends []End, counts map[string]int, loaded map[int]bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.sweep()
	counts, loaded = map[string]int{}, map[int]bool{}
	for reason, n := range l.counts {
		counts[reason] = n
	}
	for pid, p := range l.alive {
		loaded[pid] = p.loaded
	}
	return append([]End{}, l.ends...), counts, loaded
}

// failure is why the last process of a generation could not load the application.
func (l *ledger) failure(g *generation) string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return g.failed
}

// reloads counts the replacements of httpd.
type reloads struct {
	done, refused int
	last          time.Time // of the last one that was done
	why           string    // why a later one was refused
}

func (r *reloads) add(err error) {
	if err != nil {
		r.refused, r.why = r.refused+1, err.Error()
		return
	}
	r.done, r.last, r.why = r.done+1, time.Now(), ""
}
