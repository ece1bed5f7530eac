package cli

import (
	"bytes"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"modwsgi/detect"
	"modwsgi/installer"
	"modwsgi/internal/event"
	"modwsgi/internal/fault"
	"modwsgi/internal/prove"
	"modwsgi/internal/run"
	"modwsgi/internal/steps"
)

var update = flag.Bool("update", false, "write the golden files")

func golden(t *testing.T, name string, got []byte) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(path, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Errorf("%s differs (go test ./internal/cli -update writes it):\n--- got\n%s\n--- want\n%s", name, got, want)
	}
}

// clock advances by a second each time it is read.
func clock() func() time.Time {
	now := time.Unix(0, 0)
	return func() time.Time { now = now.Add(time.Second); return now }
}

const log = "checking for gcc... \x1b[31mno\x1b[0m\n::set-output name=token::stolen\n  ::add-mask::x\n##[add-path]/evil\nbell\a and \rreturn\n"

// recorded is the output of an install with every kind of event.
func recorded(logPath string) []event.Event {
	return []event.Event{
		{Kind: event.Note, Text: "build httpd: none found"},
		{Kind: event.Start, Step: "fetch httpd 2.4.71"},
		{Kind: event.Progress, Step: "fetch httpd 2.4.71", Text: "url: https://example.org/httpd.tar.gz", Bytes: 2_500_000, Total: 10_000_000},
		{Kind: event.Start, Step: "fetch apr 1.7.6"},
		{Kind: event.Progress, Step: "fetch apr 1.7.6", Bytes: 900_000},
		{Kind: event.Failed, Step: "fetch httpd 2.4.71", Elapsed: 1500 * time.Millisecond},
		{Kind: event.Done, Step: "fetch apr 1.7.6", Elapsed: 300 * time.Millisecond},
		{Kind: event.Warn, Text: "httpd 2.4.68 is used instead\n::error::100% \x1b]0;title\a"},
		{Kind: event.Note, Text: "::stop-commands::x"},
		{Kind: event.Start, Step: "configure apr"},
		{Kind: event.Progress, Step: "configure apr", Text: "a very long line " + strings.Repeat("of words ", 20)},
		{Kind: event.Done, Step: "configure apr", Elapsed: 12 * time.Second, Log: logPath},
	}
}

func TestViews(t *testing.T) {
	dir := t.TempDir()
	logPath := filepath.Join(dir, "configure-apr.log")
	if err := os.WriteFile(logPath, []byte(log), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, mode := range []string{"plain", "github", "terminal", "json"} {
		t.Run(mode, func(t *testing.T) {
			var out, errOut bytes.Buffer
			a := &app{Process: Process{Stdout: &out, Stderr: &errOut, Now: clock()}}
			v := &view{out: a.Stderr, now: a.Now, began: a.Now(), stop: make(chan struct{}), detail: true, mode: mode, width: 60, actions: mode == "github"}
			if mode == "json" {
				v.out = a.Stdout
			}
			for _, e := range recorded(logPath) {
				v.sink()(e)
			}
			if _, err := fmt.Fprint(v.interruption(), "+ cc -c x.c\n::set-env::y\n"); err != nil {
				t.Error(err)
			}
			v.close()
			v.sink()(event.Event{Kind: event.Note, Text: "after the end"})
			got := bytes.ReplaceAll(append(out.Bytes(), errOut.Bytes()...), []byte(dir), []byte("DIR"))
			golden(t, mode+".golden", got)
			switch mode {
			case "terminal":
				for line := range strings.SplitSeq(string(got), "\n") {
					if strings.HasPrefix(line, "  ") && len([]rune(line)) > 59 {
						t.Errorf("wider than the terminal: %q", line)
					}
				}
			case "json":
				jsonLines(t, got)
			case "github":
				for line := range strings.SplitSeq(string(got), "\n") {
					name, _, _ := strings.Cut(strings.TrimPrefix(strings.TrimLeft(line, " \t"), "::"), "::")
					if strings.HasPrefix(strings.TrimLeft(line, " \t"), "::") && !strings.HasPrefix(name, "group") && name != "endgroup" && name != "warning title=modwsgi" {
						t.Errorf("another command than modwsgi's: %q", line)
					}
				}
			}
			if mode != "terminal" && bytes.ContainsAny(got, "\x1b\a\r") {
				t.Error("control characters are shown")
			}
		})
	}
}

func jsonLines(t *testing.T, data []byte) []map[string]any {
	t.Helper()
	var all []map[string]any
	for line := range strings.SplitSeq(strings.TrimRight(string(data), "\n"), "\n") {
		var m map[string]any
		if err := json.Unmarshal([]byte(line), &m); err != nil || m["event"] == nil {
			t.Fatalf("not a record: %q (%v)", line, err)
		}
		all = append(all, m)
	}
	return all
}

func TestReport(t *testing.T) {
	r := &installer.Report{
		Python: &detect.Python{Version: "3.11.2", Prefix: "/srv/my env"}, Site: "/srv/my env/lib/python3.11/site-packages",
		Installed: []installer.Installed{
			{Name: "mod_wsgi", Version: "5.0.2", HTTPD: "2.4.68", Server: "/srv/httpd", By: "modwsgi"},
			{Name: "mod_wsgi-httpd", Version: "2.4.68", Features: []string{"deflate", "tls"}, By: "pip", Problems: []string{"1", "2", "3", "4", "5", "6", "7"}},
		},
		Sources: []installer.SourceReport{
			{Component: "apr", Version: "1.7.6", Provider: "cache", From: "/c/apr.tar.bz2", Trust: "pinned", Signer: "5648D4A6F1B0A7E9D5B3CB65D3B13FCA2CE60BED"},
			{Component: "httpd", Version: "2.4.68", Provider: "url", From: "https://example.org/httpd.tar.gz", Trust: "published"},
		},
		Instead: []installer.Substitute{{Component: "httpd", Wanted: "2.4.71", Used: "2.4.68", Why: "httpd 2.4.71 is unavailable (no such host)"}},
		Timings: []steps.Timing{{Step: "fetch httpd 2.4.68", Elapsed: 2 * time.Second}, {Step: "place", Elapsed: time.Millisecond}},
		Proof:   &prove.Proof{Server: "Apache/2.4.68", PythonVersion: "3.11.2", ModuleVersion: "5.0.2", Elapsed: time.Second},
		Cached:  true, Launcher: "/srv/my env/bin/mod_wsgi-express", Lock: "/srv/modwsgi.lock", User: "www-data", Elapsed: 9 * time.Second,
	}
	project := &projectSettings{Path: "/srv/pyproject.toml", name: "pyproject.toml", Keys: []settingKey{{"with", 5}, {"httpd", 6}}}
	var out bytes.Buffer
	a := &app{Process: Process{Stdout: &out}}
	if err := a.showReport(r, project); err != nil {
		t.Fatal(err)
	}
	golden(t, "report.golden", out.Bytes())
	out.Reset()
	a.flags.json = true
	if err := a.showReport(r, project); err != nil {
		t.Fatal(err)
	}
	golden(t, "report.json.golden", out.Bytes())
	if all := jsonLines(t, out.Bytes()); len(all) != 1 || all[0]["event"] != "result" {
		t.Error(all)
	}
	r.Proof, r.Untried = nil, "/srv, on the way to /srv/my env, is closed"
	out.Reset()
	if err := a.showReport(r, project); err != nil {
		t.Fatal(err)
	}
	all := jsonLines(t, out.Bytes())
	if report, _ := all[0]["report"].(map[string]any); report["not_verified"] != r.Untried || report["proof"] != nil {
		t.Error(all)
	}
	out.Reset()
	a.flags.json = false
	if err := a.showReport(r, project); err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(out.String(), "\nNot verified: "+r.Untried+".\n") || strings.Contains(out.String(), "Verified: Apache") {
		t.Error(out.String())
	}
}

func TestEveryClassHasACode(t *testing.T) {
	want := map[fault.Class]int{
		fault.Internal: 1, fault.Usage: 2, fault.Environment: 3, fault.Source: 4, fault.Build: 5,
		fault.Place: 6, fault.Verify: 7, fault.Busy: 8, fault.Outdated: 9, fault.Interrupted: 130,
	}
	for class := range fault.Interrupted + 1 {
		var errOut bytes.Buffer
		a := &app{Process: Process{Stdout: &bytes.Buffer{}, Stderr: &errOut}}
		code := a.fail(fmt.Errorf("outer: %w", fault.New(class, "do this", "what happened")))
		if code != want[class] || code == 0 {
			t.Errorf("class %d: %d", class, code)
		}
		if errOut.String() != "modwsgi: error: outer: what happened\nmodwsgi: hint: do this\n" {
			t.Errorf("%q", errOut.String())
		}
	}
	a := &app{Process: Process{Stdout: &bytes.Buffer{}, Stderr: &bytes.Buffer{}}}
	if code := a.fail(errors.New("a bug")); code != 1 {
		t.Errorf("an error of no class: %d", code)
	}
}

func TestErrorOfATool(t *testing.T) {
	tail := []string{"\x1b[1mred\x1b[0m error", "::set-output name=a::b", "##[debug]x", "\x1b]8;;http://x\x1b\\link\x1b]8;;\x1b\\", "abc\u202edef"}
	for i := range 12 {
		tail = append([]string{fmt.Sprint("line ", i)}, tail...)
	}
	tool := &run.Error{Argv: []string{"/usr/bin/make", "all"}, ExitCode: 2, Tail: tail, LogPath: "/c/logs/make\x1b[2J.log", Err: errors.New("exit status 2")}
	err := fault.Wrap(fault.Build, "look\x1b[2J there", fmt.Errorf("compile: %w\n::add-path::/evil 100%%", tool))
	for _, env := range []string{"", "GITHUB_ACTIONS=true"} {
		var errOut bytes.Buffer
		a := &app{Process: Process{Stdout: &bytes.Buffer{}, Stderr: &errOut, Env: []string{env}}}
		if code := a.fail(err); code != 5 {
			t.Error(code)
		}
		name := "tool-error.golden"
		if env != "" {
			name = "tool-error-github.golden"
		}
		golden(t, name, errOut.Bytes())
		if strings.ContainsAny(errOut.String(), "\x1b\a\r\u202e") {
			t.Error("control characters are shown")
		}
		if strings.Contains(errOut.String(), "line 11\n") {
			t.Error("more than the last lines are shown without -v")
		}
		if env != "" && (strings.Contains(errOut.String(), "\n::add-path") || !strings.Contains(errOut.String(), "%0A::add-path::/evil 100%25")) {
			t.Errorf("%q", errOut.String())
		}
	}
}

func TestPrintable(t *testing.T) {
	for in, want := range map[string]string{
		"plain ü …":                "plain ü …",
		"a\x1b[31;1mb\x1b[0mc":     "abc",
		"a\x1b]0;title\ab":         "ab",
		"a\x1b]0;no end":           "a",
		"a\x1b(Bb\x1bcc\x1b":       "abc",
		"\u009b31mx":               "31mx",
		"tab\tline\nreturn\r\x00.": "tab\tline\nreturn.",
	} {
		if got := printable(in); got != want {
			t.Errorf("printable(%q) = %q, want %q", in, got, want)
		}
	}
}

func TestCut(t *testing.T) {
	for width := range 12 {
		if got := cut("äöü\t日本語 text", width); len([]rune(got)) > width {
			t.Errorf("cut to %d: %q", width, got)
		}
	}
}
