//go:build unix

package authenticode

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"modwsgi/internal/fault"
	"modwsgi/internal/run"
)

func TestSignersThatCannotWork(t *testing.T) {
	dir := t.TempDir()
	file := func(name string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte("x"), 0o700); err != nil {
			t.Fatal(err)
		}
		return path
	}
	tool, cert, key, p12 := file("osslsigncode"), file("c.pem"), file("k.pem"), file("both.P12")
	env := []string{"PATH=" + filepath.Dir(tool)}
	for name, c := range map[string]struct {
		signer Signer
		class  fault.Class
		says   string
	}{
		"key alone":          {Signer{Key: key, Env: env}, fault.Usage, "requires a certificate"},
		"no such file":       {Signer{Cert: filepath.Join(dir, "none"), Key: key, Env: env}, fault.Usage, "no such file"},
		"certificate alone":  {Signer{Cert: cert, Env: env}, fault.Usage, "cannot be combined"},
		"PKCS#12 with a key": {Signer{Cert: p12, Key: key, Env: env}, fault.Usage, "cannot be combined"},
		"passphrase missing": {Signer{Cert: p12, Passphrase: filepath.Join(dir, "none"), Env: env}, fault.Usage, "no such file"},
		"no tool":            {Signer{Cert: p12, Env: []string{"PATH=/nowhere"}}, fault.Environment, "no program to sign with"},
	} {
		if err := c.signer.Check(); err == nil || fault.ClassOf(err) != c.class || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if err := (&Signer{Cert: p12, Env: env}).Check(); err != nil {
		t.Error(err)
	}
}

func TestArguments(t *testing.T) {
	s := Signer{Cert: "c.pem", Key: "k.pem", Passphrase: "p", Time: time.Unix(1700000000, 0), Name: "N", URL: "U"}
	got := strings.Join(s.arguments("T", false, "in", "out"), " ")
	if got != "T sign -h sha256 -certs c.pem -key k.pem -readpass p -n N -i U -st 1700000000 -in in -out out" {
		t.Error(got)
	}
	s = Signer{Cert: "c.pfx", Timestamp: "http://stamp"}
	got = strings.Join(s.arguments("T", false, "in", "out"), " ")
	if got != "T sign -h sha256 -pkcs12 c.pfx -ts http://stamp -in in -out out" {
		t.Error(got)
	}
	if got := s.arguments("signtool", true, "in", "out"); !slices.Contains(got, "/tr") || got[len(got)-1] != "out" || slices.Contains(got, "in") {
		t.Error(got)
	}
}

// TestFailureLeavesTheFile uses a tool that writes half a file and fails.
func TestFailureLeavesTheFile(t *testing.T) {
	dir := t.TempDir()
	script := "#!/bin/sh\nfor a; do last=$a; done\necho half >\"$last\"\necho 'Unable to load key' >&2\nexit 1\n"
	if err := os.WriteFile(filepath.Join(dir, "osslsigncode"), []byte(script), 0o755); err != nil {
		t.Fatal(err)
	}
	program := filepath.Join(dir, "x.exe")
	if err := os.WriteFile(program, []byte("MZ"), 0o755); err != nil {
		t.Fatal(err)
	}
	s := Signer{Cert: "c.pem", Key: "k.pem", Env: []string{"PATH=" + dir}, Runner: &run.Runner{}}
	err := s.Sign(t.Context(), program)
	if fault.ClassOf(err) != fault.Environment || !strings.Contains(err.Error(), "Unable to load key") {
		t.Errorf("%v", err)
	}
	if data, _ := os.ReadFile(program); string(data) != "MZ" {
		t.Errorf("the file is %q", data)
	}
	if left, _ := filepath.Glob(program + "?*"); len(left) > 0 {
		t.Errorf("%v was left", left)
	}
}
