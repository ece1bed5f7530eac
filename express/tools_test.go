//go:build unix

package express

import (
	"encoding/json"
	"path/filepath"
	"strings"
	"testing"

	"modwsgi/express/config"
	"modwsgi/internal/receipt"
)

// TestOldModule: versions that fail requests with many headers are not started.
func TestOldModule(t *testing.T) {
	for version, refused := range map[string]bool{"4.4.10": true, "4.4.7": true, "": true, "4.4.11": false, "6.0.5": false} {
		err := checkVersions(typed(), version)
		if (err != nil) != refused || err != nil && !strings.Contains(err.Error(), "4.4.11 or newer") {
			t.Errorf("%s: %v", version, err)
		}
	}
}

func TestServiceNeedsTheirVersion(t *testing.T) {
	in, err := parseLine("--service-script", "a", "b")
	if err != nil {
		t.Fatal(err)
	}
	if err := checkVersions(in.server, "4.5.24"); err == nil || !strings.Contains(err.Error(), "--service-script needs mod_wsgi 4.6.0") {
		t.Errorf("%v", err)
	}
}

// TestTelemetry: what a module since 6.0.0 is told.
func TestTelemetry(t *testing.T) {
	for _, c := range []struct {
		line string
		want string // the directives, or the error
	}{
		{
			"--telemetry-service unix:/run/t.sock --telemetry-interval 2.5 --slow-requests 0 --telemetry-options +CaptureUserAgent --telemetry-options None",
			"WSGITelemetryService \"unix:/run/t.sock\" \"interval=2.5\"\nWSGISlowRequests \"0\"\nWSGITelemetryOptions \"+CaptureUserAgent\"\nWSGITelemetryOptions \"None\"\n",
		},
		{"--enable-telemetry", "WSGITelemetryService \"unix:/r/telemetry/collector\" \"interval=1\"\n"},
		{"", ""},
		{"--enable-telemetry --telemetry-service unix:/x", "exclude each other"},
		{"--slow-requests 1", "needs --telemetry-service"},
		{"--telemetry-ui-port 99 --telemetry-service unix:/x", "needs --enable-telemetry"},
		{"--enable-telemetry --service-script telemetry x", "is the service of --enable-telemetry"},
	} {
		in, err := parseLine(strings.Fields(c.line)...)
		if err != nil {
			t.Fatal(err)
		}
		if err := telemetryConflicts(in.server); err != nil {
			if !strings.Contains(err.Error(), c.want) || c.want == "" {
				t.Errorf("%s: %v", c.line, err)
			}
			continue
		}
		if err := checkVersions(in.server, "6.0.2"); err != nil {
			t.Errorf("%s: %v", c.line, err)
		}
		b := &builder{i: &instance{Server: in.server, root: "/r"}}
		b.telemetry()
		text, err := b.file.Text()
		if _, rest, _ := strings.Cut(text, "\"$\"\n"); err != nil || !strings.HasSuffix(text, c.want) || c.want == "" && strings.Contains(rest, "WSGI") {
			t.Errorf("%s: %v\n%s", c.line, err, text)
		}
	}
}

func TestEnableTelemetryNeedsItsPackage(t *testing.T) {
	dir := t.TempDir()
	exe, _ := fakeInstall(t, dir, func(r *receipt.Receipt) { r.Module.Version = "6.0.2" })
	code, _, stderr := runProgram(t, &Program{Executable: exe, Dir: dir}, append([]string{"start-server", "--enable-telemetry", "--port", "47113"}, testUser()...)...)
	if code != 1 || !strings.Contains(stderr, "pip install mod_wsgi-telemetry") {
		t.Errorf("%d %s", code, stderr)
	}
}

func TestImpliedDebugMode(t *testing.T) {
	for _, line := range []string{"--enable-debugger", "--enable-coverage", "--enable-profiler", "--enable-recorder", "--enable-gdb"} {
		in, err := parseLine(line)
		if err != nil {
			t.Fatal(err)
		}
		if err := (&Program{}).toolConflicts(in.server); err != nil || !config.DebugMode.In(in.server) {
			t.Errorf("%s: %v, debug mode %v", line, err, config.DebugMode.In(in.server))
		}
	}
}

// TestManualFollowsTheTable: every option that is shown is in each form of the
// manual, and none that is hidden.
func TestManualFollowsTheTable(t *testing.T) {
	dir := t.TempDir()
	texts := map[string]string{"html": string(htmlManual())}
	for name, args := range map[string][]string{
		"man": {"man"}, "bash": {"completion", "bash"}, "zsh": {"completion", "zsh"}, "fish": {"completion", "fish"}, "help": {"help", "start-server"},
	} {
		code, stdout, stderr := runProgram(t, &Program{Executable: filepath.Join(dir, "x"), Dir: dir}, args...)
		if code != 0 || stderr != "" {
			t.Fatalf("%s: %d %s", name, code, stderr)
		}
		texts[name] = stdout
	}
	for name, text := range texts {
		text = strings.ReplaceAll(text, `\-`, "-")
		for _, o := range config.Table().Options() {
			word := "--" + o.Name
			if name == "fish" {
				word = "-l " + o.Name
			}
			has := strings.Contains(text, word+" ") || strings.Contains(text, word+"<") || strings.Contains(text, word+"[") || strings.Contains(text, word+"\n") ||
				strings.Contains(text, word+`\fR`) || strings.Contains(text, word+"'") || strings.Contains(text, word+"|") || strings.Contains(text, word+")")
			if has == o.Hidden {
				t.Errorf("%s: --%s is in it: %v, hidden: %v", name, o.Name, has, o.Hidden)
			}
		}
	}
	code, stdout, _ := runProgram(t, &Program{Executable: filepath.Join(dir, "x"), Dir: dir}, "list-options")
	var rows []struct{ Name string }
	if err := json.Unmarshal([]byte(stdout), &rows); code != 0 || err != nil || len(rows) != len(config.Table().Options()) {
		t.Errorf("list-options: %d %v, %d rows", code, err, len(rows))
	}
}
