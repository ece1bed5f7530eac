//go:build acceptance && linux

package acceptance

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestDoctorKnowsCertificates: doctor reports what the launcher has noted about the
// certificates of this user, with what to do.
func TestDoctorKnowsCertificates(t *testing.T) {
	modwsgi, env := program(t, "modwsgi"), setting(t, "MODWSGI_TEST_ENV")
	dir := t.TempDir()
	doctor := func() string {
		r := command(t, dir, bareEnv("STATE_DIRECTORY="+filepath.Join(dir, "state")), modwsgi, "doctor", "--python", env, "--user", "nobody")
		if r.code != 0 {
			t.Errorf("doctor: %v", r)
		}
		return r.stdout
	}
	if out := doctor(); strings.Contains(out, "certificate") {
		t.Errorf("without certificates:\n%s", out)
	}
	at := filepath.Join(dir, "state", "acme", "certificates", "a.example.org-9ddec8ec")
	if err := os.MkdirAll(at, 0o700); err != nil {
		t.Fatal(err)
	}
	const state = `{"names": ["a.example.org", "b.example.org"], "directory": "https://ca.example/dir", "challenge": "http-01", "port": 80,
 "failures": 2, "error": "the authority ca.example cannot be reached", "hint": "see the firewall", "failed": "2026-11-30T10:00:00Z", "next": "2026-11-30T10:05:00Z"}`
	if err := os.WriteFile(filepath.Join(at, "state.json"), []byte(state), 0o600); err != nil {
		t.Fatal(err)
	}
	out := doctor()
	for _, want := range []string{"warning  certificates no authority has issued a certificate for a.example.org, b.example.org: the authority ca.example cannot be reached", "fix: see the firewall"} {
		if !strings.Contains(out, want) {
			t.Errorf("%q is missing:\n%s", want, out)
		}
	}
}
