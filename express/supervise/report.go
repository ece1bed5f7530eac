package supervise

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"time"

	"modwsgi/express/acme"
	"modwsgi/express/host"
	"modwsgi/express/instance"
)

// Report is what an instance does at a moment. What is not known is left out: on other
// systems than Linux everything but the first five fields, and without mod_handover or
// the process that supervises httpd what these count.
type Report struct {
	Running bool   `json:"running"`
	PID     int    `json:"pid"`
	Root    string `json:"server_root"`
	URL     string `json:"url"`
	State   string `json:"state"` // "ready", "starting", "draining", "failed", "running" if that is all that is known, or "stopped"

	Started   time.Time `json:"started,omitzero"` // the present httpd
	Processes int       `json:"processes"`        // daemon processes that there should be; 0 in embedded mode
	Threads   int       `json:"threads"`          // of each of them; in embedded mode of httpd
	Capacity  int       `json:"capacity"`         // requests that run at the same time
	Busy      int       `json:"busy"`             // requests that run
	Queued    int       `json:"queued"`           // requests that wait for a daemon process

	Connections      int `json:"connections"`       // open, idle ones included
	ConnectionsLimit int `json:"connections_limit"` // 0 if unknown
	Backlog          int `json:"backlog"`           // connections that httpd has not accepted yet

	Workers []Process `json:"workers"`          // daemon processes; in embedded mode those of httpd
	Leaving []Leaving `json:"leaving"`          // httpds that have been replaced
	Failure string    `json:"failure,omitzero"` // why the application did not load

	Certificate  *acme.Status  `json:"certificate,omitempty"`  // of --https-auto
	Certificates []Certificate `json:"certificates,omitempty"` // those that httpd serves HTTPS with

	Supervised *Supervised `json:"supervised,omitempty"` // nil if no process counts
}

// Process is a process that runs the application.
type Process struct {
	PID     int       `json:"pid"`
	Loaded  bool      `json:"loaded"` // it has reported that it has loaded the application
	Started time.Time `json:"started"`
	Busy    *int      `json:"busy,omitempty"` // requests that run in it; nil in embedded mode, and if its open files may not be read
	CPU     float64   `json:"cpu_seconds"`
	Memory  int64     `json:"memory_bytes"` // resident, shared pages included
}

// Leaving is an httpd that completes its last requests.
type Leaving struct {
	PID  int `json:"pid"`
	Busy int `json:"busy"`
}

// Supervised is what the process that supervises httpd has counted since the start.
type Supervised struct {
	Since       time.Time      `json:"since"`
	Reloads     int            `json:"reloads"`
	Refused     int            `json:"reloads_refused"`
	LastReload  time.Time      `json:"last_reload,omitzero"`
	LastRefusal string         `json:"last_refusal,omitempty"` // why the last reload was refused
	Connections uint64         `json:"connections"`
	Requests    uint64         `json:"requests"`
	Statuses    map[string]int `json:"requests_by_status"` // "2xx" and so on
	Bytes       uint64         `json:"response_bytes"`
	Seconds     float64        `json:"request_seconds"` // sum of the durations of all requests
	Ends        []End          `json:"ends"`            // the last processes of the application that were replaced
	EndCounts   map[string]int `json:"ends_by_reason"`
	Minute      Latency        `json:"last_minute"`
	Overall     Latency        `json:"since_start"`
	Slowest     []Slow         `json:"slowest"` // of the last five minutes, one for each path, the slowest one first

	counts host.Counts
}

// Latency is the durations of the requests that were completed in a time.
type Latency struct {
	Length   float64 `json:"length_seconds"` // of that time
	Requests uint64  `json:"requests"`
	Failed   uint64  `json:"failed"` // with a status of 500 or more
	P50      float64 `json:"p50_seconds"`
	P90      float64 `json:"p90_seconds"`
	P99      float64 `json:"p99_seconds"`
}

func latency(t *host.Times, failed uint64, length time.Duration) Latency {
	percentile := func(share float64) float64 { return t.Percentile(share).Seconds() }
	return Latency{max(length, 0).Seconds(), t.Requests(), failed, percentile(0.5), percentile(0.9), percentile(0.99)}
}

// Slow is a completed request.
type Slow struct {
	Time    time.Time `json:"time"` // of its end
	Method  string    `json:"method"`
	Path    string    `json:"path"` // without the query; in ASCII, with %XX for everything else, and "..." at the end of a longer one
	Status  int       `json:"status"`
	Seconds float64   `json:"seconds"`
}

// slowest returns the slowest requests of the last minutes. Clients choose the texts, which
// are shown on terminals.
func slowest(c *host.Counts, now time.Time) []Slow {
	list := []Slow{}
	for _, r := range c.SlowestRequests(now) {
		method, path, _ := strings.Cut(printable(r.Text), " ")
		if r.Cut {
			path += "..."
		}
		list = append(list, Slow{r.Time, method, path, r.Status, r.Duration.Seconds()})
	}
	return list
}

// atMost keeps an estimate from exceeding the longest duration that is known.
func (l Latency) atMost(list []Slow) Latency {
	if len(list) > 0 {
		longest := list[0].Seconds
		l.P50, l.P90, l.P99 = min(l.P50, longest), min(l.P90, longest), min(l.P99, longest)
	}
	return l
}

// printable returns a text in printable ASCII.
func printable(text string) string {
	var b strings.Builder
	for _, c := range []byte(text) {
		if c < ' ' || c > '~' {
			fmt.Fprintf(&b, "%%%02X", c)
			continue
		}
		b.WriteByte(c)
	}
	return b.String()
}

// observe returns what can be seen of a running httpd from outside.
func observe(l *instance.Launch, pid int) *Report {
	r := &Report{
		Running: pid != 0, PID: pid, Root: l.Root, URL: l.URL, State: "stopped", Processes: l.Processes, Threads: l.Threads,
		Capacity: max(l.Processes, 1) * l.Threads, ConnectionsLimit: l.Clients, Workers: []Process{}, Leaving: []Leaving{},
	}
	r.addCertificate(l)
	r.Certificates = readCertificates(l.Certificates)
	if r.Certificate != nil {
		r.Certificates = append(r.Certificates, automatic(r.Certificate))
	}
	if pid == 0 {
		return r
	}
	r.State = "running"
	ports := host.PortQueue(l.Ports...)
	r.Connections, r.Backlog = ports.Connected, ports.Waiting
	q, serving := host.DaemonQueue(l.Sockets, pid)
	r.Busy, r.Queued = q.Connected, q.Waiting
	for _, w := range host.Workers(pid) {
		title := l.Argv0
		if l.Processes > 0 {
			title = "(wsgi:" + l.Group + ")"
		}
		if w.Title != title { // a service, or a program that writes a log
			continue
		}
		p := Process{PID: w.PID, Started: w.Started.UTC(), CPU: w.CPU.Seconds(), Memory: w.Memory}
		if l.Processes > 0 && !w.Hidden {
			n := 0
			for _, inode := range w.Sockets {
				if serving[inode] {
					n++
				}
			}
			p.Busy = &n
		}
		r.Workers = append(r.Workers, p)
	}
	return r
}

// report adds what the supervising process knows.
func (s *succession) report() *Report {
	s.mu.Lock()
	now, old, counts, done := s.current, slices.Clone(s.old), s.past, s.reloads
	present := now.link.Board().Counts()
	counts.Add(present)
	running := make([]int64, len(old))
	for k, g := range old { // an httpd that has ended is in the past from one moment to the next
		of := g.link.Board().Counts()
		running[k] = of.Running
		counts.Add(of)
	}
	s.mu.Unlock()
	r := observe(now.launch, now.PID())
	if r.Processes == 0 {
		r.Busy = int(present.Running)
	}
	r.State = s.stateOf(now).String()
	for k, g := range old {
		busy := int(running[k])
		if g.launch.Processes > 0 {
			q, _ := host.DaemonQueue(g.launch.Sockets, g.PID())
			busy = q.Connected
		}
		r.Leaving = append(r.Leaving, Leaving{g.PID(), busy})
	}
	ends, byReason, loaded := s.ledger.history()
	for k := range r.Workers {
		r.Workers[k].Loaded = loaded[r.Workers[k].PID]
	}
	if r.State == host.Failed.String() {
		r.Failure = s.ledger.failure(now)
	}
	statuses := map[string]int{}
	for k, n := range counts.Status {
		if n > 0 {
			statuses[statusClass(k)] = int(n)
		}
	}
	clock := time.Now()
	since := clock.Sub(s.since)
	minute, failed, length := counts.LastMinute(clock)
	slow := slowest(&counts, clock)
	r.Supervised = &Supervised{
		Since: s.since.UTC().Truncate(time.Second), Reloads: done.done, Refused: done.refused, LastReload: done.last.UTC().Truncate(time.Second), LastRefusal: done.why,
		Connections: counts.Connections, Requests: counts.Requests(), Statuses: statuses, Bytes: counts.Bytes, Seconds: counts.Duration.Seconds(),
		Ends: ends, EndCounts: byReason, counts: counts,
		Minute: latency(&minute, failed, min(length, since)).atMost(slow), Overall: latency(&counts.Times, counts.Status[5], since), Slowest: slow,
	}
	if done.last.IsZero() {
		r.Supervised.LastReload = time.Time{}
	}
	return r
}

func statusClass(k int) string {
	if k == 0 {
		return "other"
	}
	return fmt.Sprintf("%dxx", k)
}

// reportOf asks the supervising process, or looks from outside if none answers.
func reportOf(ctx context.Context, l *instance.Launch) (*Report, error) {
	pid, err := processOf(ctx, l)
	if err != nil {
		return nil, err
	}
	if pid != 0 {
		if conn := knock(ctx, l, wantStatus); conn != nil {
			defer conn.Close()
			_ = conn.SetReadDeadline(time.Now().Add(10 * time.Second))
			var r Report
			if err := json.NewDecoder(io.LimitReader(conn, 1<<24)).Decode(&r); err == nil && r.PID != 0 {
				return &r, nil
			}
		}
	}
	return observe(l, pid), nil
}

// write prints the report for people.
func (r *Report) write(w io.Writer, now time.Time) {
	p := func(name, format string, args ...any) {
		fmt.Fprintf(w, "%-12s %s\n", name+":", fmt.Sprintf(format, args...))
	}
	state := r.State
	if r.Failure != "" {
		state += ": the application does not load: " + r.Failure
	}
	p("state", "%s", state)
	if r.Processes > 0 {
		p("requests", "%d of %d (%d * %d threads) run, %d more wait", r.Busy, r.Capacity, r.Processes, r.Threads, r.Queued)
	} else {
		p("requests", "%d of %d run", r.Busy, r.Capacity)
	}
	p("connections", "%d of %d are open, %d more wait", r.Connections, r.ConnectionsLimit, r.Backlog)
	for _, g := range r.Leaving {
		p("leaving", "process %d, which was replaced, completes %d requests", g.PID, g.Busy)
	}
	if r.Certificate != nil {
		writeCertificate(p, r.Certificate, now)
	}
	if s := r.Supervised; s != nil {
		text := fmt.Sprintf("%d requests since %s", s.Requests, Ago(now, s.Since))
		if s.Requests > 0 {
			text += fmt.Sprintf(", %.0f ms each", 1000*s.Seconds/float64(s.Requests))
		}
		for _, class := range []string{"1xx", "2xx", "3xx", "4xx", "5xx", "other"} {
			if n := s.Statuses[class]; n > 0 {
				text += fmt.Sprintf(", %d %s", n, class)
			}
		}
		p("served", "%s", text)
		if m := s.Minute; m.Requests > 0 {
			p("last minute", "%s requests/s, half of them within %s, 90 %% within %s, 99 %% within %s", Rate(float64(m.Requests)/max(m.Length, 1)), Span(m.P50), Span(m.P90), Span(m.P99))
		}
		if len(s.Slowest) > 0 {
			q := s.Slowest[0]
			p("slowest", "%s for %s %s, status %d, %s", Span(q.Seconds), q.Method, q.Path, q.Status, Ago(now, q.Time))
		}
		text = fmt.Sprint(s.Reloads)
		if s.Reloads > 0 {
			text += ", the last one " + Ago(now, s.LastReload)
		}
		if s.Refused > 0 {
			text += fmt.Sprintf("; %d refused", s.Refused)
		}
		if s.LastRefusal != "" {
			first, _, _ := strings.Cut(s.LastRefusal, "\n")
			text += ", the last one: " + first
		}
		p("reloads", "%s", text)
		reasons := []string{}
		for reason, n := range s.EndCounts {
			reasons = append(reasons, fmt.Sprintf("%d %s", n, reason))
		}
		slices.Sort(reasons)
		if len(reasons) == 0 {
			reasons = []string{"none"}
		}
		p("replaced", "%s", strings.Join(reasons, ", "))
		for _, e := range s.Ends[max(0, len(s.Ends)-3):] {
			p("", "process %d, %s: %s", e.PID, Ago(now, e.Time), e.Reason)
		}
	}
	for _, c := range r.Certificates {
		if c.File == "" {
			continue // it has been written above, with more
		}
		p("certificate", "%s", c.Text(now))
	}
	if len(r.Workers) == 0 {
		return
	}
	fmt.Fprintf(w, "%8s  %5s  %9s  %10s  %s\n", "process", "busy", "memory", "CPU", "started")
	for _, q := range r.Workers {
		started := Ago(now, q.Started)
		if r.Supervised != nil && r.Processes > 0 && !q.Loaded {
			started += ", has not loaded the application"
		}
		busy := "?"
		if q.Busy != nil {
			busy = strconv.Itoa(*q.Busy)
		}
		fmt.Fprintf(w, "%8d  %5s  %5d MiB  %8.2f s  %s\n", q.PID, busy, q.Memory>>20, q.CPU, started)
	}
}

// Rate is a number per second, for people.
func Rate(n float64) string {
	if n < 9.95 {
		return fmt.Sprintf("%.1f", n)
	}
	return fmt.Sprintf("%.0f", n)
}

// Span is a duration in seconds, for people.
func Span(seconds float64) string {
	switch {
	case seconds < 0.00995:
		return fmt.Sprintf("%.1f ms", 1000*seconds)
	case seconds < 0.9995:
		return fmt.Sprintf("%.0f ms", 1000*seconds)
	case seconds < 9.995:
		return fmt.Sprintf("%.2f s", seconds)
	case seconds < 600:
		return fmt.Sprintf("%.0f s", seconds)
	}
	return fmt.Sprintf("%.0f min", seconds/60)
}

// Ago is how long ago something was.
func Ago(now, then time.Time) string {
	d := max(0, now.Sub(then))
	switch {
	case d < time.Minute:
		return fmt.Sprintf("%d s ago", int(d.Seconds()))
	case d < time.Hour:
		return fmt.Sprintf("%d min ago", int(d.Minutes()))
	case d < 48*time.Hour:
		return fmt.Sprintf("%d h ago", int(d.Hours()))
	}
	return fmt.Sprintf("%d days ago", int(d.Hours()/24))
}

// Look returns what an instance does at present.
func Look(ctx context.Context, l *instance.Launch) (*Report, error) { return reportOf(ctx, l) }
