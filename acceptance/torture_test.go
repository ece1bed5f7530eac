//go:build acceptance && linux

package acceptance

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// TestTorture runs every part of scripts/torture in its short form: a few kills, a
// full disk, some misbehaving mirrors, concurrent runs, reloads and requests. The seed
// that it prints repeats it; make torture is the long form.
func TestTorture(t *testing.T) {
	gotool, err := exec.LookPath("go")
	if err != nil {
		t.Skip("SKIPPED: go is not on PATH")
	}
	program := filepath.Join(workdir(t, "torture"), "torture")
	here, err := filepath.Abs("..")
	if err != nil {
		t.Fatal(err)
	}
	must(t, here, os.Environ(), gotool, "build", "-o", program, "./scripts/torture")
	environ := bareEnv()
	for _, name := range []string{"MODWSGI_TEST_BIN", "MODWSGI_TEST_CACHE", "MODWSGI_TEST_PYTHON"} {
		environ = append(environ, name+"="+setting(t, name))
	}
	r := command(t, "/", environ, program, "-short")
	t.Log(r.stdout)
	if r.code != 0 || strings.Count(r.stdout, "-seed ") != 7 {
		t.Error(r)
	}
}
