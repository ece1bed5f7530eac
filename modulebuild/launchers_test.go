//go:build acceptance && unix

package modulebuild

import (
	"bytes"
	"os"
	"regexp"
	"strconv"
	"strings"
	"testing"

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
	if hits != 3 { // two sources of the module, and mod_handover
		t.Errorf("%d hits:\n%s", hits, out)
	}
}

func TestClang(t *testing.T) {
	need(t, "clang")
	if !bytes.Contains(built(t, "clang"), []byte("wsgi_module")) {
		t.Error("no module was built")
	}
}
