//go:build linux

package main

import (
	"fmt"
	"math"
	"os"
	"slices"
	"strings"
	"testing"
	"time"
)

func TestParseWrk(t *testing.T) {
	l, err := parseWrk("Running 1s test\nfigures 3000 1500000 connect=0 read=2 write=0 status=1 timeout=0 4100 12500\n")
	if err != nil || l.requests != 3000 || l.seconds != 1.5 || l.errors != 3 || l.detail != "read=2 status=1" || l.p50 != 4.1 || l.p99 != 12.5 {
		t.Error(l, err)
	}
	if l, err := parseWrk("unable to connect to 127.0.0.1:1 Connection refused\n"); err == nil {
		t.Error("figures without a report:", l)
	}
}

func TestParseH2load(t *testing.T) {
	const good = `Application protocol: h2

finished in 2.00s, 2.00 req/s, 1.00KB/s
requests: 4 total, 4 started, 4 done, 4 succeeded, 0 failed, 0 errored, 0 timeout
status codes: 4 2xx, 0 3xx, 0 4xx, 0 5xx
`
	const log = "1\t200\t1000\n2\t200\t9000\n3\t200\t2000\n4\t200\t3000\n"
	l, err := parseH2load(good, strings.NewReader(log))
	if err != nil || l.requests != 4 || l.errors != 0 || l.detail != "" || l.seconds != 2 || l.p50 != 3 || l.p99 != 9 {
		t.Error(l, err)
	}
	bad := strings.NewReplacer("4 succeeded, 0 failed", "3 succeeded, 1 failed", "4 2xx, 0 3xx, 0 4xx, 0 5xx", "3 2xx, 0 3xx, 0 4xx, 1 5xx").Replace(good)
	if l, err = parseH2load(bad, strings.NewReader(log)); err != nil || l.errors != 1 {
		t.Error("a failed request is not counted once:", l, err)
	}
	for what, text := range map[string]string{
		"HTTP/1.1":     strings.Replace(good, "protocol: h2", "protocol: http/1.1", 1),
		"nothing":      "",
		"no 2xx":       strings.Replace(good, "4 2xx", "", 1),
		"no h2 at all": strings.Replace(good, "Application protocol: h2", "", 1),
	} {
		if l, err := parseH2load(text, strings.NewReader(log)); err == nil {
			t.Error(what, "is accepted:", l)
		}
	}
}

func TestParseStat(t *testing.T) {
	s, ok := parseStat([]byte("7 (a) b) S 3 7 5 0 -1 4 1 2 3 4 10 20 30 40 20 0 1 0 99 1 1"))
	if !ok || s.parent != 3 || s.session != 5 || s.ticks != 100 {
		t.Error(s, ok)
	}
	if _, ok := parseStat([]byte("7 (a")); ok {
		t.Error("half a line is accepted")
	}
}

// TestGroup: the processor time and memory of a child's child are counted, and stop ends
// all of them, also one that left the session and ignores TERM.
func TestGroup(t *testing.T) {
	g := &group{id: "test-of-group"}
	const script = `setsid sh -c 'trap "" TERM; i=0; while [ $i -lt 400000 ]; do i=$((i+1)); done; sleep 60 & wait' & wait`
	if err := g.start(t.TempDir(), t.TempDir()+"/log", os.Environ(), nil, []string{"sh", "-c", script}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = g.stop() })
	for end := time.Now().Add(30 * time.Second); g.cpu() < 50*time.Millisecond; time.Sleep(20 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("the work of a grandchild is not counted:", g.cpu())
		}
	}
	kb, n := g.memory()
	if kb < 100 || n < 2 {
		t.Errorf("%d KB in %d processes", kb, n)
	}
	var all []int
	for pid := range tree(g.roots, g.id) {
		all = append(all, pid)
	}
	if err := g.stop(); err != nil {
		t.Error(err)
	}
	for _, pid := range all {
		// Without its parent it may wait for process 1 to collect its status.
		if data, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid)); err == nil && !strings.Contains(string(data), ") Z ") {
			t.Error("runs after the stop:", pid)
		}
	}
}

func TestRatios(t *testing.T) {
	r := &result{}
	add := func(server string, round int, perSecond float64, invalid string, errors int64) {
		r.Cells = append(r.Cells, figures{Row: "hello", Server: server, Round: round, PerSecond: perSecond, CPU: 1, Invalid: invalid, Requests: 1000, Errors: errors})
	}
	// The machine halves its speed in the second round, which no ratio shows.
	for round, speed := range []float64{1, 0.5, 0.9} {
		add(upstream, round, 100*speed, "", 0)
		add(ours, round, []float64{200, 210, 220}[round]*speed, "", 0)
	}
	add("gunicorn", 0, 100, "", 0)
	add("gunicorn", 1, 0, "no answer", 0)
	r.summarise(rows, servers)
	if len(r.Rows) != 1 || r.Base != upstream || r.invalid() != 1 {
		t.Fatal(r.Rows, r.Base, r.invalid())
	}
	for _, l := range r.Rows[0].Servers {
		v := l.Values["requests_per_second"]
		near := func(a, b float64) bool { return math.Abs(a-b) < 1e-9 }
		switch l.Server {
		case ours:
			if !near(v.Ratio, 2.1) || !near(v.Least, 2) || !near(v.Most, 2.2) || !near(v.Median, 198) {
				t.Error(v)
			}
		case "gunicorn":
			if l.Invalid != "no answer" || len(l.Values) != 0 || !slices.Contains(l.cells(), "invalid: no answer") {
				t.Error("a server with an invalid round has figures:", l)
			}
		}
	}
	// Errors make the base invalid, and leave the ratios of the others until they are
	// frequent.
	for few, errors := range map[bool]int64{true: 30, false: 300} {
		r = &result{}
		add(upstream, 0, 100, "3 errors", errors)
		add(ours, 0, 150, "", 0)
		r.summarise(rows, servers)
		for _, l := range r.Rows[0].Servers {
			if has := l.Values["requests_per_second"].Ratio != 0; has != few || (l.Server == upstream) != (l.Invalid != "") {
				t.Errorf("%d errors: %+v", errors, l)
			}
		}
	}
}

func TestPage(t *testing.T) {
	r := &result{Commands: map[string][]string{ours: {"mod_wsgi-express start-server"}}, Options: map[string]any{"rounds": 1}}
	r.Cells = []figures{{Row: "hello", Server: ours, PerSecond: 10, Invalid: "a|b"}}
	r.summarise(rows, servers)
	text, err := replaced("before\n"+begin+"old\n"+end+"after\n", r.markdown())
	if err != nil || !strings.HasPrefix(text, "before\n"+begin) || !strings.HasSuffix(text, end+"after\n") || strings.Contains(text, "old") || !strings.Contains(text, `a\|b`) {
		t.Error(text, err)
	}
	again, err := replaced(text, r.markdown())
	if err != nil || again != text {
		t.Error("a second time it differs:", again, err)
	}
	for _, wrong := range []string{"", begin, end + begin} {
		if _, err := replaced(wrong, ""); err == nil {
			t.Errorf("%q is accepted", wrong)
		}
	}
	real, err := os.ReadFile("../../../" + page)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := replaced(string(real), ""); err != nil {
		t.Error(err)
	}
}

func TestCores(t *testing.T) {
	if got := strings.Join(cores("0-2,5"), " "); got != "0 1 2 5" {
		t.Error(got)
	}
	if got := cores("x"); got != nil {
		t.Error(got)
	}
	o := &options{pin: true}
	o.choosePins()
	if o.loadCores != "" {
		if slices.Contains(strings.Split(o.serverCores, ","), o.loadCores) {
			t.Error("the load generator shares a core with the servers:", o.pins())
		}
	} else if o.reason == "" {
		t.Error("not pinned without a reason")
	}
}

func TestChoose(t *testing.T) {
	name := func(s server) string { return s.name }
	got, err := choose(servers, "gunicorn,ours", "server", name)
	if err != nil || len(got) != 2 || got[0].name != ours || got[1].name != "gunicorn" {
		t.Error(got, err)
	}
	if _, err := choose(servers, "gunicron", "server", name); err == nil || !strings.Contains(err.Error(), "waitress") {
		t.Error(err)
	}
}
