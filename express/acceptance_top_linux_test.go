//go:build acceptance && linux

package express_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"modwsgi/internal/freeport"
)

// timesReport is what status --json prints of durations.
type timesReport struct {
	PID          int
	State        string
	Certificates []struct {
		Names    []string
		NotAfter string `json:"not_after"`
	}
	Supervised struct {
		Requests int
		Minute   timesOf `json:"last_minute"`
		Overall  timesOf `json:"since_start"`
		Slowest  []struct {
			Method, Path string
			Status       int
			Seconds      float64
		}
	}
}

type timesOf struct {
	Requests, Failed int
	P50              float64 `json:"p50_seconds"`
	P90              float64 `json:"p90_seconds"`
	P99              float64 `json:"p99_seconds"`
	Length           float64 `json:"length_seconds"`
}

func (s *server) times() (r timesReport) {
	s.t.Helper()
	out, err := command(s.t, "status", "--json", "--server-root", s.root).Output()
	if err == nil {
		err = json.Unmarshal(out, &r)
	}
	if err != nil {
		s.t.Fatalf("%v\n%s", err, out)
	}
	return r
}

// hostilePath is the path of a request that a terminal and a browser must not obey.
const hostilePath = "/%1b]0;owned%07/<script>document.title='owned'</script>/\u202e\xff\x9b31m"

// shownPath is what is shown of it.
const shownPath = "/%1b]0;owned%07/<script>document.title='owned'</script>/%E2%80%AE%FF%9B31m"

// TestLatencies: durations and the slowest requests of all processes, in total and of the last
// minute, and that both survive a reload.
func TestLatencies(t *testing.T) {
	both(t, []string{"--processes", "2", "--threads", "2"}, func(t *testing.T, s *server, _ func(...string), version func(string)) {
		before := s.times().Supervised.Requests
		for range 6 {
			s.get("/quick?0")
		}
		s.get("/slow?1")
		s.get("/slow?0.7") // the other request for this path took longer
		s.get("/slower?1.5")
		code, _ := s.send("GET http://user:password@" + s.address() + hostilePath + "?0.9 HTTP/1.1\r\nHost: " + s.address() + "\r\nConnection: close\r\n\r\n")
		s.get("/fails?x") // not a number
		check := func(r timesReport) {
			t.Helper()
			for _, l := range []timesOf{r.Supervised.Minute, r.Supervised.Overall} {
				if l.Requests < 10 || l.Failed < 1 || l.P50 > 0.6 || l.P99 < 1 || l.P99 > 60 || l.P50 > l.P90 || l.P90 > l.P99 || l.Length <= 0 {
					t.Errorf("%+v", l)
				}
			}
			if r.Supervised.Overall.Requests != r.Supervised.Requests {
				t.Errorf("%d requests, the distribution has %d", r.Supervised.Requests, r.Supervised.Overall.Requests)
			}
			var paths []string
			for k, q := range r.Supervised.Slowest {
				paths = append(paths, q.Path)
				if k > 0 && q.Seconds > r.Supervised.Slowest[k-1].Seconds || q.Method != "GET" {
					t.Errorf("%+v", r.Supervised.Slowest)
				}
			}
			slow, slower := slices.Index(paths, "/slow"), slices.Index(paths, "/slower")
			if slow < 0 || slower < 0 || slow < slower || r.Supervised.Slowest[slow].Seconds < 1 || slices.Contains(paths[slow+1:], "/slow") || r.Supervised.Slowest[slow].Status != 200 {
				t.Errorf("%+v", r.Supervised.Slowest)
			}
			if n := slices.Index(paths, "/fails"); n < 0 || r.Supervised.Slowest[n].Status != 500 {
				t.Errorf("%+v", r.Supervised.Slowest)
			}
			for _, p := range paths {
				if strings.Contains(p, "?") || strings.Contains(p, "password") || strings.ContainsFunc(p, func(r rune) bool { return r <= ' ' || r > '~' }) {
					t.Errorf("the path %q", p)
				}
			}
			if code == 200 && !slices.Contains(paths, shownPath) {
				t.Errorf("no %s in %q", shownPath, paths)
			}
		}
		var r timesReport
		eventually(t, "all are counted", func() bool { r = s.times(); return r.Supervised.Requests >= before+11 })
		check(r)
		version("v1")
		s.reload(0, "has reloaded")
		check(s.times())
		eventually(t, "the old httpd has ended", func() bool { return s.times().PID != r.PID && len(s.report().Leaving) == 0 })
		check(s.times())
		text, err := command(t, "status", "--server-root", s.root).Output()
		if err != nil || !regexp.MustCompile(`(?m)^last minute: .* requests/s, half of them within .*, 90 % within .*, 99 % within `).Match(text) || !regexp.MustCompile(`(?m)^slowest: +[0-9.]+ s for GET /slower, status 200, `).Match(text) {
			t.Errorf("%v\n%s", err, text)
		}
	})
}

// TestSlowestAreFew: of many slow paths, the slowest ones are kept, and the longest path is
// cut.
func TestSlowestAreFew(t *testing.T) {
	testEnv(t)
	app, _ := versionedApp(t)
	s := begin(t, filepath.Dir(app), app, "--threads", "20").up()
	eventually(t, "its PID file", func() bool { return s.pid() > 0 })
	before := s.times().Supervised.Requests
	long := strings.Repeat("/llll", 60)
	s.get(long + "?2")
	for k := range 25 {
		s.get(fmt.Sprintf("/%d?%g", k, 0.01+float64(k)*0.02))
	}
	var r timesReport
	eventually(t, "all are counted", func() bool { r = s.times(); return r.Supervised.Requests >= before+26 })
	if len(r.Supervised.Slowest) != 10 || !strings.HasPrefix(r.Supervised.Slowest[0].Path, "/llll/") || !strings.HasSuffix(r.Supervised.Slowest[0].Path, "...") || len(r.Supervised.Slowest[0].Path) > 180 {
		t.Errorf("%+v", r.Supervised.Slowest)
	}
	least := r.Supervised.Slowest[9].Seconds
	if least < 0.2 {
		t.Errorf("the slowest ones are not kept: %+v", r.Supervised.Slowest)
	}
}

// ask sends a request to a page of the launcher.
func askPage(t *testing.T, method, url string, headers ...string) (*http.Response, string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	for k := 0; k+1 < len(headers) && headers[k] != ""; k += 2 {
		if headers[k] == "Host" {
			req.Host = headers[k+1]
		}
		req.Header.Set(headers[k], headers[k+1])
	}
	resp, err := alwaysNew().Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp, string(body)
}

// TestDashboard: the page and its data, to this machine only and not to pages of other sites.
func TestDashboard(t *testing.T) {
	testEnv(t)
	port := freeport.Get(t)
	at := "http://127.0.0.1:" + strconv.Itoa(port)
	app, _ := versionedApp(t)
	s := begin(t, filepath.Dir(app), app, "--dashboard", strconv.Itoa(port), "--metrics-listen", strconv.Itoa(port)).up()
	eventually(t, "its PID file", func() bool { return s.pid() > 0 })
	if !strings.Contains(s.out.String(), "Dashboard          : "+at+"/") {
		t.Errorf("the banner does not name it:\n%s", s.out)
	}
	resp, page := askPage(t, "GET", at+"/")
	policy := resp.Header.Get("Content-Security-Policy")
	for _, want := range []string{"default-src 'none'", "script-src 'sha256-", "connect-src 'self'", "frame-ancestors 'none'", "base-uri 'none'"} {
		if !strings.Contains(policy, want) {
			t.Errorf("no %s in %s", want, policy)
		}
	}
	if resp.StatusCode != 200 || !strings.HasPrefix(page, "<!doctype html>") || resp.Header.Get("Content-Type") != "text/html; charset=utf-8" || strings.Contains(policy, "unsafe") {
		t.Errorf("%d %v", resp.StatusCode, resp.Header)
	}
	s.send("GET " + hostilePath + "?0 HTTP/1.1\r\nHost: " + s.address() + "\r\nConnection: close\r\n\r\n")
	var r timesReport
	eventually(t, "a request is counted", func() bool {
		resp, body := askPage(t, "GET", at+"/status.json")
		if resp.StatusCode != 200 || resp.Header.Get("Content-Type") != "application/json" || resp.Header.Get("X-Content-Type-Options") != "nosniff" || resp.Header.Get("Access-Control-Allow-Origin") != "" ||
			resp.Header.Get("Cross-Origin-Resource-Policy") != "same-origin" || resp.Header.Get("Cache-Control") != "no-store" || strings.Contains(body, "<script") {
			t.Fatalf("%d %v %s", resp.StatusCode, resp.Header, body)
		}
		r = timesReport{}
		if err := json.Unmarshal([]byte(body), &r); err != nil {
			t.Fatal(err)
		}
		return r.Supervised.Requests > 0 && r.State == "ready"
	})
	for _, c := range []struct {
		method, path, name, value string
		code                      int
	}{
		{"GET", "/metrics", "Host", "localhost:1", 200},
		{"GET", "/status.json", "Host", "[::1]", 200},
		{"GET", "/", "Host", "example.com", 421},
		{"GET", "/status.json", "Host", "127.0.0.1.example.com:" + strconv.Itoa(port), 421},
		{"GET", "/metrics", "Host", "example.com", 421},
		{"GET", "/status.json", "Sec-Fetch-Site", "cross-site", 403},
		{"GET", "/status.json", "Sec-Fetch-Site", "same-site", 403},
		{"GET", "/status.json", "Sec-Fetch-Site", "same-origin", 200},
		{"GET", "/", "Sec-Fetch-Site", "cross-site", 200}, // a link
		{"POST", "/status.json", "", "", 405},
		{"OPTIONS", "/status.json", "Origin", "http://example.com", 405},
		{"HEAD", "/", "", "", 200},
		{"GET", "/x", "", "", 404},
	} {
		if resp, body := askPage(t, c.method, at+c.path, c.name, c.value); resp.StatusCode != c.code || c.code != 200 && strings.Contains(body, "server_root") {
			t.Errorf("%s %s with %s %q: %d", c.method, c.path, c.name, c.value, resp.StatusCode)
		}
	}
	if code, body := asks(t, http.DefaultClient, at+"/metrics"); code != 200 || !strings.Contains(body, `mod_wsgi_request_duration_seconds_bucket{le="0.001"}`) {
		t.Errorf("%d %s", code, body)
	}
	// Without the option, the address has only the metrics.
	all := append(onLoopback("setup-server", nil), "--port", strconv.Itoa(s.port), "--server-root", s.root, app, "--metrics-listen", strconv.Itoa(port))
	if out, err := command(t, append(all, asUser()...)...).CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	s.reload(0, "has reloaded")
	eventually(t, "the page is not there", func() bool { code, _ := asks(t, http.DefaultClient, at+"/"); return code == 404 })
	if code, _ := asks(t, http.DefaultClient, at+"/metrics"); code != 200 {
		t.Errorf("metrics: %d", code)
	}
}

// TestDashboardPath: inside the site, those whom the access options admit see the page.
func TestDashboardPath(t *testing.T) {
	testEnv(t)
	port := freeport.Get(t)
	app, _ := versionedApp(t)
	auth := write(t, filepath.Join(filepath.Dir(app), "auth.py"), `
def check_password(environ, user, password):
    return (user, password) == ("anna", "secret")
`)
	s := begin(t, filepath.Dir(app), app, "--dashboard", strconv.Itoa(port), "--dashboard-path", "/-/dashboard", "--auth-user-script", auth, "--server-name", "www.example.com")
	if !s.upUnless("mod_proxy", "mod_proxy_http") {
		t.Skip("this httpd has no mod_proxy_http")
	}
	at := "http://" + s.address()
	ask := func(path, user string) (*http.Response, string) {
		t.Helper()
		headers := []string{"Host", "www.example.com"}
		if user != "" {
			req := &http.Request{Header: http.Header{}}
			name, password, _ := strings.Cut(user, ":")
			req.SetBasicAuth(name, password)
			headers = append(headers, "Authorization", req.Header.Get("Authorization"))
		}
		return askPage(t, "GET", at+path, headers...)
	}
	for _, path := range []string{"/-/dashboard/", "/-/dashboard/status.json", "/-/dashboard"} {
		for _, user := range []string{"", "anna:wrong"} {
			if resp, body := ask(path, user); resp.StatusCode != 401 || strings.Contains(body, "server_root") {
				t.Errorf("%s as %q: %d", path, user, resp.StatusCode)
			}
		}
	}
	if resp, body := ask("/-/dashboard/", "anna:secret"); resp.StatusCode != 200 || !strings.Contains(body, "<!doctype html>") || !strings.Contains(resp.Header.Get("Content-Security-Policy"), "default-src 'none'") {
		t.Errorf("%d %s", resp.StatusCode, body)
	}
	eventually(t, "the application is ready", func() bool {
		resp, body := ask("/-/dashboard/status.json", "anna:secret")
		return resp.StatusCode == 200 && strings.Contains(body, `"state":"ready"`)
	})
	if resp, body := ask("/", "anna:secret"); resp.StatusCode != 200 || body != "v0" {
		t.Errorf("the application: %d %s", resp.StatusCode, body)
	}
	// A request for the name of the site does not reach the page directly.
	if resp, _ := askPage(t, "GET", "http://127.0.0.1:"+strconv.Itoa(port)+"/", "Host", "www.example.com"); resp.StatusCode != http.StatusMisdirectedRequest {
		t.Errorf("%d", resp.StatusCode)
	}
}

// TestCertificateInStatus: the certificate that httpd serves.
func TestCertificateInStatus(t *testing.T) {
	testEnv(t)
	app, _ := versionedApp(t)
	stem, _ := certificate(t, filepath.Dir(app), "www.example.com")
	port := freeport.Get(t)
	s := begin(t, filepath.Dir(app), app, "--https-port", strconv.Itoa(freeport.Get(t)), "--ssl-certificate", stem, "--server-name", "www.example.com", "--metrics-listen", strconv.Itoa(port))
	if !tlsUp(s) {
		t.Skip("this httpd has no mod_ssl")
	}
	eventually(t, "its PID file", func() bool { return s.pid() > 0 })
	if list := s.times().Certificates; len(list) != 1 || !slices.Contains(list[0].Names, "www.example.com") || list[0].NotAfter == "" {
		t.Errorf("%+v", list)
	}
	if _, body := asks(t, http.DefaultClient, fmt.Sprintf("http://127.0.0.1:%d/metrics", port)); !strings.Contains(body, `mod_wsgi_certificate_not_after_seconds{file="`+stem+`.crt"} `) {
		t.Errorf("%s", body)
	}
	for _, c := range []string{"status", "top"} {
		if out, err := command(t, c, "--server-root", s.root).Output(); err != nil || !regexp.MustCompile(`(?m)^cert.*www\.example\.com.* \(2\d\d\d-`).Match(out) {
			t.Errorf("%s: %v\n%s", c, err, out)
		}
	}
}

// TestTop: what a terminal shows at several sizes, while the server stops and comes back, and
// that the terminal is as before at the end.
func TestTop(t *testing.T) {
	testEnv(t)
	app, _ := versionedApp(t)
	s := daemon(t, app, "--processes", "2", "--threads", "3")
	t.Cleanup(func() { _ = command(t, "stop", "--server-root", s.root).Run() })
	for range 5 {
		s.get("/quick?0")
	}
	s.get("/reports/november?1.2")
	s.send("GET " + hostilePath + "?0.6 HTTP/1.1\r\nHost: " + s.address() + "\r\nConnection: close\r\n\r\n")
	path, _, env := unpacked(t, "tmux", "tmux", "libevent-core-2.1-7", "libutempter0")
	socket := filepath.Join(shortDir(t), "tmux")
	tmux := func(args ...string) string {
		t.Helper()
		cmd := exec.CommandContext(t.Context(), path, append([]string{"-S", socket, "-f", "/dev/null"}, args...)...)
		cmd.Env = env
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Fatalf("tmux %q: %v\n%s", args, err, out)
		}
		return string(out)
	}
	tmux("new-session", "-d", "-x", "80", "-y", "30", "/bin/sh")
	defer func() {
		cmd := exec.Command(path, "-S", socket, "kill-server")
		cmd.Env = env
		_ = cmd.Run()
	}()
	screen := func() string { return tmux("capture-pane", "-p") }
	shows := func(want ...string) {
		t.Helper()
		eventually(t, fmt.Sprintf("%q on the screen", want), func() bool {
			now := screen()
			return !slices.ContainsFunc(want, func(w string) bool { return !strings.Contains(now, w) })
		})
		if t.Failed() {
			t.Fatalf("the screen is\n%s", screen())
		}
	}
	word := func(path string) string { return "'" + strings.ReplaceAll(path, "'", `'\''`) + "'" }
	enter := func(line string) { tmux("send-keys", "-l", line); tmux("send-keys", "Enter") }
	enter("PS1='$ '; TERM=screen; export LANG=C.UTF-8; echo be''fore; stty -g > " + word(filepath.Join(s.root, "stty1")))
	shows("before")
	top := word(launcher(t)) + " top --server-root " + word(s.root)
	enter(top + " --interval 0.3")
	shows("requests", "in the last minute", "p50", "0 of 6", "0/3", "GET /reports/november", "q: quit", "░")
	if now := tmux("capture-pane", "-p", "-e"); !strings.Contains(now, "\x1b[32m") {
		t.Errorf("no color in %q", now)
	}
	if title := tmux("display-message", "-p", "#{pane_title}"); strings.Contains(title, "owned") {
		t.Errorf("the title is %q", title)
	}
	for _, columns := range []int{40, 160, 80} {
		tmux("resize-window", "-x", strconv.Itoa(columns), "-y", "30")
		shows("0 of 6", "q: quit", "GET /reports/no")
		for line := range strings.Lines(screen()) {
			if n := len([]rune(strings.TrimRight(line, "\n"))); n > columns {
				t.Errorf("%d columns: %q", columns, line)
			}
		}
	}
	s.apachectl(0, "", "stop")
	shows("httpd is not running", "q: quit")
	s.apachectl(0, "", "start")
	shows("0 of 6", "0/3")
	tmux("send-keys", "q")
	shows("before")
	enter("echo co''de=$?; stty -g > " + word(filepath.Join(s.root, "stty2")) + "; cmp " + word(filepath.Join(s.root, "stty1")) + " " + word(filepath.Join(s.root, "stty2")) + " && echo sa''me")
	shows("code=0", "same")
	enter("clear; NO_COLOR=1 " + top)
	shows("q: quit")
	if now := tmux("capture-pane", "-p", "-e"); strings.Contains(now, "\x1b[3") {
		t.Errorf("color in %q", now)
	}
	tmux("send-keys", "C-c")
	shows("$") // top reads what is typed until it has ended
	enter("clear; LANG=C " + top + " --count 2; echo co''de=$?")
	shows("code=0")
	enter("clear; LANG=C TERM=dumb " + top + " --count 2 --interval 0.2; echo co''de=$?")
	shows("code=0", "......")
}

// TestTopWithoutATerminal prints one state, or as many as are asked for.
func TestTopWithoutATerminal(t *testing.T) {
	testEnv(t)
	app, _ := versionedApp(t)
	s := daemon(t, app)
	t.Cleanup(func() { _ = command(t, "stop", "--server-root", s.root).Run() })
	run := func(code int, args ...string) string {
		t.Helper()
		cmd := command(t, append([]string{"top"}, args...)...)
		cmd.Env = append(cmd.Env, "TERM=xterm-256color", "LANG=C.UTF-8")
		var errs bytes.Buffer
		cmd.Stderr = &errs
		out, _ := cmd.Output()
		if cmd.ProcessState.ExitCode() != code || strings.Contains(string(out), "\x1b") {
			t.Errorf("%q: %d\n%q\n%s", args, cmd.ProcessState.ExitCode(), out, &errs)
		}
		return string(out) + errs.String()
	}
	if out := run(0, "--server-root", s.root); strings.Count(out, "slowest requests") != 1 {
		t.Errorf("%s", out)
	}
	if out := run(0, "--server-root", s.root, "--count", "3", "--interval", "0.1"); strings.Count(out, "slowest requests") != 3 || !strings.Contains(out, "/s now") {
		t.Errorf("%s", out)
	}
	// Without a server root, the instances that run are named.
	if out := run(1, "--port", "1"); !strings.Contains(out, "is not a server root") || !strings.Contains(out, filepath.Base(filepath.Dir(s.root))) {
		t.Errorf("%s", out)
	}
	s.killWatch()
	if out := run(0, "--server-root", s.root); !strings.Contains(out, "not counted: the process that supervises httpd does not answer") {
		t.Errorf("%s", out)
	}
	s.apachectl(0, "", "stop")
	if out := run(3, "--server-root", s.root); !strings.Contains(out, "httpd is not running") {
		t.Errorf("%s", out)
	}
}
