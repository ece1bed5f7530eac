//go:build unix

package modwsgi_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// TestVulncheck distinguishes an unreachable database from findings and from a broken
// tool.
func TestVulncheck(t *testing.T) {
	const reachable = `if [ "$1" = -version ]; then echo 'Scanner: govulncheck'; echo 'DB: x'; echo 'DB updated: today'; exit; fi; `
	for name, c := range map[string]struct {
		tool string
		fail bool
		says string
	}{
		"nothing found":     {reachable + "echo 'No vulnerabilities found.'", false, ""},
		"found":             {reachable + "echo 'Vulnerability #1'; exit 3", true, "Vulnerability #1"},
		"unreachable":       {"echo 'Scanner: govulncheck'; echo 'DB: x'", false, "skipped"},
		"never answers":     {"exec sleep 60", false, "skipped"},
		"lost half-way":     {reachable + "echo 'govulncheck: fetching vulnerabilities: dial tcp: no such host' >&2; exit 1", false, "skipped"},
		"found, with words": {reachable + "echo 'Vulnerability in fetching vulnerabilities: x'; exit 3", true, "Vulnerability in"},
		"does not compile":  {reachable + "echo 'loading packages: syntax error' >&2; exit 1", true, "syntax error"},
		"does not start":    {"echo 'no such flag' >&2; exit 2", true, "no such flag"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			tool := filepath.Join(t.TempDir(), "govulncheck")
			if err := os.WriteFile(tool, []byte("#!/bin/sh\n"+c.tool+"\n"), 0o755); err != nil {
				t.Fatal(err)
			}
			cmd := exec.CommandContext(t.Context(), "scripts/vulncheck")
			cmd.Env = append(os.Environ(), "PATH=/usr/bin:/bin:"+os.Getenv("PATH"), "GOVULNCHECK="+tool, "VULNCHECK_SECONDS=2")
			began := time.Now()
			out, err := cmd.CombinedOutput()
			if (err != nil) != c.fail || !strings.Contains(string(out), c.says) || c.says == "skipped" && strings.Count(string(out), "\n") != 1 {
				t.Errorf("%v: %s", err, out)
			}
			if took := time.Since(began); took > 20*time.Second {
				t.Errorf("it took %s", took)
			}
		})
	}
}
