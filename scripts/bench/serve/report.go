//go:build linux

package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"text/tabwriter"
	"time"
)

const (
	page  = "docs/performance.md"
	begin = "<!-- written by scripts/bench/serve -write -->\n"
	end   = "<!-- end -->\n"
)

// result is all that a run has shown.
type result struct {
	Began    time.Time
	Machine  string
	Pinned   string
	Versions map[string]string
	Options  map[string]any
	Commands map[string][]string
	Omitted  []omission
	Base     string // the server that ratios are to
	Rows     []summary
	Cells    []figures
}

// summary is a row of the result.
type summary struct {
	Row, About string
	Servers    []line
}

// line is a server in a row.
type line struct {
	Server  string
	Invalid string `json:",omitempty"`
	Values  map[string]spread
}

// spread is the median over the rounds, and the median and range of the ratios per
// round.
type spread struct {
	Median             float64
	Ratio, Least, Most float64 `json:",omitempty"`
}

// metric is a figure of a measurement.
type metric struct {
	name, head string
	of         func(figures) float64
	format     string
}

var metrics = []metric{
	{"requests_per_second", "requests/s", func(f figures) float64 { return f.PerSecond }, "%.0f"},
	{"p50_ms", "p50, ms", func(f figures) float64 { return f.P50 }, "%.2f"},
	{"p99_ms", "p99, ms", func(f figures) float64 { return f.P99 }, "%.2f"},
	{"cpu_ms_per_request", "CPU per request, ms", func(f figures) float64 { return f.CPU }, "%.3f"},
	{"memory_mb", "memory, MB", func(f figures) float64 { return f.Memory }, "%.0f"},
	{"first_answer_ms", "first answer, ms", func(f figures) float64 { return f.Start }, "%.0f"},
}

func median(values []float64) float64 {
	v := slices.Sorted(slices.Values(values))
	n := len(v)
	switch {
	case n == 0:
		return 0
	case n%2 == 1:
		return v[n/2]
	}
	return (v[n/2-1] + v[n/2]) / 2
}

// summarise computes the rows from the measurements. Ratios are per round: both figures
// come from neighbouring minutes.
func (r *result) summarise(rows []row, servers []server) {
	r.Base = ours
	if slices.ContainsFunc(r.Cells, func(f figures) bool { return f.Server == upstream }) {
		r.Base = upstream
	}
	for _, one := range rows {
		sum := summary{Row: one.name, About: one.about}
		base := map[int]figures{}
		for _, f := range r.Cells {
			if f.Row == one.name && f.Server == r.Base && f.measures() {
				base[f.Round] = f
			}
		}
		for _, s := range servers {
			l := line{Server: s.name, Values: map[string]spread{}}
			var mine []figures
			for _, f := range r.Cells {
				if f.Row == one.name && f.Server == s.name {
					mine = append(mine, f)
					if l.Invalid == "" {
						l.Invalid = f.Invalid
					}
				}
			}
			if len(mine) == 0 {
				continue
			}
			if l.Invalid == "" || s.name == r.Base && len(base) > 0 {
				for _, m := range metrics {
					l.Values[m.name] = compare(m, mine, base)
				}
			}
			sum.Servers = append(sum.Servers, l)
		}
		if len(sum.Servers) > 0 {
			r.Rows = append(r.Rows, sum)
		}
	}
}

// measures reports whether ratios may refer to a measurement. One that is invalid only
// because of errors in fewer than a quarter of the requests still measures the speed:
// without it, the whole row would have no ratio.
func (f figures) measures() bool {
	return f.Invalid == "" || f.PerSecond > 0 && f.Errors*4 < f.Requests
}

func compare(m metric, mine []figures, base map[int]figures) (s spread) {
	var values, ratios []float64
	for _, f := range mine {
		values = append(values, m.of(f))
		if b, there := base[f.Round]; there && m.of(b) != 0 {
			ratios = append(ratios, m.of(f)/m.of(b))
		}
	}
	s.Median = median(values)
	if len(ratios) > 0 {
		s.Ratio, s.Least, s.Most = median(ratios), slices.Min(ratios), slices.Max(ratios)
	}
	return s
}

func (s spread) show(m metric) string {
	text := fmt.Sprintf(m.format, s.Median)
	if s.Ratio == 0 {
		return text
	}
	return fmt.Sprintf("%.2f (%.2f–%.2f), %s", s.Ratio, s.Least, s.Most, text)
}

func (r *result) invalid() (n int) {
	for _, f := range r.Cells {
		if f.Invalid != "" {
			n++
		}
	}
	return n
}

// heads are the columns of a table of a row.
func heads() []string {
	all := []string{"server"}
	for _, m := range metrics {
		all = append(all, m.head)
	}
	return append(all, "result")
}

func (l line) cells() []string {
	all := []string{l.Server}
	for _, m := range metrics {
		if v, there := l.Values[m.name]; there {
			all = append(all, v.show(m))
		} else {
			all = append(all, "–")
		}
	}
	if l.Invalid != "" {
		all = append(all, "invalid: "+strings.Join(strings.Fields(l.Invalid), " "))
	} else {
		all = append(all, "valid")
	}
	return all
}

// text is the result for a terminal.
func (r *result) text() string {
	b := new(strings.Builder)
	fmt.Fprintf(b, "%s\n%s\nratio to %s: median (range) of the rounds, then the median itself\n", r.Machine, r.Pinned, r.Base)
	for _, row := range r.Rows {
		fmt.Fprintf(b, "\n%s: %s\n", row.Row, row.About)
		t := tabwriter.NewWriter(b, 2, 0, 2, ' ', 0)
		fmt.Fprintln(t, strings.Join(heads(), "\t"))
		for _, l := range row.Servers {
			fmt.Fprintln(t, strings.Join(l.cells(), "\t"))
		}
		_ = t.Flush()
	}
	for _, o := range r.Omitted {
		fmt.Fprintf(b, "left out: %s\n", o)
	}
	return b.String()
}

func (o omission) String() string {
	return strings.TrimSpace(o.Row+" "+o.Server) + ": " + o.Reason
}

func (r *result) writeJSON(name string) error {
	data, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		return err
	}
	return os.WriteFile(name, append(data, '\n'), 0o644)
}

// markdown is the result for the page.
func (r *result) markdown() string {
	b := new(strings.Builder)
	var versions []string
	for _, name := range slices.Sorted(maps.Keys(r.Versions)) {
		versions = append(versions, name+" "+r.Versions[name])
	}
	o := r.Options
	fmt.Fprintf(b, "\nMeasured on %s: %s. %s.\n\nVersions: %s.\n\n", r.Began.Format(time.DateOnly), r.Machine, capital(r.Pinned), strings.Join(versions, ", "))
	fmt.Fprintf(b, "%v rounds of %v s, %v connections, %v × %v threads. Each cell has the ratio to `%s`, its range over the rounds, and the median.\n",
		o["rounds"], o["seconds"], o["connections"], o["processes"], o["threads"], r.Base)
	for _, row := range r.Rows {
		fmt.Fprintf(b, "\n### %s\n\n%s.\n\n| %s |\n|%s\n", row.Row, capital(row.About), strings.Join(heads(), " | "), strings.Repeat(" --- |", len(heads())))
		for _, l := range row.Servers {
			cells := l.cells()
			cells[0] = "`" + cells[0] + "`"
			fmt.Fprintf(b, "| %s |\n", strings.ReplaceAll(strings.Join(cells, " \x00 "), "|", "\\|"))
		}
	}
	if len(r.Omitted) > 0 {
		b.WriteString("\n### Left out\n\n")
		for _, o := range r.Omitted {
			fmt.Fprintf(b, "- %s\n", o)
		}
	}
	b.WriteString("\n### Commands\n\n```text\n")
	for _, s := range servers {
		for _, c := range r.Commands[s.name] {
			fmt.Fprintf(b, "%s: %s\n", s.name, c)
		}
	}
	b.WriteString("```\n\n")
	return strings.ReplaceAll(b.String(), "\x00", "|")
}

func capital(s string) string {
	if s == "" {
		return s
	}
	return strings.ToUpper(s[:1]) + s[1:]
}

// replaced is a page with another result between its marks.
func replaced(text, result string) (string, error) {
	before, rest, ok := strings.Cut(text, begin)
	_, after, ok2 := strings.Cut(rest, end)
	if !ok || !ok2 {
		return "", errors.New("the page has no " + strings.TrimSpace(begin) + " followed by " + strings.TrimSpace(end))
	}
	return before + begin + result + end + after, nil
}

func (r *result) writePage() error {
	old, err := os.ReadFile(page)
	if err != nil {
		return fmt.Errorf("run this in the top directory of the source: %w", err)
	}
	text, err := replaced(string(old), r.markdown())
	if err != nil {
		return fmt.Errorf("%s: %w", page, err)
	}
	return os.WriteFile(page, []byte(text), 0o644)
}
