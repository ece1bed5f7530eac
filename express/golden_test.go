//go:build unix

package express

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"modwsgi/express/site"
	"modwsgi/internal/receipt"
)

// What the account is that runs the tests, and how it was named.
var (
	accountLine   = regexp.MustCompile(`(?m)^(User|Group) .*`)
	accountOrigin = regexp.MustCompile(`(?m)^# --(user|group)\b.*\n`)
)

// TestGolden keeps what is written for some typical command lines; -update
// writes it anew, to be read before it is committed.
func TestGolden(t *testing.T) {
	base, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	exe := fakeServer(t, base, func(r *receipt.Receipt) { r.Module.Version, r.Python.FreeThreaded = "6.0.5", true })
	if err := os.Mkdir(filepath.Join(base, "env", "lib", "python3.11", "site-packages", "mod_wsgi_telemetry-1.0.1.dist-info"), 0o755); err != nil {
		t.Fatal(err)
	}
	oldest := fakeServer(t, filepath.Join(base, "oldest"), func(r *receipt.Receipt) { r.Module.Version = site.OldestModule })
	httpd := filepath.Join(base, "env", "lib", "python3.11", "site-packages", "mod_wsgi_packages", "httpd")
	for _, name := range []string{"app.py", "service.py", "auth.py", "site.crt", "site.key"} {
		if err := os.WriteFile(filepath.Join(base, name), nil, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	for name, line := range map[string]string{
		"plain":    "app.py",
		"busy":     "app.py --processes 4 --threads 10 --maximum-requests 1000 --access-log --rotate-logs --compress-responses --server-status --reload-on-changes",
		"services": "app.py --service-script one service.py --service-log one one.log --service-script two service.py --eviction-timeout 30 --response-buffer-size 131072",
		"proxies":  "app.py --proxy-url-alias /a http://127.0.0.1:81 --proxy-mount-point /a/b/ http://127.0.0.1:82/x/ --proxy-virtual-host p.example http://127.0.0.1:83 --mount-point /app",
		"https": "app.py --https-port 8443 --server-name www.example.com --server-alias *.example.com --ssl-certificate site --https-only --hsts-policy max-age=60;preload " +
			"--ssl-ca-certificate-file site.crt --ssl-verify-client /private --proxy-virtual-host p.example http://127.0.0.1:83",
		"access":    "app.py --auth-user-script auth.py --auth-group-script auth.py --host-access-script auth.py --embedded-mode",
		"debug":     "app.py --enable-recorder --enable-profiler --add-handler .ext auth.py --error-document 404 /gone",
		"telemetry": "app.py --telemetry-service unix:/run/t.sock --slow-requests 2 --telemetry-options +CaptureUserAgent --switch-interval 0.01 --interrupt-timeout 20",
		// All else that only a module since 6.0.0 has.
		"six":    "app.py --enable-telemetry --telemetry-ui-port 8889 --telemetry-interval 2.5 --slow-requests 0 --free-threading --response-flush-delay 20 --interrupt-timeout 12",
		"oldest": "app.py --processes 2 --trust-proxy-header X-Forwarded-For --trust-proxy 10.0.0.0/8 --eviction-timeout 30 --response-buffer-size 131072",
	} {
		args := append([]string{"show-config", "--port", "47311", "--server-root", filepath.Join(base, "root"), "--mime-types", filepath.Join(httpd, "conf", "mime.types")}, strings.Fields(line)...)
		program := exe
		if name == "oldest" {
			program = oldest
		}
		code, stdout, stderr := runProgram(t, &Program{Executable: program, Dir: base, Env: []string{"LANG=C.UTF-8"}}, append(args, testUser()...)...)
		if code != 0 {
			t.Errorf("%s: %d %s", name, code, stderr)
			continue
		}
		got := accountOrigin.ReplaceAllString(accountLine.ReplaceAllString(strings.ReplaceAll(stdout, base, "$BASE"), "$1 ..."), "")
		path := filepath.Join("testdata", "golden", name+".conf")
		if *update {
			if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
				t.Fatal(err)
			}
			continue
		}
		want, err := os.ReadFile(path)
		if err != nil || string(want) != got {
			t.Errorf("%s: not what %s has (%v); see go test ./express -update\n%s", name, path, err, got)
		}
	}
}
