//go:build acceptance && linux

package acceptance

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// TestBenchServe measures two servers for a second each with scripts/bench/serve, and
// checks that the figures are possible.
func TestBenchServe(t *testing.T) {
	program, fixture, here := benchServe(t)
	file := filepath.Join(filepath.Dir(program), "figures.json")
	r := command(t, here, bareEnv(), program, "-fixture", fixture, "-rounds", "1", "-seconds", "1", "-rows", "hello",
		"-servers", "ours,gunicorn", "-json", file, setting(t, "MODWSGI_TEST_ENV"))
	t.Log(r.stdout)
	if r.code != 0 {
		t.Fatal(r)
	}
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var result struct {
		Base  string
		Cells []struct {
			Server           string
			Requests, Errors int64
			Processes        int
			PerSecond        float64 `json:"requests_per_second"`
			P50              float64 `json:"p50_ms"`
			P99              float64 `json:"p99_ms"`
			CPU              float64 `json:"cpu_ms_per_request"`
			Memory           float64 `json:"memory_mb"`
			Start            float64 `json:"first_answer_ms"`
		}
	}
	if err := json.Unmarshal(data, &result); err != nil {
		t.Fatal(err)
	}
	if len(result.Cells) != 2 || result.Base != "ours" {
		t.Fatalf("%d measurements, ratios to %q", len(result.Cells), result.Base)
	}
	for i, c := range result.Cells {
		// Two processes at least: gunicorn has a worker besides the first, and the
		// launcher has httpd and the application.
		if c.Server != []string{"ours", "gunicorn"}[i] || c.Requests < 10 || c.Errors != 0 || c.Processes < 2 || c.PerSecond < 10 ||
			c.P50 <= 0 || c.P99 < c.P50 || c.CPU <= 0 || c.CPU > 1000 || c.Memory < 5 || c.Start <= 0 || c.Start > 30000 {
			t.Errorf("%+v", c)
		}
	}
}

// TestBenchServeInterrupted: an interrupt during a measurement ends every process and
// removes the working directory.
func TestBenchServeInterrupted(t *testing.T) {
	program, fixture, here := benchServe(t)
	c := exec.Command(program, "-fixture", fixture, "-rounds", "1", "-seconds", "60", "-rows", "hello", "-servers", "ours", setting(t, "MODWSGI_TEST_ENV"))
	c.Dir, c.Env = here, bareEnv()
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Process.Kill() })
	// started are the servers and the load generator.
	started := func() (n int, load bool) {
		all, err := filepath.Glob("/proc/[0-9]*/environ")
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range all {
			data, err := os.ReadFile(name)
			line, err2 := os.ReadFile(filepath.Join(filepath.Dir(name), "cmdline"))
			if err != nil || err2 != nil || !strings.Contains(string(data), fmt.Sprintf("MODWSGI_BENCH=%d-", c.Process.Pid)) {
				continue
			}
			n++
			load = load || strings.Contains(string(line), "wrk\x00") && strings.Contains(string(line), "60s")
		}
		return n, load
	}
	for end := time.Now().Add(60 * time.Second); ; time.Sleep(50 * time.Millisecond) {
		if _, load := started(); load {
			break
		}
		if time.Now().After(end) {
			t.Fatal("the measurement has not begun")
		}
	}
	if err := c.Process.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	if err := c.Wait(); err == nil {
		t.Error("an interrupted run succeeds")
	}
	if n, _ := started(); n != 0 {
		t.Errorf("%d processes run still", n)
	}
	if left, err := filepath.Glob(fmt.Sprintf("/var/tmp/modwsgi-bench-%d-*", c.Process.Pid)); err != nil || len(left) > 0 {
		t.Errorf("left behind: %q %v", left, err)
	}
}

// benchServe builds scripts/bench/serve, and returns it with the directory of the other
// servers and that of the source.
func benchServe(t *testing.T) (program, fixture, here string) {
	t.Helper()
	gotool, err := exec.LookPath("go")
	if err != nil {
		t.Skip("SKIPPED: go is not on PATH")
	}
	here, err = filepath.Abs("..")
	if err != nil {
		t.Fatal(err)
	}
	out, err := exec.Command(filepath.Join(here, "scripts/test-directory")).Output()
	if err != nil {
		t.Fatal(err)
	}
	fixture = filepath.Join(strings.TrimSpace(string(out)), "serve")
	if _, err := os.Stat(filepath.Join(fixture, "complete")); err != nil {
		t.Skip("SKIPPED: scripts/serve-fixture has not unpacked the other servers")
	}
	program = filepath.Join(workdir(t, "bench-serve"), "serve")
	must(t, here, os.Environ(), gotool, "build", "-o", program, "./scripts/bench/serve")
	return program, fixture, here
}
