package logwriter

import (
	"fmt"
	"strings"
	"testing"
	"time"
)

// record returns a line of an access log in AccessFormat.
func record(values map[string]string) string {
	line := AccessFormat
	for _, item := range []string{"%{pid}P.%{tid}P", "%{begin:usec}t", "%a", "%u", "%m", "%U", "%q", "%H", "%{Host}i", "%>s", "%B", "%D", "%{Referer}i", "%{User-Agent}i", "%{UNIQUE_ID}e", "%L", "%v", "%{mod_wsgi.process_group}e", "%r"} {
		value, ok := values[item]
		if !ok {
			value = "-"
		}
		if item == "%{pid}P.%{tid}P" {
			value = "7.8"
		}
		line = strings.ReplaceAll(line, item, value)
	}
	return line
}

// TestAccessTerminal: one short line per request, with colours on request only, and never
// with a control character of a client.
func TestAccessTerminal(t *testing.T) {
	at := time.Date(2026, 12, 1, 4, 5, 6, 0, time.Local)
	for _, c := range []struct {
		values map[string]string
		want   string
	}{
		{map[string]string{"%m": "GET", "%U": "/a", "%q": "?x=1", "%>s": "200", "%D": "1234"}, "04:05:06  GET    200    1.2 ms  /a?x=1"},
		{map[string]string{"%m": "OPTIONS", "%U": `/gr\xc3\xbc\xc3\x9fe`, "%>s": "404", "%D": "12345"}, "04:05:06  OPTIONS 404     12 ms  /grüße"},
		{map[string]string{"%m": "POST", "%U": `/\x1b[31m\n`, "%>s": "500", "%D": "2500000"}, `04:05:06  POST   500     2.5 s  /\x1b[31m\n`},
		{map[string]string{"%r": `nonsense`, "%>s": "400"}, "04:05:06  -      400         -  nonsense"},
	} {
		c.values["%{begin:usec}t"] = fmt.Sprint(at.UnixMicro())
		line := record(c.values)
		got := string(newFormer(AccessTerminal, time.Now, false, "").line(nil, []byte(line)))
		if got != c.want+"\n" {
			t.Errorf("\n got %q\nwant %q", got, c.want)
		}
		coloured := string(newFormer(AccessTerminal, time.Now, true, "").line(nil, []byte(line)))
		if !strings.Contains(coloured, "\x1b[") || uncoloured(coloured) != got {
			t.Errorf("%q", coloured)
		}
	}
	if got := string(newFormer(AccessTerminal, time.Now, true, "").line(nil, []byte("no record \x1b[0m"))); got != "no record \\x1b[0m\n" {
		t.Errorf("%q", got)
	}
}

func uncoloured(text string) string {
	for {
		before, rest, ok := strings.Cut(text, "\x1b[")
		if !ok {
			return text
		}
		_, after, _ := strings.Cut(rest, "m")
		text = before + after
	}
}

// TestErrorTerminal: tracebacks are whole and lack the launcher's frames, what the
// application prints stays as it is, and what servers report when all is well is left out.
func TestErrorTerminal(t *testing.T) {
	const usualHead = "[Tue Dec 01 04:05:06.000000 2026] [%s] [pid 7:tid 8] %s"
	wsgi := func(text string) string { return fmt.Sprintf(usualHead, "wsgi:error", text) }
	in := []string{
		fmt.Sprintf(usualHead, "mpm_event:notice", "AH00489: Apache/2.4.68 configured -- resuming normal operations"),
		wsgi("monitor (pid=7): Starting change monitor."),
		wsgi("printed by the application \\x1b[31m"),
		wsgi("mod_wsgi (pid=7): Exception occurred processing WSGI script '/r/handler.wsgi'."),
		wsgi("WSGI0174: [script /r/htdocs/] ValueError exception raised processing WSGI script '/r/htdocs/' for main interpreter."), // mod_wsgi 6
		wsgi("Traceback (most recent call last):"),
		wsgi(`  File "/r/handler.wsgi", line 300, in handle_request`),
		wsgi("    return self.application(environ, start_response)"),
		wsgi("           ^^^^^^^^^^^^^^^^"),
		wsgi(`  File "/e/lib/python3.11/site-packages/x.py", line 2, in x`),
		wsgi("    y()"),
		wsgi(`  File "/p/app.py", line 3, in app`),
		wsgi("    raise ValueError('x')"),
		wsgi("ValueError: x"),
		wsgi("monitor (pid=7): Change detected to '/p/a b.py'."),
		wsgi("monitor (pid=7): Triggering process restart."),
		fmt.Sprintf(usualHead, "core:error", "AH00126: Invalid URI in request"),
		"raw text \x1b]0;title\a",
	}
	const want = `printed by the application \x1b[31m
Traceback (most recent call last):
  File "/e/lib/python3.11/site-packages/x.py", line 2, in x
    y()
  File "/p/app.py", line 3, in app
    raise ValueError('x')
ValueError: x
04:05:06  reload  a b.py has changed
04:05:06  error  AH00126: Invalid URI in request
raw text \x1b]0;title\x07
`
	for _, colours := range []bool{false, true} {
		f := newFormer(ErrorTerminal, time.Now, colours, "/p")
		var out []byte
		for _, line := range in {
			out = f.line(out, []byte(line))
		}
		out = f.flush(out)
		if got := uncoloured(string(out)); got != want {
			t.Errorf("\n%s\nwant\n%s", got, want)
		}
		if colours != strings.Contains(string(out), "\x1b[31m") {
			t.Errorf("colours %v: %q", colours, out)
		}
	}
}

func TestWantsColours(t *testing.T) {
	for want, all := range map[bool][][]string{true: {nil, {"TERM=xterm"}, {"NO_COLOR="}}, false: {{"NO_COLOR=1"}, {"TERM=dumb"}}} {
		for _, env := range all {
			if wantsColours(env) != want {
				t.Errorf("%q", env)
			}
		}
	}
}
