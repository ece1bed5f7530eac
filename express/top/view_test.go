package top

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"modwsgi/express/supervise"
)

var (
	bare = Style{}
	rich = Style{Color: true, UTF8: true}
)

// busyServer is the report of a server that has much to do.
func busyServer(now time.Time, workers, slow int) *supervise.Report {
	one := 3
	r := &supervise.Report{
		Running: true, PID: 10, Root: "/srv/root", URL: "http://www.example.com:8000/", State: "ready", Processes: workers, Threads: 5, Capacity: 5 * workers, Busy: 5 * workers,
		Queued: 7, Connections: 31, ConnectionsLimit: 38400, Backlog: 2, Leaving: []supervise.Leaving{{PID: 9, Busy: 1}},
		Certificates: []supervise.Certificate{{Names: []string{"www.example.com", "example.com"}, NotAfter: now.Add(10 * 24 * time.Hour)}},
		Supervised: &supervise.Supervised{
			Since: now.Add(-3 * time.Hour), Reloads: 2, LastReload: now.Add(-time.Hour), Refused: 1, LastRefusal: "no reload: it is broken\nmore",
			Requests: 123456, Statuses: map[string]int{"2xx": 123000, "5xx": 456},
			Minute:    supervise.Latency{Length: 60, Requests: 1200, Failed: 3, P50: 0.0041, P90: 0.25, P99: 1.5},
			Overall:   supervise.Latency{Length: 10800, Requests: 123456, P50: 0.004, P90: 0.02, P99: 0.1},
			EndCounts: map[string]int{"killed": 1, "maximum_requests": 3}, Ends: []supervise.End{{PID: 5, Time: now.Add(-time.Minute), Reason: "killed"}},
		},
	}
	for k := range workers {
		r.Workers = append(r.Workers, supervise.Process{PID: 1000 + k, Loaded: k > 0, Started: now.Add(-time.Hour), Busy: &one, Memory: 48 << 20})
	}
	for k := range slow {
		r.Supervised.Slowest = append(r.Supervised.Slowest, supervise.Slow{Time: now, Method: "GET", Path: fmt.Sprintf("/%d/%s", k, strings.Repeat("long", 60)), Status: 200, Seconds: 2})
	}
	return r
}

// TestEverySize: whatever the size of the terminal and the state, no line is longer than the
// terminal, none has a control character, and there are as many lines as the terminal has.
func TestEverySize(t *testing.T) {
	now := time.Now()
	rate := 12.5
	hostile := busyServer(now, 3, 3)
	hostile.State, hostile.Failure = "failed", "SyntaxError: \x1b]0;x\a\u202e\x9b31m\u4f60\u597d\xff"
	hostile.Certificates[0].Names[0] = "\x1b[2J"
	hostile.Supervised.EndCounts["\x1b[31m"] = 1
	for name, v := range map[string]*View{
		"busy":         {Now: now, Report: busyServer(now, 4, 10), Rate: &rate, CPU: map[int]float64{1000: 0.5}, Recent: []float64{1, 2, 3, 0, 9}},
		"many":         {Now: now, Report: busyServer(now, 300, 10)},
		"hostile":      {Now: now, Report: hostile},
		"embedded":     {Now: now, Report: &supervise.Report{Running: true, URL: "http://x/", State: "ready", Threads: 300, Workers: []supervise.Process{{PID: 1}}}},
		"unsupervised": {Now: now, Report: &supervise.Report{Running: true, URL: "http://x/", State: "running"}},
		"stopped":      {Now: now, Root: "/srv/root", Report: &supervise.Report{}},
		"unknown":      {Now: now, Root: "/srv/" + strings.Repeat("deep/", 60), Err: errors.New("permission denied \x1b[2J")},
	} {
		v.Help = "q: quit"
		for _, style := range []Style{bare, rich, {UTF8: true}, {Color: true}} {
			for _, columns := range []int{20, 39, 40, 60, 80, 132, 200, 500} {
				for _, height := range []int{1, 2, 5, 24, 60} {
					lines := v.Lines(style, columns, height)
					if len(lines) != height {
						t.Fatalf("%s: %d lines of %d", name, len(lines), height)
					}
					for _, l := range lines {
						shown := strip(l)
						if width(shown) > columns || strings.ContainsFunc(shown, func(r rune) bool { return r < ' ' || r >= 0x7f && r < 0xa0 || r == 0x202e || !style.UTF8 && r > '~' }) {
							t.Fatalf("%s, %d columns: %q", name, columns, l)
						}
						if !style.Color && l != shown {
							t.Fatalf("%s: %q has escape sequences", name, l)
						}
					}
				}
			}
		}
	}
}

// strip removes the sequences that set colors.
func strip(l string) string {
	for {
		before, after, found := strings.Cut(l, "\x1b[")
		if !found {
			return l
		}
		_, rest, ends := strings.Cut(after, "m")
		if !ends || strings.Trim(after[:len(after)-len(rest)-1], "0123456789;") != "" {
			return l
		}
		l = before + rest
	}
}

// TestFacts: what a reader looks for is there as text, without colors and on a narrow
// terminal as well.
func TestFacts(t *testing.T) {
	now := time.Now()
	rate := 12.5
	v := &View{Now: now, Report: busyServer(now, 2, 2), Rate: &rate, CPU: map[int]float64{1000: 0.5}}
	for _, columns := range []int{40, 80, 200} {
		text := strings.Join(v.Lines(bare, columns, 0), "\n")
		for _, want := range []string{
			"http://www.example.com:8000/", "ready", "12/s now", "20/s in the last minute", "3 failed", "p50 4.1 ms", "p90 250 ms", "p99 1.50 s", "10 of 10", "7 queued", "all threads are busy",
			"31 of 38400 open", "2 not accepted", "httpd 9 completes 1 requests", "valid for 10 days (", "1 refused", "1 killed", "3 maximum_requests", "456 5xx", "1000", "3/5", "50 %", "48 MiB", "2.00 s  200",
		} {
			if !strings.Contains(text, want) {
				t.Errorf("%d columns: no %q in\n%s", columns, want, text)
			}
		}
	}
}

// TestTablesGiveWay: a small terminal has some rows of every table, and the number of the
// others.
func TestTablesGiveWay(t *testing.T) {
	now := time.Now()
	v := &View{Now: now, Report: busyServer(now, 40, 10), Help: "q: quit"}
	text := strings.Join(v.Lines(bare, 80, 40), "\n")
	for _, want := range []string{"more processes", "GET /0/", "last restarts", "q: quit"} {
		if !strings.Contains(text, want) {
			t.Errorf("no %q in\n%s", want, text)
		}
	}
	if all := strings.Join(v.Lines(bare, 80, 0), "\n"); strings.Contains(all, " more ") || !strings.Contains(all, "1039") {
		t.Errorf("without a height\n%s", all)
	}
}
