//go:build acceptance && linux

package express_test

import (
	"bufio"
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	mathrand "math/rand/v2"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
	"unicode/utf8"

	"modwsgi/internal/freeport"
)

// The logs as people and programs read them. Each line is read back by something that
// knows nothing of the launcher: Python's json, or a pattern of the whole line.

const logApp = `
import atexit, logging, os, sys
logging.basicConfig(level=logging.INFO, format="%(levelname)s %(message)s")
print("loaded: größer 日本語 😀")
atexit.register(lambda: print("goodbye: schöner Tag"))
def application(environ, start_response):
    path = environ["PATH_INFO"]
    if path == "/raise":
        try:
            int("ä")
        except ValueError as e:
            raise RuntimeError("schlimm: ü") from e
    if path == "/log":
        logging.warning("Warnung: über \x1b[31m rot \u202e bidi \x85 nel \u2028 zeile")
        print("wsgi.errors: é\rforged", file=environ["wsgi.errors"])
        sys.stderr.write("a\tb\\c \\xc3\\xa4 'q' \"d\"\n")
        os.write(2, b"raw latin1 \xfc \xff \x1b[1m\n")
        os.write(2, "raw größer\n".encode())
    body = environ.get("UNIQUE_ID", "").encode()
    start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", str(len(body)))])
    return [body]
`

// pythonJSON reads a file of JSON lines with Python's json, strictly, and returns the
// objects. Each must be one line that a terminal can show.
func pythonJSON(t *testing.T, path string) (list []map[string]any) {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), filepath.Join(testEnv(t), "bin", "python"), "-c", `
import json, sys, datetime
def refuse(x): raise ValueError(x)
with open(sys.argv[1], "rb") as f:
    data = f.read()
assert not data or data.endswith(b"\n")
for line in data.decode("utf-8").split("\n")[:-1]:
    assert all(c >= " " and not "\x7f" <= c <= "\x9f" and c not in "\u2028\u2029\u202e" for c in line), line
    o = json.loads(line, parse_constant=refuse)
    assert isinstance(o, dict) and len(line) < 2000000
    t = datetime.datetime.fromisoformat(o["time"].replace("Z", "+00:00"))
    assert t.tzinfo and abs((datetime.datetime.now(datetime.timezone.utc) - t).total_seconds()) < 3600, o["time"]
    json.dumps(o, ensure_ascii=False).encode("utf-8")
    print(json.dumps(o))
`, path).CombinedOutput()
	if err != nil {
		t.Fatalf("%s: %v\n%.3000s", path, err, out)
	}
	for line := range bytes.Lines(out) {
		var m map[string]any
		unmarshal(t, line, &m)
		list = append(list, m)
	}
	return list
}

// shown is the text that a log has for the bytes of a client.
func shown(b []byte) string {
	var s strings.Builder
	for len(b) > 0 {
		r, n := utf8.DecodeRune(b)
		if r == utf8.RuneError && n == 1 {
			fmt.Fprintf(&s, `\x%02x`, b[0])
		} else {
			s.WriteRune(r)
		}
		b = b[n:]
	}
	return s.String()
}

// with returns the objects whose member has a value.
func with(list []map[string]any, name string, value any) (found []map[string]any) {
	for _, m := range list {
		if m[name] == value {
			found = append(found, m)
		}
	}
	return found
}

// TestJSONAccessLog: whatever clients send, each answered request is one object with
// what was sent.
func TestJSONAccessLog(t *testing.T) {
	testEnv(t)
	dir := workDir(t, "")
	app := write(t, filepath.Join(dir, "app.py"), logApp)
	auth := write(t, filepath.Join(dir, "auth.py"), "def check_password(environ, user, password):\n    return True\n")
	logs := filepath.Join(dir, "logs")
	s := start(t, dir, app, "--log-directory", logs, "--access-log", "--access-log-format", "json", "--auth-user-script", auth, "--server-name", "127.0.0.1", "--processes", "2")
	random := mathrand.New(mathrand.NewPCG(seed(t), 1))
	pieces := []string{`"`, `\`, `\\`, `\x`, `\u0000`, "\t", "ä", "\xc3", "\xff", "\xed\xa0\x80", "\u202e", "\u0085", "\u2028", "😀", "'", "{", "}", ",", ":", "-", "!", "$", "%", "\x01", "\x1b", "\x7f", "\x00", "a"}
	hostile := func(forbidden string) []byte {
		var b []byte
		for range random.IntN(40) {
			if random.IntN(3) == 0 {
				b = append(b, byte(random.IntN(256)))
			} else {
				b = append(b, pieces[random.IntN(len(pieces))]...)
			}
		}
		return slices.DeleteFunc(b, func(c byte) bool { return c == '\n' || c == '\r' || strings.IndexByte(forbidden, c) >= 0 })
	}
	type request struct{ path, query, referer, agent, user []byte }
	sent := map[int]request{}
	answered, refused := 0, 0
	for n := range 500 {
		r := request{hostile(" ?#"), hostile(" #"), hostile("\x00"), hostile("\x00"), hostile(":\x00")}
		if n%3 > 0 { // accepted: no control characters in headers, and the rest of the path escaped
			for _, b := range []*[]byte{&r.referer, &r.agent} {
				*b = bytes.TrimSpace(slices.DeleteFunc(*b, func(c byte) bool { return c < ' ' || c == 0x7f }))
			}
			r.path = slices.DeleteFunc(r.path, func(c byte) bool { return c == 0 || c == '/' || c == '.' })
			r.query = slices.DeleteFunc(r.query, func(c byte) bool { return c <= ' ' || c == 0x7f })
		}
		target := "/" + string(r.path)
		if n%3 > 0 {
			target = "/"
			for _, c := range r.path {
				target += fmt.Sprintf("%%%02X", c)
			}
		}
		conn, err := net.Dial("tcp", s.address())
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprintf(conn, "GET %s?n=%d&%s HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\nAuthorization: Basic %s\r\nReferer: %s\r\nUser-Agent: %s\r\n\r\n",
			target, n, r.query, base64.StdEncoding.EncodeToString(append(r.user, ":x"...)), r.referer, r.agent)
		resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
		if err != nil {
			t.Fatalf("%d: %v", n, err)
		}
		_, _ = io.ReadAll(resp.Body)
		conn.Close()
		answered++
		if resp.StatusCode == 200 {
			sent[n] = r
		} else {
			refused++
		}
	}
	if len(sent) < 150 || refused < 50 {
		t.Fatalf("%d requests were served and %d refused: there must be many of both", len(sent), refused)
	}
	s.stop()
	list := pythonJSON(t, filepath.Join(logs, "access_log"))
	if len(list) != answered {
		t.Errorf("%d objects for %d answers", len(list), answered)
	}
	seen := 0
	for _, m := range list {
		if m["incomplete"] != nil || m["remote_addr"] != "127.0.0.1" || m["pid"] == nil || m["tid"] == nil || m["duration_ms"] == nil || m["request"] == nil {
			t.Errorf("%v", m)
		}
		query, _ := m["query"].(string)
		n, err := strconv.Atoi(strings.TrimPrefix(strings.SplitN(query, "&", 2)[0], "n="))
		r, ok := sent[n]
		if err != nil || !ok || m["status"] != 200.0 {
			continue
		}
		seen++
		want := map[string]string{
			"query": fmt.Sprintf("n=%d&%s", n, shown(r.query)), "path": "/" + shown(r.path), "referer": shown(r.referer), "user_agent": shown(r.agent), "remote_user": shown(r.user),
			"method": "GET", "protocol": "HTTP/1.1", "host": "127.0.0.1", "server_name": "127.0.0.1", "process_group": "127.0.0.1:" + strconv.Itoa(s.port),
		}
		for name, text := range want {
			if got, _ := m[name].(string); got != text && !(text == "-" && m[name] == nil) {
				t.Errorf("request %d: %s is %q, want %q", n, name, got, text)
			}
		}
		if id, _ := m["request_id"].(string); len(id) < 20 || m["bytes"] != float64(len(id)) { // the application answers with it
			t.Errorf("request %d: request_id %q, bytes %v", n, id, m["bytes"])
		}
	}
	if seen != len(sent) {
		t.Errorf("%d of %d requests that were served are in the log", seen, len(sent))
	}
}

// TestLongLines: lines that are longer than a pipe writes at once, from several processes
// together, are one object each. If there are more than the pipe holds, those lines can
// be torn, but every line of the log is an object, no text is lost, and the requests of
// others are as sent.
//
// Once: httpd and the launcher write logs, whichever mod_wsgi it is.
func TestLongLines(t *testing.T) {
	testEnv(t)
	dir := workDir(t, "")
	write(t, filepath.Join(dir, "file.txt"), "x")
	const half = 3500
	for _, c := range []struct {
		name          string
		clients, each int
		torn          bool
	}{{"few", 2, 100, false}, {"many", 60, 15, true}} {
		t.Run(c.name, func(t *testing.T) {
			logs := filepath.Join(dir, "logs-"+c.name)
			s := start(t, dir, "--application-type", "static", "--document-root", dir, "--log-directory", logs, "--access-log", "--access-log-format", "json")
			eventually(t, "the program runs", func() bool { return len(logPrograms(filepath.Join(logs, "access_log"))) == 1 })
			ask := func(client *http.Client, agent, referer string) {
				req, _ := http.NewRequestWithContext(t.Context(), "GET", "http://"+s.address()+"/file.txt", nil)
				req.Header.Set("User-Agent", agent)
				req.Header.Set("Referer", referer)
				resp, err := client.Do(req)
				if err != nil {
					t.Error(err)
					return
				}
				_, _ = io.ReadAll(resp.Body)
				resp.Body.Close()
			}
			// A connection has at most one line on its way, which is written after the response.
			connection := func() *http.Client { return &http.Client{Transport: &http.Transport{MaxConnsPerHost: 1}} }
			ask(connection(), "first", "") // the program has read
			eventually(t, "the first line", func() bool {
				data, _ := os.ReadFile(filepath.Join(logs, "access_log"))
				return len(data) > 0
			})
			var all sync.WaitGroup
			for k := range c.clients {
				letter := string(rune('A' + k))
				all.Go(func() {
					client := connection()
					for n := range c.each {
						ask(client, fmt.Sprintf("%d.%d.%s", k, n, strings.Repeat(letter+"\xe4", half)), strings.Repeat(letter+"\xf6", half))
					}
				})
				all.Go(func() {
					client := connection()
					for n := range c.each {
						ask(client, fmt.Sprintf("short %d.%d", k, n), "")
					}
				})
			}
			all.Wait()
			s.stop()
			whole, short := 0, map[string]int{}
			for _, m := range pythonJSON(t, filepath.Join(logs, "access_log")) {
				agent, _ := m["user_agent"].(string)
				parts := strings.Split(agent, ".")
				k, err := strconv.Atoi(parts[0])
				switch {
				case m["incomplete"] != nil && c.torn, agent == "first":
				case strings.HasPrefix(agent, "short "):
					if short[agent]++; m["referer"] != "" || m["status"] != 200.0 {
						t.Errorf("%.300v", m)
					}
				case err != nil || len(parts) != 3:
					t.Errorf("%.300v", m)
				default:
					whole++
					if letter := string(rune('A' + k)); parts[2] != strings.Repeat(letter+`\xe4`, half) || m["referer"] != strings.Repeat(letter+`\xf6`, half) {
						t.Errorf("a line with the text of another: %.300v", m)
					}
				}
			}
			data, _ := os.ReadFile(filepath.Join(logs, "access_log"))
			for k := range c.clients {
				letter := []byte{byte('A' + k), '\\'}
				if n := bytes.Count(data, letter); n < 2*half*c.each-20 { // a line can be torn after the letter
					t.Errorf("client %d sent %d letters, of which %d are in the log", k, 2*half*c.each, n)
				}
				for n := range c.each {
					if name := fmt.Sprintf("short %d.%d", k, n); short[name] != 1 {
						t.Errorf("%s is there %d times", name, short[name])
					}
				}
			}
			t.Logf("%d of %d long lines are whole", whole, c.clients*c.each)
			if !c.torn && whole != c.clients*c.each {
				t.Errorf("%d of %d long lines are whole", whole, c.clients*c.each)
			}
		})
	}
}

// TestJSONErrorLog: what applications log, with the request that it belongs to, a
// traceback as one object, and what httpd and others write in other forms.
func TestJSONErrorLog(t *testing.T) {
	testEnv(t)
	dir := workDir(t, "")
	app := write(t, filepath.Join(dir, "app.py"), logApp)
	logs := filepath.Join(dir, "logs")
	serve := func(t *testing.T, env []string, more ...string) {
		logs := filepath.Join(logs, filepath.Base(t.Name()))
		if err := os.MkdirAll(filepath.Dir(logs), 0o755); err != nil {
			t.Fatal(err)
		}
		args := append([]string{app, "--log-directory", logs, "--access-log", "--access-log-format", "json", "--error-log-format", "json", "--log-level", "info"}, more...)
		s := beginWith(t, env, dir, args...).up()
		_, id := s.get("/log")
		s.get("/raise")
		s.get("/log")
		s.stop()
		access, list := pythonJSON(t, filepath.Join(logs, "access_log")), pythonJSON(t, filepath.Join(logs, "error_log"))
		for _, text := range []string{"loaded: größer 日本語 😀", "goodbye: schöner Tag"} {
			if found := with(list, "message", text); len(found) != 1 || found[0]["module"] != "wsgi" || found[0]["level"] != "error" {
				t.Errorf("%s: %v", text, found)
			}
		}
		for _, text := range []string{"WARNING Warnung: über \x1b[31m rot \u202e bidi \u0085 nel \u2028 zeile", "wsgi.errors: é\rforged", "a\tb\\c \\xc3\\xa4 'q' \"d\""} {
			found := with(list, "message", text)
			if len(found) != 2 {
				t.Errorf("%q: %v", text, found)
				continue
			}
			if m := found[0]; m["remote_addr"] != "127.0.0.1" || m["remote_port"] == nil || m["pid"] == nil || m["tid"] == nil || m["request_id"] != id {
				t.Errorf("%v, want the request %s", m, id)
			}
		}
		for _, text := range []string{`raw latin1 \xfc \xff ` + "\x1b[1m", "raw größer"} {
			if found := with(list, "message", text); len(found) != 2 {
				t.Errorf("%q: %v", text, found)
			}
		}
		requests := with(access, "path", "/raise")
		if len(requests) != 1 || requests[0]["status"] != 500.0 {
			t.Fatalf("%v", requests)
		}
		var trace map[string]any
		for _, m := range with(list, "request_id", requests[0]["request_id"]) {
			if text, _ := m["message"].(string); strings.HasPrefix(text, "Traceback (most recent call last):\n") {
				trace = m
			}
		}
		text, _ := trace["message"].(string)
		if !strings.Contains(text, "    int(\"ä\")\n") || !strings.Contains(text, "\nThe above exception was the direct cause of the following exception:\n") || !strings.HasSuffix(text, "\nRuntimeError: schlimm: ü") {
			t.Errorf("the traceback: %q", text)
		}
		for _, m := range list {
			if text, _ := m["message"].(string); strings.HasPrefix(text, "\t!") || strings.HasPrefix(text, "[") && m["module"] != "core" || strings.Contains(text, "\t$") {
				t.Errorf("not understood: %q", text)
			}
		}
	}
	t.Run("bundled", func(t *testing.T) { serve(t, nil) })
	t.Run("embedded", func(t *testing.T) { serve(t, nil, "--embedded-mode") })
	t.Run("debian", func(t *testing.T) {
		args, env := debianHTTPD(t)
		serve(t, env, args...)
	})
}

// TestReadableErrorLog: text is UTF-8 in every error log, nothing else changes.
func TestReadableErrorLog(t *testing.T) {
	testEnv(t)
	dir := workDir(t, "")
	app := write(t, filepath.Join(dir, "app.py"), logApp)
	service := write(t, filepath.Join(dir, "service.py"), "import os, time\nprint('service: naïve', flush=True)\ntime.sleep(60)\n")
	run := func(t *testing.T, args ...string) (string, string) {
		logs := filepath.Join(dir, "logs-"+filepath.Base(t.Name()))
		s := start(t, dir, append([]string{
			app, "--log-directory", logs, "--error-log-name", "e r r", "--error-log-format", "T=%t [%m:%l] %M",
			"--service-script", "s", service, "--service-log-file", "s", "service.log",
		}, args...)...)
		s.get("/log")
		s.get("/raise")
		_ = s.cmd.Process.Signal(syscall.SIGHUP) // the old programs end, and the new ones append
		read := func(name string) string {
			data, _ := os.ReadFile(filepath.Join(logs, name))
			return string(data)
		}
		eventually(t, "httpd has reloaded", func() bool { return strings.Count(read("e r r"), "resuming normal operations") == 2 })
		eventually(t, "the application is loaded again", func() bool { return strings.Count(read("e r r"), "loaded: ") >= 2 })
		eventually(t, "the service writes again", func() bool { return strings.Count(read("service.log"), "service: ") >= 2 })
		s.stop()
		return read("e r r"), read("service.log")
	}
	t.Run("utf8", func(t *testing.T) {
		log, service := run(t, "--error-log-utf8", "--log-level", "info")
		for _, want := range []string{
			"] loaded: größer 日本語 😀\n", "] goodbye: schöner Tag\n", "]     int(\"ä\")\n", "] RuntimeError: schlimm: ü\n",
			`] WARNING Warnung: über \x1b[31m rot \xe2\x80\xae bidi \xc2\x85 nel \xe2\x80\xa8 zeile` + "\n", `] wsgi.errors: é\rforged` + "\n",
			`] a\tb\\c \\xc3\\xa4 'q' "d"` + "\n", "\n" + `raw latin1 \xfc \xff \x1b[1m` + "\n", "\nraw größer\n",
		} {
			if !strings.Contains(log, want) {
				t.Errorf("%q is not in the log:\n%s", want, log)
			}
		}
		if !strings.Contains(service, "] service: naïve\n") {
			t.Errorf("the service's log:\n%s", service)
		}
		if !utf8.ValidString(log) || strings.ContainsAny(log, "\r\x1b\u202e\u0085\u2028") {
			t.Errorf("the log has other bytes:\n%q", log)
		}
		if n := strings.Count(log, "goodbye"); n != 2 { // before the reload, and at the end
			t.Errorf("%d last lines:\n%s", n, log)
		}
	})
	t.Run("httpd", func(t *testing.T) { // without the option, as ever
		log, service := run(t)
		if !strings.Contains(log, `] loaded: gr\xc3\xb6\xc3\x9fer \xe6\x97\xa5`) || !strings.Contains(service, `] service: na\xc3\xafve`) {
			t.Errorf("%s\n%s", log, service)
		}
	})
}

// TestPipedTerminal: each log arrives at its own stream, whether that can be opened by
// name or not, and the last lines before the launcher ends.
//
// Once: httpd and the launcher write logs, whichever mod_wsgi it is.
func TestPipedTerminal(t *testing.T) {
	testEnv(t)
	dir := workDir(t, "")
	app := write(t, filepath.Join(dir, "app.py"), logApp)
	socket := func() (ours, theirs *os.File) {
		fds, err := syscall.Socketpair(syscall.AF_UNIX, syscall.SOCK_STREAM, 0)
		if err != nil {
			t.Fatal(err)
		}
		return os.NewFile(uintptr(fds[0]), "ours"), os.NewFile(uintptr(fds[1]), "theirs")
	}
	pipe := func() (ours, theirs *os.File) {
		ours, theirs, err := os.Pipe()
		if err != nil {
			t.Fatal(err)
		}
		return ours, theirs
	}
	for _, c := range []struct {
		name string
		kind func() (ours, theirs *os.File)
		args []string
		want string
	}{
		{"sockets", socket, nil, `loaded: gr\xc3\xb6`},
		{"UTF-8 to sockets", socket, []string{"--error-log-utf8"}, "loaded: größer"},
		{"UTF-8 to pipes", pipe, []string{"--error-log-utf8"}, "loaded: größer"},
		{"JSON to pipes", pipe, []string{"--error-log-format", "json", "--access-log-format", "json"}, `"message":"loaded: größer`},
	} {
		t.Run(c.name, func(t *testing.T) {
			port, root := freeport.Get(t), filepath.Join(shortDir(t), "r")
			args := append([]string{"start-server", app, "--log-to-terminal", "--access-log", "--host", "127.0.0.1", "--port", strconv.Itoa(port), "--server-root", root}, c.args...)
			cmd := command(t, append(args, asUser()...)...)
			read := func() (theirs *os.File, text chan string) {
				ours, theirs := c.kind()
				text = make(chan string, 1)
				go func() { data, _ := io.ReadAll(ours); text <- string(data); ours.Close() }()
				return theirs, text
			}
			outFile, outText := read()
			errFile, errText := read()
			cmd.Stdout, cmd.Stderr = outFile, errFile
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			outFile.Close()
			errFile.Close()
			s := &server{t: t, cmd: cmd, port: port, root: root, out: &bytes.Buffer{}, done: make(chan struct{})}
			s.up()
			if code, _ := s.get("/seen"); code != 200 {
				t.Errorf("status %d", code)
			}
			_ = cmd.Process.Signal(syscall.SIGTERM)
			if err := cmd.Wait(); err != nil {
				t.Error(err)
			}
			out, errs := <-outText, <-errText
			if !strings.Contains(out, "/seen") || strings.Contains(errs, "/seen") {
				t.Errorf("the access log is not on standard output, or not only there:\n%s\n---\n%s", out, errs)
			}
			if !strings.Contains(errs, c.want) || strings.Contains(out, "loaded: ") || !strings.Contains(errs, "goodbye: ") {
				t.Errorf("the error log is not on standard error, or not only there:\n%s\n---\n%s", out, errs)
			}
			if strings.HasPrefix(c.name, "JSON") {
				for line := range strings.Lines(errs) {
					if !json.Valid([]byte(line)) && !strings.HasPrefix(line, "mod_wsgi-express: ") {
						t.Errorf("%q", line)
					}
				}
			}
		})
	}
}

// common is a line of an access log in the common format.
var common = regexp.MustCompile(`^127\.0\.0\.1 - - \[[^]]+\] "GET /(\d+) HTTP/1\.1" (\d+) \S+ "-" "x*"$`)

// TestRotationUnderLoad: rotation every second and by size, reloads, renaming by
// logrotate, and the end of the server, all under load: each answered request is one
// whole line, in a file of the access log.
//
// Once: httpd and the launcher write logs, whichever mod_wsgi it is.
func TestRotationUnderLoad(t *testing.T) {
	testEnv(t)
	dir := workDir(t, "")
	app := write(t, filepath.Join(dir, "app.py"), logApp)
	for _, c := range []struct {
		name    string
		args    []string
		rotated bool
	}{
		{"size", []string{"--rotate-logs", "--max-log-size", "1"}, true},
		{"time and size", []string{"--rotate-logs", "--rotate-interval", "1", "--max-log-size", "1", "--error-log-utf8"}, true},
		{"JSON", []string{"--rotate-logs", "--rotate-interval", "1", "--access-log-format", "json", "--error-log-format", "json"}, true},
		{"logrotate without a reload", []string{"--access-log-format", "json", "--error-log-utf8"}, false},
		{"logrotate with plain files", nil, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			logs := filepath.Join(dir, strings.ReplaceAll(c.name, " ", "-"))
			format := `%h %l %u %t "%r" %>s %b "%{Referer}i" "%{User-agent}i"`
			args := append([]string{app, "--log-directory", logs, "--access-log", "--access-log-format", format, "--processes", "2"}, c.args...)
			s := start(t, dir, args...)
			var answered sync.Map
			number, all := make(chan int), sync.WaitGroup{}
			for range 6 {
				all.Go(func() {
					client := &http.Client{Transport: &http.Transport{}, Timeout: 20 * time.Second}
					for n := range number {
						req, _ := http.NewRequestWithContext(t.Context(), "GET", fmt.Sprintf("http://%s/%d", s.address(), n), nil)
						req.Header.Set("User-Agent", strings.Repeat("x", 2000+n*37%1900)) // a pipe does not tear lines of 4096 bytes
						resp, err := client.Do(req)
						if err != nil {
							continue // between the stop of an httpd and the start of the next
						}
						if _, err := io.ReadAll(resp.Body); err == nil && resp.StatusCode == 200 {
							answered.Store(strconv.Itoa(n), true)
						}
						resp.Body.Close()
					}
				})
			}
			last := time.Now().Add(12 * time.Second)
			next := time.Now().Add(time.Second)
			for n, k := 0, 0; time.Now().Before(last) || n < 1000 && time.Now().Before(last.Add(time.Minute)); n++ {
				number <- n
				if time.Now().After(next) && time.Now().Before(last) {
					next, k = time.Now().Add(3*time.Second), k+1
					if !c.rotated {
						for _, name := range []string{"access_log", "error_log"} {
							_ = os.Rename(filepath.Join(logs, name), filepath.Join(logs, fmt.Sprintf("%s.%d", name, k)))
						}
					}
					if c.name != "logrotate without a reload" {
						_ = s.cmd.Process.Signal(syscall.SIGHUP)
					}
				}
			}
			close(number)
			all.Wait()
			s.stop()
			names, _ := filepath.Glob(filepath.Join(logs, "access_log*"))
			lines := map[string]int{}
			for _, name := range names {
				data, err := os.ReadFile(name)
				if err != nil {
					t.Fatal(err)
				}
				if slices.Contains(c.args, "--max-log-size") && len(data) > 1<<20 {
					t.Errorf("%s has %d bytes", name, len(data))
				}
				if strings.Contains(format, "%h") && !slices.Contains(c.args, "--access-log-format") {
					for line := range strings.Lines(string(data)) {
						m := common.FindStringSubmatch(strings.TrimSuffix(line, "\n"))
						if m == nil || !strings.HasSuffix(line, "\n") {
							t.Fatalf("%s: %.200q", name, line)
						}
						if m[2] == "200" {
							lines[m[1]]++
						}
					}
					continue
				}
				for _, m := range pythonJSON(t, name) {
					if path, _ := m["path"].(string); m["status"] == 200.0 {
						lines[strings.TrimPrefix(path, "/")]++
					}
				}
			}
			count := 0
			answered.Range(func(n, _ any) bool {
				if count++; lines[n.(string)] != 1 {
					t.Errorf("request %s is there %d times", n, lines[n.(string)])
				}
				return !t.Failed()
			})
			t.Logf("%d requests, %d lines, %d files", count, len(lines), len(names))
			if count < 300 || len(names) < 2 {
				t.Errorf("%d requests and %d files are too few", count, len(names))
			}
			if errors, _ := filepath.Glob(filepath.Join(logs, "error_log*")); slices.Contains(c.args, "json") && c.rotated {
				loaded := 0
				for _, name := range errors {
					loaded += len(with(pythonJSON(t, name), "message", "goodbye: schöner Tag"))
				}
				if loaded < 6 { // two processes, at two reloads and at the end
					t.Errorf("only %d processes of the application have ended", loaded)
				}
			}
		})
	}
}

// logPrograms returns the processes of the launcher's program for a log, from /proc, the
// one that reads first.
func logPrograms(log string) (pids []int) {
	entries, _ := os.ReadDir("/proc")
	for _, e := range entries {
		pid, err := strconv.Atoi(e.Name())
		data, _ := os.ReadFile(filepath.Join("/proc", e.Name(), "cmdline"))
		words := strings.Split(string(data), "\x00")
		if err == nil && len(words) > 2 && words[1] == "write-log" && words[2] == "to="+log {
			if slices.Contains(words, "part=worker") {
				pids = slices.Insert(pids, 0, pid)
			} else {
				pids = append(pids, pid)
			}
		}
	}
	return pids
}

// TestKilledLogPrograms: after any one program of a log was killed, all lines written
// from then on are in it, and requests are answered meanwhile.
//
// Once: httpd and the launcher write logs, whichever mod_wsgi it is.
func TestKilledLogPrograms(t *testing.T) {
	testEnv(t)
	dir := workDir(t, "")
	app := write(t, filepath.Join(dir, "app.py"), "import sys\ndef application(environ, start_response):\n    print('message', environ['PATH_INFO'], file=sys.stderr)\n    start_response('200 OK', [])\n    return [b'']\n")
	logs := filepath.Join(dir, "logs")
	s := start(t, dir, app, "--log-directory", logs, "--access-log", "--access-log-format", "json", "--error-log-format", "json")
	number := 0
	for round := range 3 {
		for name, count := range map[string]int{"access_log": 1, "error_log": 2} {
			var pids []int
			eventually(t, "the programs run", func() bool {
				pids = logPrograms(filepath.Join(logs, name))
				return len(pids) == count
			})
			if t.Failed() {
				return
			}
			pid := pids[0]
			if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
				t.Fatal(err)
			}
			for range 20 { // while the program is replaced
				if code, _ := s.get(fmt.Sprintf("/%d", number)); code != 200 {
					t.Errorf("status %d", code)
				}
				number++
			}
			eventually(t, "the program is replaced", func() bool {
				now := logPrograms(filepath.Join(logs, name))
				return len(now) == count && !slices.Contains(now, pid)
			})
			if round == 2 && name == "error_log" { // the one that keeps the pipe
				if err := syscall.Kill(logPrograms(filepath.Join(logs, name))[1], syscall.SIGKILL); err != nil {
					t.Fatal(err)
				}
				s.get(fmt.Sprintf("/%d", number))
				number++
			}
		}
	}
	s.stop()
	// One that has only just replaced another may still be starting.
	eventually(t, "the programs have ended", func() bool {
		return len(logPrograms(filepath.Join(logs, "access_log")))+len(logPrograms(filepath.Join(logs, "error_log"))) == 0
	})
	access, errors := pythonJSON(t, filepath.Join(logs, "access_log")), pythonJSON(t, filepath.Join(logs, "error_log"))
	for n := range number {
		if len(with(access, "path", fmt.Sprintf("/%d", n))) != 1 {
			t.Errorf("request %d is not in the access log", n)
		}
		if len(with(errors, "message", fmt.Sprintf("message /%d", n))) != 1 {
			t.Errorf("the message of request %d is not in the error log", n)
		}
	}
}

// TestLogsOnAFullDisk: requests are answered while the disk is full, every line is whole,
// and the logs go on, with what was kept, once there is space.
//
// Once: httpd and the launcher write logs, whichever mod_wsgi it is.
func TestLogsOnAFullDisk(t *testing.T) {
	testEnv(t)
	if os.Geteuid() != 0 {
		t.Skip("only root can mount a small file system")
	}
	dir := workDir(t, "")
	app := write(t, filepath.Join(dir, "app.py"), logApp)
	logs := filepath.Join(dir, "logs")
	if err := os.Mkdir(logs, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Mount("tmpfs", logs, "tmpfs", 0, "size=256k"); err != nil {
		t.Skip(err)
	}
	t.Cleanup(func() { _ = syscall.Unmount(logs, syscall.MNT_DETACH) })
	s := start(t, dir, app, "--log-directory", logs, "--access-log", "--access-log-format", "json", "--error-log-format", "json", "--rotate-logs", "--rotate-interval", "1")
	s.get("/0")
	filler := filepath.Join(logs, "filler")
	full := func() {
		f, err := os.Create(filler)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		for err == nil {
			_, err = f.Write(make([]byte, 512))
		}
	}
	full()
	for n := 1; n < 300; n++ {
		if code, _ := s.get(fmt.Sprintf("/%d", n)); code != 200 {
			t.Fatalf("status %d while the disk is full", code)
		}
	}
	if err := os.Remove(filler); err != nil {
		t.Fatal(err)
	}
	s.get("/300")
	s.stop()
	var paths, messages []string
	names, _ := filepath.Glob(filepath.Join(logs, "*_log*"))
	for _, name := range names {
		for _, m := range pythonJSON(t, name) {
			if text, ok := m["message"].(string); ok {
				messages = append(messages, text)
			} else {
				paths = append(paths, m["path"].(string))
			}
		}
	}
	slices.Sort(paths)
	if len(paths) != 301 || len(slices.Compact(paths)) != 301 {
		t.Errorf("%d requests of 301 are in the access log", len(paths))
	}
	if all := strings.Join(messages, "\n"); !strings.Contains(all, "cannot write the log "+filepath.Join(logs, "access_log")) || !strings.Contains(all, "no space left on device") {
		t.Errorf("the error log:\n%s", all)
	}
}

// TestLogOptions: values and places that cannot work are refused before anything starts.
//
// Once: httpd and the launcher write logs, whichever mod_wsgi it is.
func TestLogOptions(t *testing.T) {
	testEnv(t)
	dir := workDir(t, "")
	app := write(t, filepath.Join(dir, "app.py"), logApp)
	program := write(t, filepath.Join(dir, "rotate"), "#!/bin/sh\n")
	if err := os.Chmod(program, 0o755); err != nil {
		t.Fatal(err)
	}
	base := append([]string{"start-server", app, "--port", strconv.Itoa(freeport.Get(t))}, asUser()...)
	for _, c := range []struct{ args, want string }{
		{"--rotate-logs --rotate-interval never", `"never" is neither daily, hourly, monthly, weekly nor a number of seconds`},
		{"--rotate-logs --rotate-interval 0", "nor a number of seconds"},
		{"--rotate-logs --max-log-files -1", "-1 is not between 0 and"},
		{"--rotate-logs --rotatelogs-executable " + program + " --error-log-utf8", "option --error-log-utf8 cannot be combined with --rotatelogs-executable"},
		{"--rotate-logs --rotatelogs-executable " + program + " --error-log-format json", "option --error-log-format json cannot be combined"},
		{"--rotate-logs --rotatelogs-executable " + program + " --access-log --access-log-format json", "option --access-log-format json cannot be combined"},
	} {
		refused(t, dir, 2, c.want, append(slices.Clone(base), strings.Fields(c.args)...)...)
	}
	// Where nothing can be written: a directory in place of the log, or a directory that
	// cannot be changed, which only others than root notice.
	taken := filepath.Join(dir, "taken")
	if err := os.MkdirAll(filepath.Join(taken, "access_log"), 0o755); err != nil {
		t.Fatal(err)
	}
	refused(t, dir, 1, "the log "+filepath.Join(taken, "access_log")+" cannot be written: it is a directory",
		append(slices.Clone(base), "--access-log", "--access-log-format", "json", "--log-directory", taken)...)
}

// TestLogOfOrdinaryUser: a log directory that the launcher cannot write to is refused.
//
// Once: httpd and the launcher write logs, whichever mod_wsgi it is.
func TestLogOfOrdinaryUser(t *testing.T) {
	testEnv(t)
	dir := workDir(t, "")
	app := write(t, filepath.Join(dir, "app.py"), logApp)
	logs := filepath.Join(dir, "logs")
	if err := os.Mkdir(logs, 0o555); err != nil {
		t.Fatal(err)
	}
	cmd := command(t, "start-server", app, "--port", strconv.Itoa(freeport.Get(t)), "--server-root", filepath.Join(shortDir(t), "root"), "--log-directory", logs, "--error-log-utf8")
	if os.Geteuid() == 0 {
		root := workDir(t, "root")
		if err := os.Chown(root, 65534, 65534); err != nil {
			t.Fatal(err)
		}
		cmd.Args = append(cmd.Args, "--server-root", filepath.Join(root, "r"))
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
	}
	guard := time.AfterFunc(30*time.Second, func() { _ = cmd.Process.Signal(syscall.SIGTERM) })
	defer guard.Stop()
	out, err := cmd.CombinedOutput()
	if want := "the log " + filepath.Join(logs, "error_log") + " cannot be written: a file cannot be created in " + logs + ": permission denied"; err == nil || !strings.Contains(string(out), want) {
		t.Errorf("%v, want %q\n%s", err, want, out)
	}
}
