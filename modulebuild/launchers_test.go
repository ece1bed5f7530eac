//go:build acceptance && unix

package modulebuild

import (
	"bytes"
	"context"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"modwsgi/internal/freeport"
	"modwsgi/internal/run"
	"modwsgi/internal/toolchain"
)

// built makes the tiny module with a compiler, as a user names it, in a separate
// directory.
func built(t *testing.T, cc string, env ...string) []byte {
	t.Helper()
	q := request(t, sources(), "")
	real(t, &q)
	tools, err := toolchain.Find(t.Context(), q.Runner, append(append(os.Environ(), env...), "CC="+cc), t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	if strings.Join(tools.CC, " ") != cc || tools.Cross != "" {
		t.Errorf("got %q, %q", tools.CC, tools.Cross)
	}
	q.Tools = tools
	res, err := Build(t.Context(), q)
	if err != nil {
		t.Fatal(err)
	}
	data, err := os.ReadFile(res.File)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func need(t *testing.T, program string) {
	t.Helper()
	if testing.Short() {
		t.Skip("-short starts no compiler")
	}
	if _, err := run.LookPath(program, os.Environ()); err != nil {
		t.Skipf("NOT TESTED: %s is not installed (apt-get install %s)", program, program)
	}
}

// A build in another directory reuses what an earlier one compiled, and the module is
// the same as without.
func TestCcache(t *testing.T) {
	need(t, "ccache")
	cache := "CCACHE_DIR=" + t.TempDir()
	plain, first, second := built(t, "gcc"), built(t, "ccache gcc", cache), built(t, "ccache gcc", cache)
	if !bytes.Equal(plain, first) || !bytes.Equal(plain, second) {
		t.Error("the modules differ")
	}
	out, err := (&run.Runner{}).Output(t.Context(), run.Cmd{Argv: []string{"ccache", "--print-stats"}, Env: append(os.Environ(), cache)})
	if err != nil {
		t.Fatal(err)
	}
	hits := 0
	for _, m := range regexp.MustCompile(`(?m)^(?:direct|preprocessed)_cache_hit\t(\d+)$`).FindAllSubmatch(out, -1) {
		n, _ := strconv.Atoi(string(m[1]))
		hits += n
	}
	if hits != 2 {
		t.Errorf("%d hits:\n%s", hits, out)
	}
}

// The server compiles the objects, more concurrently than this machine has cores.
func TestDistcc(t *testing.T) {
	need(t, "distcc")
	need(t, "distccd")
	port := strconv.Itoa(freeport.Get(t))
	dir, err := os.MkdirTemp("", "distcc") // the server's own user needs access
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = os.RemoveAll(dir) }()
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	log := filepath.Join(dir, "log")
	if err := os.WriteFile(log, nil, 0o666); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(log, 0o666); err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	argv := []string{"distccd", "--no-detach", "--daemon", "--allow", "127.0.0.1", "--listen", "127.0.0.1", "--port", port, "--log-file", log, "--log-level", "info", "--enable-tcp-insecure", "--jobs", "4"}
	if os.Geteuid() == 0 {
		argv = append(argv, "--user", "nobody") // it refuses to serve as root
	}
	server, err := (&run.Runner{}).Start(ctx, run.Cmd{Argv: argv, Env: os.Environ()})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { stop(); _ = server.Wait() }()
	for ctx.Err() == nil {
		c, err := net.Dial("tcp", "127.0.0.1:"+port)
		if err == nil {
			_ = c.Close()
			break
		}
		select {
		case <-server.Done():
			t.Fatalf("distccd ended: %v", server.Wait())
		case <-time.After(20 * time.Millisecond):
		}
	}
	far := built(t, "distcc gcc", "DISTCC_HOSTS=127.0.0.1:"+port+"/8", "HOME="+t.TempDir())
	if !bytes.Equal(far, built(t, "gcc")) {
		t.Error("the modules differ")
	}
	data, err := os.ReadFile(log)
	if n := bytes.Count(data, []byte("COMPILE_OK")); err != nil || n < 2 {
		t.Errorf("the server compiled %d, %v:\n%s", n, err, data)
	}
}

func TestClang(t *testing.T) {
	need(t, "clang")
	if !bytes.Contains(built(t, "clang"), []byte("wsgi_module")) {
		t.Error("no module was built")
	}
}
