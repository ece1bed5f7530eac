package logwriter

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"
)

func clock() time.Time { return time.Date(2025, 3, 30, 1, 59, 59, 123456000, time.UTC) }

// objects are the lines of a log, each of which must be an object.
func objects(t *testing.T, text []byte) (list []map[string]any) {
	t.Helper()
	for line := range bytes.Lines(text) {
		var m map[string]any
		if err := json.Unmarshal(line, &m); err != nil || !bytes.HasSuffix(line, []byte("\n")) {
			t.Fatalf("%v in %q", err, line)
		}
		if at, ok := m["time"].(string); !ok {
			t.Fatalf("no time in %s", line)
		} else if _, err := time.Parse(time.RFC3339Nano, at); err != nil || len(at) < len("2006-01-02T15:04:05.000000Z") {
			t.Fatalf("time %q in %s", at, line)
		}
		list = append(list, m)
	}
	return list
}

// access is a record of an access log with these values, as httpd writes it.
func access(values ...string) string {
	return accessOf("12.140", values...)
}

// accessOf is a record of a thread.
func accessOf(thread string, values ...string) string {
	return "\t!" + thread + "\ts1743300000123456\t" + strings.Join(values, "\t") + "\t$" + thread
}

func TestAccessRecord(t *testing.T) {
	f := newAccessJSON(clock, 0)
	line := access("a2001:db8::1", "ualice", "mGET", `p/\xc3\xa4\t`, "q?a=b", "vHTTP/1.1", "h-", "c200", "b0", "d1234", "r", `g\"q\" -`, "i-", "lLOG", "nlocalhost", "G-", "xGET /%c3%a4%09?a=b HTTP/1.1")
	m := objects(t, f.line(nil, []byte(line)))[0]
	want := map[string]any{
		"remote_addr": "2001:db8::1", "remote_user": "alice", "method": "GET", "path": "/ä\t", "query": "a=b", "protocol": "HTTP/1.1",
		"request": "GET /%c3%a4%09?a=b HTTP/1.1", "status": 200.0, "bytes": 0.0, "duration_ms": 1.234, "referer": "", "user_agent": `"q" -`,
		"request_id": "LOG", "server_name": "localhost", "pid": 12.0, "tid": 140.0,
	}
	at, _ := time.Parse(time.RFC3339Nano, m["time"].(string))
	if !at.Equal(time.UnixMicro(1743300000123456)) {
		t.Errorf("time %s", m["time"])
	}
	delete(m, "time")
	if fmt.Sprint(m) != fmt.Sprint(want) {
		t.Errorf("got  %v\nwant %v", m, want)
	}
}

// TestInterruptedRecords: a record longer than a pipe accepts at once can be interrupted
// by others. No text is lost, every line is JSON, and a record is never given the values
// of another one.
func TestInterruptedRecords(t *testing.T) {
	long := func(n int) string {
		return accessOf(fmt.Sprintf("7.%d", n), "mGET", fmt.Sprintf("p/%d/%s/%d", n, strings.Repeat("x", 50), n), "c200", "b0", "d1")
	}
	a, b, c := long(1), long(2), long(3)
	type scene struct {
		name, input string
		paths       []string // of complete records
	}
	scenes := []scene{
		{"two inside", a[:40] + b + "\n" + a[40:60] + c + "\n" + a[60:] + "\n", []string{"2", "3", "1"}},
		{"both interrupted", a[:40] + b[:40] + a[40:] + "\n" + b[40:] + "\n" + c + "\n", []string{"3"}},
		{"one after the other", a[:40] + b[:40] + c + "\n" + a[40:] + "\n" + b[40:] + "\n", []string{"3", "1", "2"}},
		{"a part of either", a[:40] + b[:40] + c + "\n" + a[40:60] + c + "\n" + a[60:] + "\n" + b[40:] + "\n", []string{"3", "3"}},
		{"fields of another", a[:20] + b[12:] + a[20:] + "\n", nil},
		{"start is missing", a[40:] + "\n" + b + "\n", []string{"2"}},
		{"end is missing", a[:40] + "\n" + b + "\n", []string{"2"}},
		{"end is missing twice", a[:40] + "\n" + a + "\n", []string{"1"}},
	}
	for k := len("\t!7.1\t"); k < len(a); k++ { // a cut in the first mark leaves text
		scenes = append(scenes, scene{fmt.Sprint("cut at ", k), a[:k] + b + "\n" + a[k:] + "\n", []string{"2", "1"}})
	}
	for _, s := range scenes { // the same lines as text
		f := newFormer(AccessText, clock, false, "")
		var out []byte
		for line := range strings.Lines(s.input) {
			out = f.line(out, []byte(strings.TrimSuffix(line, "\n")))
		}
		out = f.flush(out)
		for n, record := range []string{a, b, c} {
			text := strings.TrimSuffix(strings.TrimPrefix(record, fmt.Sprintf("\t!7.%d\t", n+1)), fmt.Sprintf("\t$7.%d", n+1))
			want := slices.Index(s.paths, fmt.Sprint(n+1)) >= 0
			if got := slices.Contains(strings.Split(string(out), "\n"), text); got != want {
				t.Errorf("%s: the line of %d is there: %v\n%q", s.name, n+1, got, out)
			}
		}
	}
	for _, s := range scenes {
		f := newAccessJSON(clock, 0)
		var out []byte
		for line := range strings.Lines(s.input) {
			out = f.line(out, []byte(strings.TrimSuffix(line, "\n")))
		}
		out = f.flush(out)
		var paths []string
		for _, m := range objects(t, out) {
			if p, ok := m["path"].(string); ok {
				parts := strings.Split(p, "/")
				if len(parts) != 4 || parts[2] != strings.Repeat("x", 50) || parts[1] != parts[3] {
					t.Errorf("%s: a record that nobody wrote: %s", s.name, p)
				}
				paths = append(paths, parts[1])
			}
		}
		if fmt.Sprint(paths) != fmt.Sprint(s.paths) {
			t.Errorf("%s: records %v, want %v\n%s", s.name, paths, s.paths, out)
		}
		if n := bytes.Count(out, []byte("x")); n < strings.Count(s.input, "x") {
			t.Errorf("%s: text is lost\n%s", s.name, out)
		}
	}
}

// TestAnything: any input becomes objects, and httpd's own records keep their values
// whatever stands in them.
func TestAnything(t *testing.T) {
	r := rand.New(rand.NewPCG(7, 8))
	for range 5000 {
		values := [][]byte{random(r), random(r), random(r)}
		for k := range values {
			values[k] = bytes.ReplaceAll(values[k], []byte{0}, nil) // ends a string of C
		}
		line := fmt.Sprintf("\t!1.2\ts1\tu%s\tg%s\tx%s\t$1.2", escaped(values[0], true), escaped(values[1], true), escaped(values[2], true))
		got := objects(t, newAccessJSON(clock, 0).line(nil, []byte(line)))
		if len(got) != 1 {
			t.Fatalf("%q: %d objects", line, len(got))
		}
		for k, name := range []string{"remote_user", "user_agent", "request"} {
			var want any
			if string(values[k]) != "-" {
				_ = json.Unmarshal(appendString(nil, values[k]), &want)
			}
			if got[0][name] != want {
				t.Fatalf("%s: %q, want %q", name, got[0][name], want)
			}
		}
		for _, form := range []Form{AccessJSON, ErrorJSON} {
			f := newFormer(form, clock, false, "")
			raw := bytes.ReplaceAll(random(r), []byte("\n"), []byte("\t!"))
			objects(t, f.flush(f.line(nil, raw)))
		}
	}
}

func TestErrorLines(t *testing.T) {
	f := newFormer(ErrorJSON, clock, false, "")
	line := "\t!7.99\ts2025-11-30 13:17:50.123456 +0100\tlerror\tmwsgi\ta[::1]:443\tiID\tnserver\tfx.c(1)\te(2)No such file\trhttp://r/\tx" +
		string(escaped([]byte("größer\n\\"), false)) + "\t$7.99"
	m := objects(t, f.line(nil, []byte(line)))[0]
	want := map[string]any{
		"time": "2025-11-30T13:17:50.123456+01:00", "level": "error", "module": "wsgi", "pid": 7.0, "tid": 99.0, "remote_addr": "[::1]", "remote_port": 443.0,
		"request_id": "ID", "server_name": "server", "source": "x.c(1)", "error": "(2)No such file", "referer": "http://r/", "message": "größer\n\\",
	}
	if fmt.Sprint(m) != fmt.Sprint(want) {
		t.Errorf("got  %v\nwant %v", m, want)
	}
	// httpd's default form, while it starts.
	m = objects(t, f.line(nil, []byte(`[Sun Nov 30 13:17:50.123456 2025] [mpm_event:notice] [pid 5:tid 6] AH00489: \xc3\xa4 configured`)))[0]
	at, _ := time.Parse(time.RFC3339Nano, m["time"].(string))
	if !at.Equal(time.Date(2025, 11, 30, 13, 17, 50, 123456000, time.Local)) || m["module"] != "mpm_event" || m["level"] != "notice" || m["pid"] != 5.0 || m["message"] != "AH00489: ä configured" {
		t.Errorf("%v", m)
	}
	for _, peer := range []string{"client 10.0.0.1:5", "remote [2001:db8::1]:5"} {
		m = objects(t, f.line(nil, []byte("[Sun Nov 30 13:17:50.123456 2025] [wsgi:error] [pid 5:tid 6] ["+peer+"] [script /a b.py] text")))[0]
		if m["remote_addr"] != strings.TrimSuffix(peer[len("client "):], ":5") || m["remote_port"] != 5.0 || m["script"] != "/a b.py" || m["message"] != "text" {
			t.Errorf("%v", m)
		}
	}
	// Text of a process itself. It has no escapes.
	m = objects(t, f.line(nil, []byte(`Fatal Python error: \xc3 "ä"`)))[0]
	if m["message"] != `Fatal Python error: \xc3 "ä"` || m["level"] != nil {
		t.Errorf("%v", m)
	}
	// A message that httpd cuts off has no end.
	long := line[:len(line)-10]
	long += strings.Repeat("x", 8191-len(long))
	if list := objects(t, f.line(nil, []byte(long))); len(list) != 1 || list[0]["truncated"] != true || list[0]["level"] != "error" {
		t.Errorf("%v", list)
	}
}

// TestTracebacks: the lines of a traceback are one object, even if another thread writes
// in between, and nothing else is.
func TestTracebacks(t *testing.T) {
	now := clock()
	f := newFormer(ErrorJSON, func() time.Time { return now }, false, "")
	var out []byte
	say := func(thread, text string) {
		out = f.line(out, fmt.Appendf(nil, "\t!7.%s\ts2025-11-30 13:17:50.123456 +0100\tlerror\tmwsgi\ta-\tiID%s\tx%s\t$7.%s", thread, thread, escaped([]byte(text), false), thread))
	}
	lines := []string{
		"Traceback (most recent call last):", `  File "a.py", line 1, in f`, "    int('ä')", "ValueError: bad", "",
		"During handling of the above exception, another exception occurred:", "",
		"Traceback (most recent call last):", `  File "a.py", line 3, in g`, "    raise KeyError", "KeyError",
	}
	for _, l := range lines {
		say("1", l)
		say("2", "other")
	}
	if !f.held() {
		t.Error("the traceback is not held back")
	}
	say("1", "after")
	list := objects(t, out)
	if len(list) != len(lines)+2 || f.held() {
		t.Fatalf("%d objects\n%s", len(list), out)
	}
	for _, m := range list[:len(lines)] {
		if m["message"] != "other" {
			t.Errorf("%v", m)
		}
	}
	if m := list[len(lines)]; m["message"] != strings.Join(lines, "\n") || m["request_id"] != "ID1" {
		t.Errorf("%v", m)
	}
	if m := list[len(lines)+1]; m["message"] != "after" {
		t.Errorf("%v", m)
	}
	// One that no line follows is written after a pause.
	out = nil
	for _, l := range lines[:4] {
		say("1", l)
	}
	if out = f.idle(out); len(out) > 0 {
		t.Errorf("written too early: %s", out)
	}
	now = now.Add(joinTime)
	if list := objects(t, f.idle(nil)); len(list) != 1 || list[0]["message"] != strings.Join(lines[:4], "\n") {
		t.Errorf("%v", list)
	}
}

// TestMissingFields: a record in which parts are another one's lacks fields, although its
// marks fit.
func TestMissingFields(t *testing.T) {
	now := func() time.Time { return time.Unix(0, 0) }
	whole := "\t!1.1"
	for _, item := range strings.Split(AccessFormat, "\t")[2:] {
		if item[0] != '$' {
			whole += "\t" + item[:1] + "1"
		}
	}
	whole += "\t$1.1"
	for text, complete := range map[string]bool{whole: true, strings.Replace(whole, "\tg1", "", 1): false} {
		got := string(newAccessJSON(now, accessFields).line(nil, []byte(text)))
		if complete == strings.Contains(got, `"incomplete"`) {
			t.Errorf("%q: %s", text, got)
		}
	}
}
