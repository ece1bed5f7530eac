package timeline

import (
	"bytes"
	"encoding/json"
	"encoding/xml"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

const ms = time.Millisecond

// sample is a build on two processors: unpack, configure while a library is compiled,
// then two objects, and a link that needs both.
func sample() *Report {
	return &Report{Title: "httpd <2.4.68> & mod_wsgi", Cores: 2, Total: 1000 * ms, Facts: []Fact{{"Python", `/srv/"app"/.venv`}}, Spans: []Span{
		{Kind: Step, Name: "unpack", Step: "unpack", Start: 0, End: 100 * ms, Lane: -1},
		{Kind: Unpack, Name: "httpd.tar", Step: "unpack", Start: 0, End: 100 * ms, Lane: 0},
		{Kind: Configure, Name: "configure httpd", Step: "configure", Start: 100 * ms, End: 400 * ms, Lane: 0, Needs: []string{"unpack"}, CPU: 290 * ms},
		{Kind: Compile, Name: "pcre2.c", Step: "compile pcre2", Start: 100 * ms, End: 300 * ms, Lane: 1, CPU: 200 * ms, MaxRSS: 90 << 20},
		{Kind: Compile, Name: "core.c", Step: "compile", Start: 401 * ms, End: 900 * ms, Lane: 1, Needs: []string{"configure httpd"}, CPU: 480 * ms},
		{Kind: Compile, Name: "main.c", Step: "compile", Start: 401 * ms, End: 600 * ms, Lane: 0, Needs: []string{"configure httpd"}, CPU: 190 * ms},
		{Kind: Cache, Name: "module", Step: "module", Start: 600 * ms, End: 610 * ms, Lane: 0, Cached: true},
		{Kind: Link, Name: "httpd", Step: "link", Start: 900 * ms, End: 1000 * ms, Lane: 0, Needs: []string{"core.c", "main.c"}, CPU: 90 * ms},
	}}
}

func TestCriticalPathFollowsNeedsAndLanes(t *testing.T) {
	r := sample()
	var names []string
	for _, i := range r.Critical() {
		names = append(names, r.Spans[i].Name)
	}
	if want := []string{"httpd.tar", "configure httpd", "core.c", "httpd"}; !slices.Equal(names, want) {
		t.Errorf("got %v, want %v", names, want)
	}
	// A span without dependencies waited for the previous one on its lane.
	r.Spans[7].Needs = nil
	r.Spans[7].Start = 620 * ms
	r.Spans[7].End = 1100 * ms
	path := r.Critical()
	if got := r.Spans[path[len(path)-2]].Name; got != "module" {
		t.Errorf("the link waited for %q, want the previous span on its lane", got)
	}
}

func TestTotals(t *testing.T) {
	got := sample().Totals()
	if got.Objects != 3 || got.Cached != 1 || got.LaneCount != 2 || got.CompileCPU != 870*ms || got.Floor != 435*ms || got.CPU != 1250*ms {
		t.Errorf("got %+v", got)
	}
	if got.Ratio < 2.29 || got.Ratio > 2.31 || got.Busy < 0.70 || got.Busy > 0.71 || got.MaxRSSName != "pcre2.c" {
		t.Errorf("got %+v", got)
	}
	if empty := (&Report{}).Totals(); empty.Ratio != 0 || empty.Busy != 0 {
		t.Errorf("an empty report: %+v", empty)
	}
}

func TestTraceFormat(t *testing.T) {
	data, err := sample().Encode("out/Trace.JSON")
	if err != nil {
		t.Fatal(err)
	}
	var trace struct {
		TraceEvents []struct {
			Name, Ph string
			Ts, Dur  int64
			Pid, Tid int
			Args     map[string]any
		}
	}
	if err := json.Unmarshal(data, &trace); err != nil {
		t.Fatal(err)
	}
	found := 0
	for _, e := range trace.TraceEvents {
		switch {
		case e.Ph == "X" && e.Name == "core.c":
			found++
			if e.Ts != 401000 || e.Dur != 499000 || e.Pid != 1 || e.Tid != 1 || e.Args["critical"] != true || e.Args["cpu_ms"] != 480.0 {
				t.Errorf("core.c: %+v", e)
			}
		case e.Ph == "X" && e.Name == "unpack" && e.Pid != 2:
			t.Errorf("the step is among the lanes: %+v", e)
		case e.Ph != "X" && e.Ph != "M":
			t.Errorf("phase %q", e.Ph)
		}
	}
	if found != 1 {
		t.Errorf("core.c occurs %d times", found)
	}
}

func TestPageIsEscapedAndSelfContained(t *testing.T) {
	data, err := sample().Encode("timings.html")
	if err != nil {
		t.Fatal(err)
	}
	page := string(data)
	for _, want := range []string{
		"httpd &lt;2.4.68&gt; &amp; mod_wsgi", "/srv/&#34;app&#34;/.venv", "2.30 × the floor", "3 objects, 870 ms",
		`class="compile critical" x=`, `class="cache cached"`, "from the cache", "90 MiB (pcre2.c)",
	} {
		if !strings.Contains(page, want) {
			t.Errorf("the page lacks %q", want)
		}
	}
	for _, not := range []string{"src=", "href=", "@import", "url(", "fetch("} {
		if strings.Contains(page, not) {
			t.Errorf("the page asks for something else: %q", not)
		}
	}
	svg := page[strings.Index(page, `<svg id="chart"`):]
	svg = svg[:strings.Index(svg, "</svg>")+6]
	if err := xml.NewDecoder(strings.NewReader(svg)).Decode(new(struct{})); err != nil {
		t.Errorf("the drawing is no XML: %v", err)
	}
	if n := strings.Count(svg, "<rect"); n != len(sample().Spans) {
		t.Errorf("%d bars for %d spans", n, len(sample().Spans))
	}
}

func TestEmptyReport(t *testing.T) {
	for _, name := range []string{"a.html", "a.json", "noextension"} {
		if data, err := New().Report("nothing", 0).Encode(name); err != nil || len(data) == 0 {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestRecorderGivesLanes(t *testing.T) {
	r := New()
	step := r.Begin(Step, "compile", "compile")
	one := r.Begin(Compile, "compile", "a.c")
	two := r.Begin(Compile, "compile", "b.c", "a.c")
	one(nil)
	three := r.Begin(Compile, "compile", "c.c")
	three(func(s *Span) { s.CPU = time.Second; s.Cached = true })
	two(nil)
	step(nil)
	lanes := map[string]int{}
	for _, s := range r.Spans() {
		lanes[s.Name] = s.Lane
		if s.End < s.Start {
			t.Errorf("%+v ends before it starts", s)
		}
		if s.Name == "c.c" && (s.CPU != time.Second || !s.Cached) {
			t.Errorf("%+v was not filled in", s)
		}
	}
	if lanes["compile"] != -1 || lanes["a.c"] != 0 || lanes["b.c"] != 1 || lanes["c.c"] != 0 {
		t.Errorf("lanes %v", lanes)
	}
	var none *Recorder
	none.Begin(Compile, "", "")(nil)
	if none.Spans() != nil {
		t.Error("a nil recorder has spans")
	}
}

func TestRecorderIsSafeForConcurrentUse(t *testing.T) {
	r := New()
	var wg sync.WaitGroup
	for range 50 {
		wg.Go(func() { r.Begin(Compile, "s", "x")(nil) })
	}
	wg.Wait()
	if n := len(r.Spans()); n != 50 {
		t.Errorf("%d spans", n)
	}
	var b bytes.Buffer
	if err := r.Report("t", 2).HTML(&b); err != nil {
		t.Error(err)
	}
}
