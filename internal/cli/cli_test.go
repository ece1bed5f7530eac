package cli

import (
	"bytes"
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"modwsgi/internal/testkit"
)

type result struct {
	out, err string
	code     int
}

// modwsgi runs the program inside this process.
func modwsgi(t *testing.T, ctx context.Context, env []string, args ...string) result {
	t.Helper()
	var out, errOut bytes.Buffer
	code := Main(ctx, Process{Args: args, Env: env, Dir: t.TempDir(), Executable: "/nowhere/modwsgi", Stdout: &out, Stderr: &errOut})
	return result{out.String(), errOut.String(), code}
}

func TestCommandLine(t *testing.T) {
	for _, tt := range []struct {
		args string
		code int
		out  string // part of standard output, "" for none at all
		err  string // part of standard error, "" for none at all
	}{
		{"", 0, "Usage:", ""},
		{"--help", 0, "uninstall", ""},
		{"help", 0, "uninstall", ""},
		{"help install", 0, "--break-system-packages", ""},
		{"install --help", 0, "http2", ""},
		{"help instal", 2, "", "did you mean modwsgi install?"},
		{"version", 0, "httpd: 2.4", ""},
		{"--version", 0, "modwsgi ", ""},
		{"version --json", 0, `"event":"result"`, ""},
		{"lst", 2, "", "did you mean modwsgi list?"},
		{"uninstal", 2, "", "did you mean modwsgi uninstall?"},
		{"frobnicate", 2, "", "modwsgi --help"},
		{"list more", 2, "", `unexpected argument "more"`},
		{"install --pythn x", 2, "", "did you mean --python?"},
		{"install --zzzzzz", 2, "", "modwsgi install --help lists the flags"},
		{"install -q", 2, "", "'q'"},
		{"install --jobs many", 2, "", `invalid value "many" for --jobs`},
		{"install --jobs", 2, "", "--jobs"},
		{"install --jobs 0", 2, "", `invalid value "0" for --jobs`},
		{"install --jobs -1", 2, "", `invalid value "-1" for --jobs`},
		{"install --python=", 2, "", "--python is empty"},
		{"list --python=", 2, "", "--python is empty"},
		{"install --mod-wsgi-version 5", 2, "", `"~> 5.0"`},
		{"install --build-driver ninja", 2, "", "ninja"},
		{"install --timings /no/such/dir/x.html --python x", 2, "", "/no/such/dir"},
		{"install --timings /dev/null --python x", 2, "", "not a regular file"},
		{"install --timings /proc/x.html --python x", 2, "", "cannot be written"},
		{"install --cache ftp://x --python x", 2, "", "not a valid address"},
		{"install --cache oci://localhost:1/x --python x", 2, "", "needs a key"},
		{"install --cache-trust x", 2, "", "--cache oci://"},
		{"cache", 0, "keygen", ""},
		{"cache lst", 2, "", "did you mean modwsgi cache list?"},
		{"cache prune --cache-dir /no/such --max-size many", 2, "", "is not a size"},
		{"cache prune --cache-dir /no/such --older-than soon", 2, "", "is not an age"},
		{"cache list --cache-dir /no/such", 0, "0 entries", ""},
		{"cache list --cache-dir /no/such --json", 0, `"entries":[]`, ""},
		{"cache clear --cache-dir /no/such --kind all", 2, "", "unknown kind"},
		{"cache info --cache-dir /no/such abcdef", 2, "", "nothing in the cache"},
		{"cache info", 2, "", "one identifier"},
		{"cache keygen", 2, "", "name of the file"},
		{"cache key --python /no/such --jobs 3 --offline --source-dir x --build-driver make --timings t.html --cache oci://x/y --cache-trust z --upgrade", 3, "", "/no/such"},
		{"cache key --no-such-flag", 2, "", "no-such-flag"},
		{"cache path --cache-dir /some/where", 0, "/some/where", ""},
		{"cache path", 3, "", "HOME"},
		{"version --progress loud", 2, "", `--progress "loud"`},
		{"--json lst", 2, `"exit_code":2`, "lst"},
		{"install --offline --mirror https://example.org", 2, "", "--offline"},
		{"install --locked --upgrade", 2, "", "--upgrade"},
		{"install --with tls,nosuch", 2, "", "nosuch"},
		{"list --python /no/such/python", 3, "", "/no/such/python"},
		{"list", 3, "", ".venv"},
	} {
		t.Run(tt.args, func(t *testing.T) {
			r := modwsgi(t, t.Context(), nil, strings.Fields(tt.args)...)
			if r.code != tt.code {
				t.Errorf("exit code %d, want %d: %+v", r.code, tt.code, r)
			}
			if !strings.Contains(r.out, tt.out) || tt.out == "" && r.out != "" {
				t.Errorf("standard output %q, want %q", r.out, tt.out)
			}
			if !strings.Contains(r.err, tt.err) || tt.err == "" && r.err != "" {
				t.Errorf("standard error %q, want %q", r.err, tt.err)
			}
			if tt.code != 0 && (!strings.Contains(r.err, "modwsgi: error: ") || !strings.Contains(r.err, "modwsgi: hint: ")) {
				t.Errorf("without error or hint: %q", r.err)
			}
			if strings.Contains(tt.args, "--json") {
				all := jsonLines(t, []byte(r.out))
				if last := all[len(all)-1]["event"]; last != "result" && last != "error" {
					t.Errorf("the last record is %v", last)
				}
			}
		})
	}
}

// closedPipe accepts a number of writes, and then fails.
type closedPipe struct {
	writes int
	err    error
}

func (c *closedPipe) Write(b []byte) (int, error) {
	if c.writes--; c.writes < 0 {
		return 0, c.err
	}
	return len(b), nil
}

func TestUnwritableResultIsAnError(t *testing.T) {
	for _, args := range [][]string{{"version"}, {"version", "--json"}, {"--help"}} {
		var errOut bytes.Buffer
		code := Main(t.Context(), Process{Args: args, Dir: "/", Stdout: &closedPipe{err: syscall.ENOSPC}, Stderr: &errOut})
		if code == 0 || !strings.Contains(errOut.String(), "write the result") {
			t.Errorf("%v: %d, %q", args, code, errOut.String())
		}
	}
}

// TestClosedReaderIsNotAnError: "modwsgi COMMAND | head" ends silently.
func TestClosedReaderIsNotAnError(t *testing.T) {
	for _, args := range [][]string{{"version"}, {"version", "--json"}, {"--help"}, {"detect"}, {"cache", "list"}, {"package", "--help"}} {
		var errOut bytes.Buffer
		env := []string{"PATH=" + os.Getenv("PATH"), "XDG_CACHE_HOME=" + t.TempDir()}
		code := Main(t.Context(), Process{Args: args, Dir: t.TempDir(), Env: env, Stdout: &closedPipe{err: syscall.EPIPE}, Stderr: &errOut})
		if code != unread || strings.Contains(errOut.String(), "error") {
			t.Errorf("%v: %d, %q", args, code, errOut.String())
		}
	}
}

func TestUnwritableProgressIsNotAnError(t *testing.T) {
	var out bytes.Buffer
	if code := Main(t.Context(), Process{Args: []string{"version"}, Dir: "/", Stdout: &out, Stderr: &closedPipe{err: syscall.EPIPE}}); code != 0 || out.Len() == 0 {
		t.Errorf("%d, %q", code, out.String())
	}
}

// TestInterrupted interrupts an install while a mirror keeps it waiting.
func TestInterrupted(t *testing.T) {
	for _, tool := range []string{"python3", "cc"} {
		if _, err := exec.LookPath(tool); err != nil {
			t.Skip("needs a Python with headers and a compiler: " + err.Error())
		}
	}
	dir := filepath.Join(t.TempDir(), "env")
	if out, err := exec.Command("python3", "-m", "venv", "--without-pip", dir).CombinedOutput(); err != nil {
		t.Skipf("make a virtual environment: %v\n%s", err, out)
	}
	for d := dir; d != "/"; d = filepath.Dir(d) {
		_ = os.Chmod(d, 0o755) // as root, an environment must be open to the serving account
		if filepath.Base(filepath.Dir(d)) == "tmp" {
			break
		}
	}
	ctx, interrupt := context.WithCancelCause(t.Context())
	server := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		interrupt(errors.New("signal"))
		<-r.Context().Done()
	}))
	defer server.Close()
	cache := t.TempDir()
	env := []string{"PATH=" + os.Getenv("PATH")}
	before := testkit.Paths(t, dir)
	r := modwsgi(t, ctx, env, "install", "--json", "--httpd", "bundled", "--mirror", server.URL, "--python", dir, "--cache-dir", cache)
	if r.code == 3 {
		t.Skipf("this machine cannot build: %s", r.err)
	}
	if r.code != 130 || !strings.Contains(r.err, "modwsgi: error: interrupted") || !strings.Contains(r.err, "same command again") {
		t.Errorf("%+v", r)
	}
	all := jsonLines(t, []byte(r.out))
	if last := all[len(all)-1]; last["event"] != "error" || last["exit_code"] != 130.0 {
		t.Errorf("%v", last)
	}
	if after := testkit.Paths(t, dir); !slices.Equal(before, after) {
		t.Errorf("the environment has changed: %v", after)
	}
	if left := testkit.Paths(t, filepath.Join(cache, "work")); len(left) > 1 {
		t.Errorf("left behind: %v", left)
	}
}
