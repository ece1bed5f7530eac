//go:build acceptance

package express_test

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"math"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"modwsgi/internal/freeport"
)

// needsModule skips a test if the environment's mod_wsgi is older.
func needsModule(t *testing.T, since string) *place {
	t.Helper()
	p := installed(t)
	if !p.atLeast(since) {
		t.Skipf("mod_wsgi %s is installed; this needs %s", p.version, since)
	}
	return p
}

// eventually waits until a condition holds.
func (s *server) eventually(what string, holds func() bool) {
	s.t.Helper()
	for deadline := time.Now().Add(30 * time.Second); !holds(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(deadline) {
			s.t.Fatalf("%s\n%s\n%s", what, s.out, s.log())
		}
	}
}

// TestTelemetryService: the values of the options arrive at a collector's socket. A
// missing collector is reported at start, because the module does not report it.
func TestTelemetryService(t *testing.T) {
	p := needsModule(t, "6.0.0")
	dir := workDir(t, "")
	app := write(t, filepath.Join(dir, "app.py"), echoApp)
	sockets := shortDir(t)
	path := filepath.Join(sockets, "it's a \"socket\"")
	l, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if err := os.Chmod(path, 0o666); err != nil {
		t.Fatal(err)
	}
	s := start(t, dir, app, "--telemetry-service", "unix:"+path, "--telemetry-interval", "0.75", "--slow-requests", "0.05", "--telemetry-options", "+CaptureUserAgent")
	if strings.Contains(s.out.String(), "telemetry") {
		t.Errorf("a collector exists, but is reported missing:\n%s", s.out)
	}
	got := make(chan string)
	go func() {
		defer close(got)
		for data := make([]byte, 1<<17); ; {
			n, _, err := l.ReadFromUnix(data)
			if err != nil {
				return
			}
			got <- string(data[:n])
		}
	}()
	interval := string(binary.LittleEndian.AppendUint64(nil, math.Float64bits(0.75)))
	missing := map[string]string{"the version": p.version, "the process group": "127.0.0.1:" + strconv.Itoa(s.port), "the interval": interval, "a slow request": "a slow client"}
	end := time.After(30 * time.Second)
	for len(missing) > 0 {
		req, _ := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+s.address()+"/?sleep=0.1", nil)
		req.Header.Set("User-Agent", "a slow client")
		if resp, err := http.DefaultClient.Do(req); err != nil {
			t.Fatal(err)
		} else {
			resp.Body.Close()
		}
		select {
		case text := <-got:
			for what, part := range missing {
				if strings.Contains(text, part) {
					delete(missing, what)
				}
			}
		case <-end:
			t.Fatalf("not reported: %v\n%s", missing, s.log())
		}
	}
}

// TestTelemetryServiceIsMissed: each way in which nothing receives the reports.
func TestTelemetryServiceIsMissed(t *testing.T) {
	needsModule(t, "6.0.0")
	dir := workDir(t, "")
	app := write(t, filepath.Join(dir, "app.py"), echoApp)
	sockets := shortDir(t)
	path := func(name string) string { return filepath.Join(sockets, name) }
	left, err1 := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path("left"), Net: "unixgram"})
	stream, err2 := net.Listen("unix", path("stream"))
	if err := errors.Join(err1, err2, left.Close()); err != nil { // the socket of a datagram listener remains
		t.Fatal(err)
	}
	defer stream.Close()
	if err := os.Chmod(path("left"), 0o666); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ name, want string }{
		{"absent", "the socket " + path("absent") + " does not exist"},
		{"left", "nothing is listening on " + path("left")},
		{"stream", "not a datagram socket"},
		{strings.Repeat("x", 120), "the system allows"},
	} {
		if c.name == "stream" && os.Chmod(path("stream"), 0o666) != nil {
			continue
		}
		args := append([]string{"setup-server", app, "--server-root", filepath.Join(sockets, "root"), "--telemetry-service", "unix:" + path(c.name)}, asUser()...)
		out, err := command(t, args...).CombinedOutput()
		if refused := len(c.name) > 100; refused != (err != nil) || !strings.Contains(string(out), c.want) {
			t.Errorf("%s: %v\n%s", c.name, err, out)
		}
	}
}

// TestEnableTelemetry: upstream's collector, from mod_wsgi's archive, receives the
// reports and shows them.
func TestEnableTelemetry(t *testing.T) {
	p := needsModule(t, "6.0.0")
	archive := filepath.Join(os.Getenv("MODWSGI_TEST_SOURCES"), "mod_wsgi-"+p.version+".tar.gz")
	if !isFile(archive) {
		t.Skipf("the collector's archive %s does not exist", archive)
	}
	lib := debian(t, "python3-aiohttp", "python3-multidict", "python3-yarl", "python3-frozenlist", "python3-aiosignal", "python3-attr",
		"python3-async-timeout", "python3-charset-normalizer", "python3-idna")
	// As pip installs it, in a separate directory.
	site := workDir(t, "site")
	if out, err := exec.CommandContext(t.Context(), "tar", "-xzf", archive, "-C", site, "--strip-components=3", "--wildcards", "*/telemetry/src").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	info := filepath.Join(site, "mod_wsgi_telemetry-1.0.1.dist-info")
	if err := os.Mkdir(info, 0o755); err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(info, "METADATA"), "Metadata-Version: 2.1\nName: mod_wsgi-telemetry\nVersion: 1.0.1\n")
	write(t, filepath.Join(info, "entry_points.txt"), "[console_scripts]\nmod_wsgi-telemetry = mod_wsgi.telemetry.cli:main\n")
	dir := workDir(t, "")
	app := write(t, filepath.Join(dir, "app.py"), echoApp)
	port := freeport.Get(t)
	s := start(t, dir, app, "--enable-telemetry", "--telemetry-ui-port", strconv.Itoa(port), "--telemetry-interval", "0.75", "--slow-requests", "2.5",
		"--python-path", site, "--python-path", lib)
	s.get("/")
	var state struct {
		Processes []struct {
			Group   string `json:"process_group"`
			Version string `json:"mod_wsgi_version"`
			Samples []struct {
				Fields map[string]any `json:"fields"`
			} `json:"samples"`
		} `json:"processes"`
	}
	s.eventually("nothing arrives at the collector", func() bool {
		resp, err := http.Get("http://127.0.0.1:" + strconv.Itoa(port) + "/api/state")
		if err != nil {
			return false
		}
		defer resp.Body.Close()
		err = json.NewDecoder(resp.Body).Decode(&state)
		return err == nil && len(state.Processes) == 1 && len(state.Processes[0].Samples) > 0
	})
	process := state.Processes[0]
	fields := process.Samples[0].Fields
	if process.Version != p.version || process.Group != "127.0.0.1:"+strconv.Itoa(s.port) || fields["telemetry_interval"] != 0.75 || fields["slow_requests_threshold"] != 2.5 {
		t.Errorf("%s %s %v", process.Version, process.Group, fields)
	}
}
