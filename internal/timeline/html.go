package timeline

import (
	_ "embed"
	"fmt"
	"html/template"
	"io"
	"slices"
	"sort"
	"time"
)

//go:embed page.html
var pageText string

var page = template.Must(template.New("page").Parse(pageText))

// Sizes of the drawing in CSS pixels. The width is that of the whole time axis, of which
// the page shows a part that the reader selects.
const (
	rowHeight  = 22
	barHeight  = 18
	axisHeight = 26
	axisWidth  = 1000.0
)

type bar struct {
	X, W          float64
	Y, Bottom     int
	Height        int
	Kind          string
	Label, Tip    string
	Critical      bool
	Cached, Faild bool
}

type tick struct {
	X    float64
	Text string
}

type row struct {
	Name, Start, Wall, CPU, Note string
	Share                        float64 // of the total, percent
}

type view struct {
	Title            string
	Facts            []Fact
	Bars             []bar
	Ticks            []tick
	Height, LanesTop int // of the drawing; left edge of the lanes
	Full             int // including the axis above and a margin
	Steps, Longest   []row
	Critical         []row
	Kinds            []Kind
}

// HTML writes a self-contained page: it needs no network and no other scripts, and
// supports light and dark mode.
func (r *Report) HTML(w io.Writer) error { return page.Execute(w, r.view()) }

func (r *Report) view() *view {
	t := r.Totals()
	v := &view{Title: r.Title}
	v.Facts = append(r.summary(t), r.Facts...)
	steps := stepRows(r.Spans)
	stepCount := 0
	for _, row := range steps {
		stepCount = max(stepCount, row+1)
	}
	v.LanesTop = stepCount*rowHeight + 14
	v.Height = v.LanesTop + t.LaneCount*rowHeight
	v.Full = v.Height + axisHeight
	critical := r.Critical()
	for i, s := range r.Spans {
		b := r.bar(s)
		b.Critical = slices.Contains(critical, i)
		b.Y = v.LanesTop + s.Lane*rowHeight
		if s.Lane < 0 {
			b.Y = steps[i] * rowHeight
		}
		b.Bottom = b.Y + barHeight
		v.Bars = append(v.Bars, b)
		if !slices.Contains(v.Kinds, s.Kind) {
			v.Kinds = append(v.Kinds, s.Kind)
		}
	}
	v.Ticks = r.ticks()
	r.tables(v, critical)
	return v
}

// scale returns the position of a time on the axis.
func (r *Report) scale(d time.Duration) float64 {
	if r.Total <= 0 {
		return 0
	}
	return float64(d) / float64(r.Total) * axisWidth
}

func (r *Report) bar(s Span) bar {
	b := bar{
		X: r.scale(s.Start), W: max(0.4, r.scale(s.End-s.Start)), Height: barHeight, Kind: string(s.Kind), Label: s.Name,
		Cached: s.Cached, Faild: s.Failed,
	}
	b.Tip = fmt.Sprintf("%s\n%s to %s: %s", s.Name, seconds(s.Start), seconds(s.End), seconds(s.End-s.Start))
	if s.Step != "" && s.Step != s.Name {
		b.Tip += "\nstep: " + s.Step
	}
	if s.CPU > 0 {
		b.Tip += "\nprocessor: " + seconds(s.CPU)
	}
	if s.MaxRSS > 0 {
		b.Tip += "\nmemory: " + mebibytes(s.MaxRSS)
	}
	if s.Cached {
		b.Tip += "\nfrom the cache"
	}
	if s.Failed {
		b.Tip += "\nfailed"
	}
	return b
}

func (r *Report) summary(t Totals) []Fact {
	facts := []Fact{
		{"Total", seconds(r.Total)},
		{"Processors", fmt.Sprintf("%d, busy %.0f %% of the time", r.Cores, 100*t.Busy)},
		{"Processor time", seconds(t.CPU)},
	}
	if t.Objects > 0 {
		facts = append(facts,
			Fact{"Compiled", fmt.Sprintf("%d objects, %s of processor time", t.Objects, seconds(t.CompileCPU))},
			Fact{"Floor", fmt.Sprintf("%s: the compilers' time over the processors", seconds(t.Floor))},
			Fact{"Gap", fmt.Sprintf("%.2f × the floor", t.Ratio)})
	}
	facts = append(facts, Fact{"Cache hits", fmt.Sprint(t.Cached)})
	if t.MaxRSS > 0 {
		facts = append(facts, Fact{"Largest process", mebibytes(t.MaxRSS) + " (" + t.MaxRSSName + ")"})
	}
	return facts
}

// ticks returns about ten round times.
func (r *Report) ticks() []tick {
	if r.Total <= 0 {
		return nil
	}
	unit := time.Millisecond
	for r.Total/unit > 12 {
		switch {
		case r.Total/(2*unit) <= 12:
			unit *= 2
		case r.Total/(5*unit) <= 12:
			unit *= 5
		default:
			unit *= 10
		}
	}
	var out []tick
	for at := time.Duration(0); at <= r.Total; at += unit {
		out = append(out, tick{r.scale(at), at.String()})
	}
	return out
}

// longest is the number of spans that the page lists.
const longest = 15

func (r *Report) tables(v *view, critical []int) {
	percent := func(d time.Duration) float64 { return 100 * float64(d) / float64(max(1, r.Total)) }
	line := func(s Span) row {
		out := row{Name: s.Name, Start: seconds(s.Start), Wall: seconds(s.End - s.Start), Share: percent(s.End - s.Start), CPU: seconds(s.CPU), Note: s.Step}
		if s.Cached {
			out.Note += " (cache)"
		}
		if s.Failed {
			out.Note += " (failed)"
		}
		return out
	}
	inStep := map[string]time.Duration{}
	var pieces []Span
	for _, s := range r.Spans {
		if s.Lane >= 0 {
			inStep[s.Step] += s.CPU
			pieces = append(pieces, s)
		}
	}
	for _, s := range r.Spans {
		if s.Lane < 0 {
			s.CPU = max(s.CPU, inStep[s.Name])
			v.Steps = append(v.Steps, line(s))
		}
	}
	sort.SliceStable(pieces, func(i, j int) bool { return pieces[j].End-pieces[j].Start < pieces[i].End-pieces[i].Start })
	for _, s := range pieces[:min(longest, len(pieces))] {
		v.Longest = append(v.Longest, line(s))
	}
	for _, i := range critical {
		v.Critical = append(v.Critical, line(r.Spans[i]))
	}
}

func seconds(d time.Duration) string {
	if d < time.Second {
		return fmt.Sprintf("%d ms", d.Round(time.Millisecond).Milliseconds())
	}
	return fmt.Sprintf("%.1f s", d.Seconds())
}

func mebibytes(n int64) string { return fmt.Sprintf("%d MiB", n>>20) }
