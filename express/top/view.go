package top

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"modwsgi/express/supervise"
)

// View is what is shown of an instance at a moment.
type View struct {
	Now    time.Time
	Root   string
	Report *supervise.Report // nil if it is unknown
	Err    error             // why

	Rate   *float64        // requests per second since the moment before; nil if unknown
	CPU    map[int]float64 // share of a processor that a process has had since then
	Recent []float64       // the last rates
	Help   string          // the last line; "" for none
}

const (
	labels   = 10 // columns of the names of facts
	mostBar  = 20 // columns
	leastRow = 3  // rows of a table, if it has so many
)

// Lines returns the lines for a terminal of this size. With height 0 there are as many as
// needed.
func (v *View) Lines(s Style, columns, height int) []string {
	columns = max(columns, 20)
	head := v.head(s, columns)
	var tables []table
	if r := v.Report; r != nil && r.Running {
		tables = []table{v.processes(s, columns), v.slowest(columns), v.ends()}
	}
	fit(tables, height-len(head)-min(len(v.Help), 1))
	for k := range tables {
		head = append(head, tables[k].lines(s)...)
	}
	var out []string
	for _, l := range head {
		out = append(out, s.render(l, columns))
	}
	if height > 0 {
		room := height - min(len(v.Help), 1)
		if len(out) > room {
			out = out[:max(room, 0)]
		}
		if v.Help != "" {
			for len(out) < room {
				out = append(out, "")
			}
			out = append(out, s.render(line{{v.Help, faint}}, columns))
		}
	}
	return out
}

// table is rows with a title. Rows that do not fit are counted.
type table struct {
	title line
	rows  []line
	shown int
	rest  string // what the others are
	empty string // instead of rows
}

// fit decides how many rows of tables are shown in a number of lines; 0 or less is no limit
// if nothing is known about the height.
func fit(tables []table, room int) {
	need := 0
	for k := range tables {
		t := &tables[k]
		t.shown = len(t.rows)
		need += t.height()
	}
	if room <= 0 {
		return
	}
	// The longest table gives way first, until all of them have few rows.
	for need > room {
		longest := -1
		for k := range tables {
			if t := &tables[k]; t.shown > leastRow && (longest < 0 || t.shown > tables[longest].shown) {
				longest = k
			}
		}
		if longest < 0 {
			return
		}
		t := &tables[longest]
		need -= t.height()
		t.shown--
		need += t.height()
	}
}

func (t *table) height() int {
	switch {
	case len(t.rows) == 0 && t.empty == "":
		return 0
	case len(t.rows) == 0:
		return 3
	case t.shown < len(t.rows):
		return t.shown + 3
	}
	return t.shown + 2
}

func (t *table) lines(s Style) []line {
	if t.height() == 0 {
		return nil
	}
	out := []line{{}, t.title}
	if len(t.rows) == 0 {
		return append(out, line{{t.empty, faint}})
	}
	out = append(out, t.rows[:t.shown]...)
	if n := len(t.rows) - t.shown; n > 0 {
		out = append(out, line{{fmt.Sprintf("%s %d more %s", s.more(), n, t.rest), faint}})
	}
	return out
}

// facts are named lists that are wrapped.
type facts struct {
	columns int
	lines   []line
}

func (f *facts) add(name string, items ...piece) {
	now := line{{pad(name, labels), faint}}
	used, first := labels, true
	for _, item := range items {
		if item.text == "" {
			continue
		}
		w := width(item.text)
		if !first && used+2+w > f.columns {
			f.lines = append(f.lines, now)
			now, used, first = line{{pad("", labels), normal}}, labels, true
		}
		if !first {
			now, used = append(now, piece{"  ", normal}), used+2
		}
		now, used, first = append(now, item), used+w, false
	}
	f.lines = append(f.lines, now)
}

func plain(format string, args ...any) piece { return piece{fmt.Sprintf(format, args...), normal} }

// head is everything but the tables.
func (v *View) head(s Style, columns int) []line {
	clock := v.Now.Format(time.TimeOnly)
	title := func(name string, state piece) line {
		l := line{{"mod_wsgi-express ", faint}, {cut(s.clean(name), max(columns-width(state.text)-2, 10)), strong}, {"  ", normal}, state}
		if l.width() > columns {
			l = l[1:]
		}
		if space := columns - l.width() - len(clock); space >= 2 {
			l = append(l, piece{strings.Repeat(" ", space), normal}, piece{clock, faint})
		}
		return l
	}
	r := v.Report
	switch {
	case r == nil:
		return []line{title(v.Root, piece{"unknown", bad}), {}, {{v.Err.Error(), normal}}}
	case !r.Running:
		return []line{title(v.Root, piece{"stopped", bad}), {}, {{"httpd is not running", normal}}}
	}
	state := piece{r.State, map[string]look{"ready": good, "running": good, "failed": bad}[r.State]}
	if state.look == normal {
		state.look = busy
	}
	f := facts{columns: columns, lines: []line{title(r.URL, state)}}
	if r.Failure != "" {
		f.add("failure", piece{r.Failure, bad})
	}
	v.traffic(s, &f)
	v.load(s, &f)
	for _, c := range r.Certificates {
		f.certificate(c, v.Now)
	}
	if sup := r.Supervised; sup != nil {
		f.history(r, v.Now)
	}
	return f.lines
}

// traffic is what has been completed.
func (v *View) traffic(s Style, f *facts) {
	sup := v.Report.Supervised
	if sup == nil {
		f.add("requests", piece{"not counted: the process that supervises httpd does not answer", busy})
		return
	}
	m := sup.Minute
	items := []piece{}
	if v.Rate != nil {
		items = append(items, piece{supervise.Rate(*v.Rate) + "/s now", strong})
	}
	items = append(items, plain("%s/s in the last minute", supervise.Rate(float64(m.Requests)/max(m.Length, 1))))
	if m.Failed > 0 {
		items = append(items, piece{fmt.Sprintf("%d failed (5xx)", m.Failed), bad})
	}
	f.add("requests", items...)
	if len(v.Recent) > 1 && f.columns >= 40 {
		peak := "  peak " + supervise.Rate(slices.Max(v.Recent)) + "/s"
		f.add("", piece{s.curve(v.Recent, min(f.columns-labels-len(peak), mostRecent)), good}, plain("%s", peak[2:]))
	}
	latency := func(name string, l supervise.Latency) {
		if l.Requests == 0 {
			f.add(name, piece{"no requests", faint})
			return
		}
		f.add(name, plain("p50 %s", supervise.Span(l.P50)), plain("p90 %s", supervise.Span(l.P90)), plain("p99 %s", supervise.Span(l.P99)))
	}
	latency("latency", m)
	if sup.Overall.Requests > m.Requests {
		latency("  overall", sup.Overall)
	}
	items = []piece{plain("%d since %s", sup.Requests, supervise.Ago(v.Now, sup.Since))}
	for _, class := range []string{"1xx", "2xx", "3xx", "4xx", "5xx", "other"} {
		if n := sup.Statuses[class]; n > 0 {
			l := normal
			if class == "5xx" {
				l = bad
			}
			items = append(items, piece{fmt.Sprintf("%d %s", n, class), l})
		}
	}
	f.add("served", items...)
}

// load is what runs and waits.
func (v *View) load(s Style, f *facts) {
	r := v.Report
	full := piece{fmt.Sprintf("%d of %d", r.Busy, r.Capacity), normal}
	bar := min(mostBar, f.columns-labels-16)
	items := []piece{full, {s.bar(r.Busy, r.Capacity, bar), busyLook(r.Busy, r.Capacity)}}
	switch {
	case r.Queued > 0:
		items = append(items, piece{fmt.Sprintf("%d queued", r.Queued), bad})
	case r.Processes > 0:
		items = append(items, plain("0 queued"))
	}
	if r.Capacity > 0 && r.Busy >= r.Capacity {
		items = append(items, piece{"all threads are busy", bad})
	}
	f.add("busy", items...)
	items = []piece{plain("%d of %d open", r.Connections, r.ConnectionsLimit)}
	if r.Backlog > 0 {
		items = append(items, piece{fmt.Sprintf("%d not accepted", r.Backlog), bad})
	}
	f.add("clients", items...)
	for _, g := range r.Leaving {
		f.add("leaving", plain("httpd %d completes %d requests", g.PID, g.Busy))
	}
}

func busyLook(n, most int) look {
	switch {
	case n >= most:
		return bad
	case 4*n >= 3*most:
		return busy
	}
	return good
}

func (f *facts) certificate(c supervise.Certificate, now time.Time) {
	l := normal
	switch left := c.Remaining(now); {
	case c.Error != "" || left <= 3*24*time.Hour:
		l = bad
	case left <= 21*24*time.Hour:
		l = busy
	}
	if c.Error != "" {
		f.add("cert", piece{c.Text(now), l})
		return
	}
	names := ""
	if len(c.Names) > 0 {
		names = c.Names[0]
	}
	if len(c.Names) > 1 {
		names += fmt.Sprintf(" +%d", len(c.Names)-1)
	}
	f.add("cert", plain("%s", names), piece{c.Validity(now), l}, piece{c.Warning, bad})
}

// history is what has been replaced.
func (f *facts) history(r *supervise.Report, now time.Time) {
	sup := r.Supervised
	items := []piece{plain("%d", sup.Reloads)}
	if sup.Reloads > 0 {
		items = append(items, plain("last %s", supervise.Ago(now, sup.LastReload)))
	}
	if sup.Refused > 0 {
		items = append(items, piece{fmt.Sprintf("%d refused", sup.Refused), bad})
	}
	if sup.LastRefusal != "" {
		first, _, _ := strings.Cut(sup.LastRefusal, "\n")
		items = append(items, piece{"last: " + first, bad})
	}
	f.add("reloads", items...)
	items = nil
	for _, reason := range slices.Sorted(maps.Keys(sup.EndCounts)) {
		items = append(items, piece{fmt.Sprintf("%d %s", sup.EndCounts[reason], reason), endLook(reason)})
	}
	if len(items) == 0 {
		items = []piece{plain("none")}
	}
	f.add("restarts", items...)
}

func endLook(reason string) look {
	switch reason {
	case "killed", "deadlock_timeout", "startup_timeout", "request_timeout":
		return bad
	}
	return normal
}

// processes is the table of the application's processes.
func (v *View) processes(s Style, columns int) table {
	r := v.Report
	t := table{rest: "processes", empty: "no process has started yet", title: line{{" process  busy", strong}}}
	bar := min(r.Threads, 10)
	digits := len(strconv.Itoa(r.Threads))
	cell := 2*digits + 1
	wide := columns >= 60
	if r.Processes == 0 { // nobody knows it for each process
		bar, cell = 0, 4
	}
	gap := max(cell-4, 0)
	if wide && bar > 0 {
		gap = max(cell+2+bar-4, 0)
	}
	t.title[0].text += strings.Repeat(" ", gap) + "   CPU    memory  started"
	for _, p := range r.Workers {
		text := pad("?", -cell)
		if p.Busy != nil {
			text = pad(fmt.Sprintf("%d/%d", *p.Busy, r.Threads), -cell)
		}
		l := line{{fmt.Sprintf("%8d  ", p.PID), normal}, {pad(text, max(cell, 4)), normal}}
		if wide && bar > 0 {
			shown, look := pad("", bar), normal
			if p.Busy != nil {
				shown, look = s.bar(*p.Busy, r.Threads, bar), busyLook(*p.Busy, r.Threads)
			}
			l = append(l, piece{"  ", normal}, piece{shown, look})
			if w := max(cell, 4) + 2 + bar; w < gap+4 {
				l = append(l, piece{strings.Repeat(" ", gap+4-w), normal})
			}
		}
		cpu := "    ?"
		if share, ok := v.CPU[p.PID]; ok {
			cpu = fmt.Sprintf("%3.0f %%", 100*share)
		}
		started := supervise.Ago(v.Now, p.Started)
		if !wide {
			started = strings.TrimSuffix(started, " ago")
		}
		l = append(l, plain(" %s %5d MiB  %s", cpu, p.Memory>>20, started))
		if r.Supervised != nil && r.Processes > 0 && !p.Loaded {
			l = append(l, piece{", has not loaded the application", busy})
		}
		t.rows = append(t.rows, l)
	}
	return t
}

// slowest is the table of the slowest requests.
func (v *View) slowest(columns int) table {
	t := table{rest: "requests", title: line{{"slowest requests of the last 5 minutes", strong}}}
	if v.Report.Supervised == nil {
		return t
	}
	t.empty = "none"
	for _, q := range v.Report.Supervised.Slowest {
		l := normal
		if q.Status >= 500 {
			l = bad
		}
		row := line{{pad(supervise.Span(q.Seconds), -7), normal}, {fmt.Sprintf("  %3d  ", q.Status), l}}
		if columns >= 60 {
			row = append(row, piece{pad(supervise.Ago(v.Now, q.Time), 10) + "  ", faint})
		}
		t.rows = append(t.rows, append(row, plain("%s %s", q.Method, q.Path)))
	}
	return t
}

// ends is the table of the last processes that were replaced.
func (v *View) ends() table {
	t := table{rest: "processes", title: line{{"last restarts", strong}}}
	if v.Report.Supervised == nil {
		return t
	}
	ends := slices.Clone(v.Report.Supervised.Ends)
	slices.Reverse(ends)
	for _, e := range ends {
		t.rows = append(t.rows, line{{fmt.Sprintf("%8d  ", e.PID), normal}, {pad(supervise.Ago(v.Now, e.Time), 10) + "  ", faint}, {e.Reason, endLook(e.Reason)}})
	}
	return t
}
