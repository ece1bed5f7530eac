//go:build acceptance && linux

package acceptance

import (
	"encoding/json"
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
	program, environ := torture(t)
	r := command(t, "/", environ, program, "-short")
	t.Log(r.stdout)
	if r.code != 0 || strings.Count(r.stdout, "-seed ") != 7 {
		t.Error(r)
	}
}

// lossless are the events of torture serve during which no request is lost, or no more
// than killed processes were working on.
var lossless = []string{"reload", "config", "stop", "touch", "maximum", "evict", "kill-daemon", "kill-child"}

// TestTortureServe lets each of these happen once to a server that is asked all the
// time, with 16 connections.
func TestTortureServe(t *testing.T) {
	program, environ := torture(t)
	file := filepath.Join(workdir(t, "torture-serve"), "figures.json")
	r := command(t, "/", environ, program, "serve", "-short", "-events", strings.Join(lossless, ","), "-json", file)
	t.Log(r.stdout)
	if r.code != 0 {
		t.Fatal(r)
	}
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var rows []struct {
		Event, Side string
		KeepAlive   bool `json:"keep_alive"`
		Sent        int
	}
	if err := json.Unmarshal(data, &rows); err != nil {
		t.Fatal(err)
	}
	for _, event := range lossless {
		seen := map[bool]bool{}
		for _, row := range rows {
			if row.Event == event {
				seen[row.KeepAlive] = row.Sent >= 100
			}
		}
		if !seen[true] || !seen[false] {
			t.Errorf("%s was not measured with and without keep-alive, each with 100 requests: %+v", event, rows)
		}
	}
}

// torture builds scripts/torture, and returns its path and environment.
func torture(t *testing.T) (program string, environ []string) {
	t.Helper()
	gotool, err := exec.LookPath("go")
	if err != nil {
		t.Skip("SKIPPED: go is not on PATH")
	}
	program = filepath.Join(workdir(t, "torture"), "torture")
	here, err := filepath.Abs("..")
	if err != nil {
		t.Fatal(err)
	}
	must(t, here, os.Environ(), gotool, "build", "-o", program, "./scripts/torture")
	environ = bareEnv()
	for _, name := range []string{"MODWSGI_TEST_BIN", "MODWSGI_TEST_CACHE", "MODWSGI_TEST_PYTHON"} {
		environ = append(environ, name+"="+setting(t, name))
	}
	return program, environ
}
