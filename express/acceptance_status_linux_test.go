//go:build acceptance && linux

package express_test

import (
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"modwsgi/internal/freeport"
)

// statusReport is what status --json prints.
type statusReport struct {
	Running          bool
	PID              int
	State            string
	Processes        int
	Threads          int
	Capacity         int
	Busy             int
	Queued           int
	Connections      int
	ConnectionsLimit int `json:"connections_limit"`
	Workers          []struct {
		PID     int
		Busy    *int
		Loaded  bool
		Memory  int64 `json:"memory_bytes"`
		Started time.Time
	}
	Leaving    []struct{ PID, Busy int }
	Failure    string
	Supervised *struct {
		Reloads     int
		Refused     int    `json:"reloads_refused"`
		LastRefusal string `json:"last_refusal"`
		Requests    int
		Statuses    map[string]int `json:"requests_by_status"`
		Bytes       int            `json:"response_bytes"`
		Seconds     float64        `json:"request_seconds"`
		Ends        []processEnd
		Counts      map[string]int `json:"ends_by_reason"`
	}
}

type processEnd struct {
	PID    int
	Reason string
}

// report asks for the status as JSON.
func (s *server) report() (r statusReport) {
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

// TestStatusCounts: running and waiting requests, in total and by process, what has been
// served, and that this survives a reload.
func TestStatusCounts(t *testing.T) {
	both(t, []string{"--processes", "2", "--threads", "2"}, func(t *testing.T, s *server, _ func(...string), version func(string)) {
		first := s.report()
		if first.State != "ready" || first.Processes != 2 || first.Threads != 2 || first.Capacity != 4 || first.Busy != 0 || first.Queued != 0 || first.ConnectionsLimit < 100 || len(first.Workers) != 2 || first.Supervised == nil {
			t.Fatalf("an idle server: %+v", first)
		}
		if first.PID != s.pid() {
			t.Errorf("process %d, in the PID file is %d", first.PID, s.pid())
		}
		eventually(t, "20 requests are counted", func() bool { first = s.report(); return first.Supervised.Requests >= 20 })
		served := first.Supervised.Requests
		if served < 20 || first.Supervised.Statuses["2xx"] != served {
			t.Errorf("after 20 requests: %+v", *first.Supervised)
		}
		var wait sync.WaitGroup
		for range 7 {
			wait.Go(func() {
				if body, err := (&rawClient{dial: s.tcp}).get("/?4"); err != nil || body != "v0" {
					t.Errorf("%q, %v", body, err)
				}
			})
		}
		var r statusReport
		eventually(t, "four requests run and three wait", func() bool {
			r = s.report()
			return r.Busy == 4 && r.Queued == 3
		})
		sum := 0
		for _, w := range r.Workers {
			sum += *w.Busy
			if !w.Loaded || w.Memory < 1<<20 || time.Since(w.Started) > time.Hour || w.Started.After(time.Now()) {
				t.Errorf("process %+v", w)
			}
		}
		if sum != 4 || r.Connections != 7 {
			t.Errorf("%d requests run in the processes, %d connections: %+v", sum, r.Connections, r)
		}
		text, err := command(t, "status", "--server-root", s.root).Output()
		if err != nil || !strings.Contains(string(text), "4 of 4 (2 * 2 threads) run, 3 more wait") {
			t.Errorf("%v\n%s", err, text)
		}
		version("v1")
		s.reload(0, "has reloaded")
		r = s.report()
		if r.Supervised.Reloads != 1 || len(r.Leaving) != 1 || r.Leaving[0].PID != first.PID || r.Leaving[0].Busy == 0 {
			t.Errorf("an httpd that completes requests: %+v", r)
		}
		wait.Wait()
		eventually(t, "the old httpd has ended", func() bool { return len(s.report().Leaving) == 0 })
		s.get("/nothing/here?x") // answered with 500: the query is not a number
		// httpd counts a request after its response.
		eventually(t, "it is counted", func() bool { r = s.report(); return r.Supervised.Requests >= served+8 })
		if c := r.Supervised; c.Requests != served+8 || c.Statuses["5xx"] != 1 || c.Statuses["2xx"] != served+7 || c.Seconds < 7*4 || c.Bytes < 2*(served+7) || len(c.Ends) != 0 {
			t.Errorf("after 8 more requests: %+v", *c)
		}
		version("broken")
		s.reload(1, "this version is broken")
		if r = s.report(); r.Supervised.Refused != 1 || len(r.Supervised.Ends) != 0 || r.Failure != "" || !strings.Contains(r.Supervised.LastRefusal, "this version is broken") || r.State != "ready" {
			t.Errorf("a refused reload: %+v", r)
		}
	})
}

// TestStatusEnds: the reasons for which processes of the application were replaced.
func TestStatusEnds(t *testing.T) {
	testEnv(t)
	for want, c := range map[string]struct {
		args []string
		end  func(t *testing.T, s *server, app string, pid int)
	}{
		"killed": {nil, func(t *testing.T, s *server, app string, pid int) { kill(t, pid, syscall.SIGKILL) }},
		"script_reload": {nil, func(t *testing.T, s *server, app string, pid int) {
			write(t, app, versioned+"\n")
			s.get("/")
		}},
		"maximum_requests": {[]string{"--maximum-requests", "3"}, func(t *testing.T, s *server, app string, pid int) {
			for range 4 {
				s.get("/")
			}
		}},
		"request_timeout":  {[]string{"--request-timeout", "1", "--threads", "1"}, func(t *testing.T, s *server, app string, pid int) { s.get("/?6") }},
		"restart_interval": {[]string{"--restart-interval", "2"}, func(t *testing.T, s *server, app string, pid int) {}},
		"evicted":          {nil, func(t *testing.T, s *server, app string, pid int) { kill(t, pid, syscall.SIGUSR1) }},
	} {
		t.Run(want, func(t *testing.T) {
			t.Parallel() // mostly they wait
			app, _ := versionedApp(t)
			s := begin(t, filepath.Dir(app), append([]string{app}, c.args...)...).up()
			eventually(t, "its PID file", func() bool { return s.pid() > 0 })
			pid := 0
			eventually(t, "it has loaded", func() bool {
				r := s.report()
				if len(r.Workers) != 1 || !r.Workers[0].Loaded {
					return false
				}
				pid = r.Workers[0].PID
				return true
			})
			c.end(t, s, app, pid)
			names := []string{want}
			if want == "evicted" { // mod_wsgi 5 and 6 name it differently
				names = []string{"graceful_signal", "eviction_signal"}
			}
			eventually(t, "the end is known", func() bool {
				// With an interval, others may have ended before this one, and after it.
				r := s.report()
				ended := slices.ContainsFunc(r.Supervised.Ends, func(e processEnd) bool {
					return e.PID == pid && slices.Contains(names, e.Reason) && r.Supervised.Counts[e.Reason] > 0
				})
				return ended && len(r.Workers) == 1 && r.Workers[0].PID != pid
			})
		})
	}
}

func kill(t *testing.T, pid int, kind syscall.Signal) {
	t.Helper()
	if err := syscall.Kill(pid, kind); err != nil {
		t.Fatal(err)
	}
}

// TestStatusFromOutside: what can be seen without the process that supervises httpd.
func TestStatusFromOutside(t *testing.T) {
	testEnv(t)
	app, _ := versionedApp(t)
	s := daemon(t, app, "--threads", "2")
	t.Cleanup(func() { _ = command(t, "stop", "--server-root", s.root).Run() })
	s.killWatch()
	var wait sync.WaitGroup
	for range 3 {
		wait.Go(func() { _, _ = (&rawClient{dial: s.tcp}).get("/?4") })
	}
	eventually(t, "two requests run and one waits", func() bool {
		r := s.report()
		return r.Supervised == nil && r.State == "running" && r.Busy == 2 && r.Queued == 1 && len(r.Workers) == 1 && *r.Workers[0].Busy == 2
	})
	wait.Wait()
}

// TestStatusOfEmbeddedMode: httpd's processes run the application.
func TestStatusOfEmbeddedMode(t *testing.T) {
	testEnv(t)
	app, _ := versionedApp(t)
	s := begin(t, filepath.Dir(app), app, "--embedded-mode").up()
	eventually(t, "its PID file", func() bool { return s.pid() > 0 })
	var wait sync.WaitGroup
	for range 3 {
		wait.Go(func() { _, _ = (&rawClient{dial: s.tcp}).get("/?4") })
	}
	eventually(t, "three requests run", func() bool {
		r := s.report()
		return r.State == "ready" && r.Busy == 3 && r.Processes == 0 && r.Capacity >= 3 && len(r.Workers) > 0
	})
	wait.Wait()
}

// alwaysNew is a client that opens a connection for each request.
func alwaysNew() *http.Client {
	return &http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: 20 * time.Second}
}

// asks returns the status and the body of an answer; 0 for none.
func asks(t *testing.T, client *http.Client, url string) (int, string) {
	t.Helper()
	resp, err := client.Get(url)
	if err != nil {
		return 0, err.Error()
	}
	defer resp.Body.Close()
	body, _ := io.ReadAll(resp.Body)
	return resp.StatusCode, string(body)
}

// TestHealth: the answers follow the application and the end of the server, whatever
// else is configured, and requests for them are not counted.
func TestHealth(t *testing.T) {
	both(t, []string{"--health-path", "/healthz", "--threads", "2"}, func(t *testing.T, s *server, again func(...string), version func(string)) {
		client := alwaysNew()
		at := "http://" + s.address()
		wants := func(path string, code int, text string) {
			t.Helper()
			if got, body := asks(t, client, at+path); got != code || body != text {
				t.Errorf("%s: %d %q, want %d %q", path, got, body, code, text)
			}
		}
		before := s.report().Supervised.Requests
		wants("/healthz", 200, "ready\n")
		wants("/healthz/live", 200, "live\n")
		wants("/healthz?x", 200, "ready\n")
		if n := s.report().Supervised.Requests; n != before {
			t.Errorf("%d requests for the health were counted", n-before)
		}
		if code, body := asks(t, client, at+"/healthz/other"); body == "ready\n" || body == "live\n" {
			t.Errorf("another path: %d %q", code, body)
		}
		// All daemon processes are busy.
		var wait sync.WaitGroup
		for range 4 {
			wait.Go(func() {
				if body, err := (&rawClient{dial: s.tcp}).get("/?3"); err != nil || body != "v0" {
					t.Errorf("%q, %v", body, err)
				}
			})
		}
		eventually(t, "two requests run", func() bool { return s.report().Busy == 2 })
		wants("/healthz", 200, "ready\n")
		again("--health-path", "/up")
		s.reload(0, "has reloaded")
		wants("/up", 200, "ready\n")
		wait.Wait()
		// A long request, during which the server ends.
		wait.Go(func() {
			if body, err := (&rawClient{dial: s.tcp}).get("/?3"); err != nil || body != "v0" {
				t.Errorf("%q, %v", body, err)
			}
		})
		eventually(t, "the request runs", func() bool { return s.report().Busy == 1 })
		wait.Go(func() {
			if s.cmd != nil {
				_ = s.cmd.Process.Signal(syscall.SIGTERM)
			} else {
				_ = command(t, "stop", "--server-root", s.root).Run()
			}
		})
		eventually(t, "it drains", func() bool {
			code, body := asks(t, client, at+"/up")
			return code == http.StatusServiceUnavailable && body == "draining\n"
		})
		wants("/up/live", 200, "live\n")
		wait.Wait()
	})
}

// TestHealthOfAFailedApplication is not ready until it is mended.
func TestHealthOfAFailedApplication(t *testing.T) {
	testEnv(t)
	app, version := versionedApp(t)
	version("broken")
	s := begin(t, filepath.Dir(app), app, "--health-path", "/healthz").up()
	client := alwaysNew()
	at := "http://" + s.address()
	eventually(t, "it has failed", func() bool {
		code, body := asks(t, client, at+"/healthz")
		return code == http.StatusServiceUnavailable && body == "failed\n"
	})
	if code, body := asks(t, client, at+"/healthz/live"); code != 200 || body != "live\n" {
		t.Errorf("%d %q", code, body)
	}
	if r := s.report(); r.State != "failed" || !strings.Contains(r.Failure, "this version is broken") {
		t.Errorf("%+v", r)
	}
	version("v1")
	s.get("/")
	eventually(t, "it is ready", func() bool {
		code, _ := asks(t, client, at+"/healthz")
		return code == 200
	})
	// The process ends, and the next one cannot load the application.
	version("broken")
	eventually(t, "its PID file", func() bool { return s.pid() > 0 })
	kill(t, s.report().Workers[0].PID, syscall.SIGKILL)
	eventually(t, "it is not ready", func() bool {
		code, _ := asks(t, client, at+"/healthz")
		return code == http.StatusServiceUnavailable
	})
}

// TestHealthOfEmbeddedMode: the same, where requests load the application.
func TestHealthOfEmbeddedMode(t *testing.T) {
	testEnv(t)
	app, version := versionedApp(t)
	version("broken")
	s := begin(t, filepath.Dir(app), app, "--health-path", "/healthz", "--embedded-mode").up()
	client := alwaysNew()
	eventually(t, "it has failed", func() bool {
		s.get("/")
		code, body := asks(t, client, "http://"+s.address()+"/healthz")
		return code == http.StatusServiceUnavailable && body == "failed\n"
	})
}

// TestHealthOfHTTPSOnly: the path is answered on every port and for every Host, before the
// redirection.
func TestHealthOfHTTPSOnly(t *testing.T) {
	testEnv(t)
	app, _ := versionedApp(t)
	stem, _ := certificate(t, filepath.Dir(app), "www.example.com")
	s := begin(t, filepath.Dir(app), app, "--health-path", "/healthz", "--https-port", strconv.Itoa(freeport.Get(t)), "--ssl-certificate", stem, "--server-name", "www.example.com", "--https-only")
	if !tlsUp(s) {
		t.Skip("this httpd has no mod_ssl")
	}
	client := &http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	eventually(t, "it is ready", func() bool { code, _ := asks(t, client, "http://"+s.address()+"/healthz"); return code == 200 })
	if code, _ := asks(t, client, "http://"+s.address()+"/"); code == 200 {
		t.Errorf("another path: %d", code)
	}
}

// TestMetrics: what Prometheus reads, also while and after httpd is replaced.
func TestMetrics(t *testing.T) {
	testEnv(t)
	port := freeport.Get(t)
	at := "http://127.0.0.1:" + strconv.Itoa(port)
	app, version := versionedApp(t)
	s := begin(t, filepath.Dir(app), app, "--metrics-listen", strconv.Itoa(port), "--processes", "2").up()
	eventually(t, "both have loaded", func() bool {
		_, body := asks(t, http.DefaultClient, at+"/metrics")
		return strings.Contains(body, "mod_wsgi_processes 2\n") && strings.Contains(body, `mod_wsgi_state{state="ready"} 1`)
	})
	scrape := func() string {
		t.Helper()
		code, body := asks(t, http.DefaultClient, at+"/metrics")
		if code != 200 {
			t.Fatalf("%d %s", code, body)
		}
		return body
	}
	number := func(body, name string) int {
		t.Helper()
		for line := range strings.Lines(body) {
			if text, ok := strings.CutPrefix(line, "mod_wsgi_"+name+" "); ok {
				n, err := strconv.ParseFloat(strings.TrimSpace(text), 64)
				if err != nil {
					t.Fatal(err)
				}
				return int(n)
			}
		}
		t.Fatalf("no %s in\n%s", name, body)
		return 0
	}
	body := scrape()
	before := number(body, `requests_total{status="2xx"}`)
	for range 5 {
		s.get("/")
	}
	s.get("/?0.3")
	// httpd counts a request after its response.
	eventually(t, "six requests are counted", func() bool { return number(scrape(), `requests_total{status="2xx"}`) >= before+6 })
	body = scrape()
	if n := number(body, `requests_total{status="2xx"}`); n != before+6 {
		t.Errorf("%d requests, before %d", n, before)
	}
	if all, quick := number(body, `request_duration_seconds_bucket{le="+Inf"}`), number(body, `request_duration_seconds_bucket{le="0.25"}`); all-quick != 1 || all != number(body, "request_duration_seconds_count") {
		t.Errorf("%d requests, %d of them quick", all, quick)
	}
	if number(body, `state{state="ready"}`) != 1 || number(body, `state{state="failed"}`) != 0 || number(body, "processes") != 2 {
		t.Errorf("\n%s", body)
	}
	version("v1")
	s.reload(0, "has reloaded")
	s.get("/")
	eventually(t, "seven requests are counted", func() bool { return number(scrape(), `requests_total{status="2xx"}`) >= before+7 })
	body = scrape()
	if n := number(body, `requests_total{status="2xx"}`); n < before+7 {
		t.Errorf("after a reload %d requests", n)
	}
	if number(body, "reloads_total") != 1 {
		t.Errorf("\n%s", body)
	}
	checkMetrics(t, body)
	for path, want := range map[string]int{"/": 404, "/metrics?x=y": 200, "/metrics/": 404} {
		if code, body := asks(t, http.DefaultClient, at+path); code != want {
			t.Errorf("%s: %d %s", path, code, body)
		}
	}
	if resp, err := http.Post(at+"/metrics", "text/plain", strings.NewReader("x")); err != nil || resp.StatusCode != http.StatusMethodNotAllowed {
		t.Errorf("POST: %v, %v", resp, err)
	}
	for _, garbage := range []string{"\r\n\r\n", "GET\r\n\r\n", "GET /metrics\r\n\r\n", "\x16\x03\x01\x00", strings.Repeat("x", 1<<16)} {
		c, err := net.Dial("tcp", "127.0.0.1:"+strconv.Itoa(port))
		if err != nil {
			t.Fatal(err)
		}
		_, _ = io.WriteString(c, garbage)
		_ = c.(*net.TCPConn).CloseWrite()
		answer, _ := io.ReadAll(c)
		_ = c.Close()
		if strings.Contains(string(answer), "200 OK") {
			t.Errorf("%.20q: %.100q", garbage, answer)
		}
	}
	other := freeport.Get(t)
	all := append(onLoopback("setup-server", nil), "--port", strconv.Itoa(s.port), "--server-root", s.root, app, "--metrics-listen", "127.0.0.1:"+strconv.Itoa(other))
	if out, err := command(t, append(all, asUser()...)...).CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	s.reload(0, "has reloaded")
	eventually(t, "the other port answers", func() bool {
		code, _ := asks(t, http.DefaultClient, fmt.Sprintf("http://127.0.0.1:%d/metrics", other))
		return code == 200
	})
	if code, _ := asks(t, http.DefaultClient, at+"/metrics"); code != 0 {
		t.Errorf("the port before still answers")
	}
}

// checkMetrics has Prometheus's own library for Python read metrics.
func checkMetrics(t *testing.T, body string) {
	t.Helper()
	if exec.Command("/usr/bin/python3", "-c", "import prometheus_client").Run() != nil {
		t.Log("NOT TESTED: python3-prometheus-client is not installed (apt-get install python3-prometheus-client)")
		return
	}
	cmd := exec.Command("/usr/bin/python3", "-c", `import sys
from prometheus_client.parser import text_string_to_metric_families as read
families = {f.name: f for f in read(sys.stdin.read())}
assert families["mod_wsgi_requests"].type == "counter", families["mod_wsgi_requests"]
assert families["mod_wsgi_request_duration_seconds"].type == "histogram"
assert len(families["mod_wsgi_process_memory_bytes"].samples) == 2
assert all(f.documentation and f.samples for f in families.values() if f.name != "mod_wsgi_replaced_processes")
`)
	cmd.Stdin = strings.NewReader(body)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("%v\n%s\n%s", err, out, body)
	}
}

// TestMetricsInTheBackground: apachectl leaves a process behind that serves them.
func TestMetricsInTheBackground(t *testing.T) {
	testEnv(t)
	app, _ := versionedApp(t)
	port := freeport.Get(t)
	s := daemon(t, app, "--metrics-listen", "127.0.0.1:"+strconv.Itoa(port), "--health-path", "/up")
	t.Cleanup(func() { _ = command(t, "stop", "--server-root", s.root).Run() })
	at := fmt.Sprintf("http://127.0.0.1:%d/metrics", port)
	if code, body := asks(t, http.DefaultClient, at); code != 200 || !strings.Contains(body, `mod_wsgi_state{state="ready"} 1`) {
		t.Errorf("%d %s", code, body)
	}
	s.apachectl(0, "", "stop")
	if code, _ := asks(t, http.DefaultClient, at); code != 0 {
		t.Error("a server that has ended has metrics")
	}
	taken, err := net.Listen("tcp", "127.0.0.1:"+strconv.Itoa(port))
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	s.apachectl(1, "choose another port with --metrics-listen", "start")
}

// TestMonitoringOptions: what is refused.
func TestMonitoringOptions(t *testing.T) {
	testEnv(t)
	dir := workDir(t, "")
	app := write(t, filepath.Join(dir, "app.py"), echoApp)
	for option, values := range map[string][]string{
		"--health-path":    {"/", "health", "/a/", "/a//b", "/a?b", "/a b", "/%41", "/" + strings.Repeat("a", 200)},
		"--metrics-listen": {"0", "65536", "x", "127.0.0.1", "[::1]", "host:port:1", ":x", ":9118", "1:2:3"},
	} {
		for _, v := range values {
			out, err := command(t, append([]string{"setup-server", app, "--server-root", filepath.Join(dir, "root"), "--port", "12345", option, v}, asUser()...)...).CombinedOutput()
			if err == nil || !strings.Contains(string(out), option) {
				t.Errorf("%s %s: %v\n%s", option, v, err, out)
			}
		}
	}
	if _, err := os.Stat(filepath.Join(dir, "root")); err == nil {
		t.Error("a server root was written")
	}
}
