package authenticode

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"modwsgi/internal/fault"
	"modwsgi/internal/otheruser"
	"modwsgi/internal/owned"
	"modwsgi/internal/run"
)

// TestFilesToSignWith: a secret that others can read and a certificate that they can
// change are refused before anything is signed.
func TestFilesToSignWith(t *testing.T) {
	otheruser.Need(t)
	top := otheruser.Dir(t)
	file := func(name string, mode os.FileMode) string {
		path := filepath.Join(top, name)
		if err := os.WriteFile(path, []byte("x"), mode); err != nil {
			t.Fatal(err)
		}
		return path
	}
	env := []string{"PATH=" + filepath.Dir(file("osslsigncode", 0o755))}
	cert, key, p12, pass := file("c.pem", 0o644), file("k.pem", 0o600), file("c.p12", 0o600), file("pass", 0o600)
	if err := (&Signer{Cert: cert, Key: key, Passphrase: pass, Env: env}).Check(); err != nil {
		t.Error(err)
	}
	open, theirs := file("open", 0o644), file("theirs", 0o644)
	openP12 := file("open.p12", 0o640)
	if err := os.Chown(openP12, 0, otheruser.GID); err != nil {
		t.Fatal(err)
	}
	otheruser.Give(t, theirs)
	for name, c := range map[string]struct {
		signer Signer
		hint   string
	}{
		"key":         {Signer{Cert: cert, Key: open}, "chmod 600"},
		"passphrase":  {Signer{Cert: p12, Passphrase: open}, "chmod 600"},
		"PKCS#12":     {Signer{Cert: openP12}, "chmod 600"},
		"certificate": {Signer{Cert: theirs, Key: key}, "only you and root"},
	} {
		c.signer.Env = env
		if err := c.signer.Check(); fault.ClassOf(err) != fault.Usage || !strings.Contains(fault.HintOf(err), c.hint) {
			t.Errorf("%s: %v (%s)", name, err, fault.HintOf(err))
		}
	}
	if err := Verify(t.Context(), &run.Runner{}, env, key, theirs); !owned.IsUntrusted(err) {
		t.Errorf("authorities of another user: %v", err)
	}
}

// TestSecretsFromDescriptors: the tool gets them as temporary files, because it does
// not inherit the descriptors.
func TestSecretsFromDescriptors(t *testing.T) {
	t.Setenv("TMPDIR", t.TempDir())
	pipe := func(text string) string {
		r, w, err := os.Pipe()
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = r.Close() })
		if _, err := w.WriteString(text); err != nil {
			t.Fatal(err)
		}
		_ = w.Close()
		return "/dev/fd/" + strconv.Itoa(int(r.Fd()))
	}
	dir := t.TempDir()
	program, tool := filepath.Join(dir, "x.exe"), filepath.Join(dir, "osslsigncode")
	for name, text := range map[string]string{
		program: "program", filepath.Join(dir, "c.pem"): "certificate",
		tool: "#!/bin/sh\nwhile [ $# -gt 0 ]; do case $1 in -key|-readpass) stat -c %a \"$2\"; cat \"$2\"; echo;; esac; shift; done >" + dir + "/seen\nexit 1\n",
	} {
		if err := os.WriteFile(name, []byte(text), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	s := Signer{
		Cert: filepath.Join(dir, "c.pem"), Key: pipe("-----BEGIN ENCRYPTED PRIVATE KEY-----"), Passphrase: pipe("phrase"),
		Env: []string{"PATH=" + dir + ":/usr/bin:/bin"}, Runner: &run.Runner{},
	}
	if err := s.Check(); err != nil {
		t.Fatal(err)
	}
	if err := s.Sign(t.Context(), program); err == nil {
		t.Error("the tool failed, and the program is signed")
	}
	if seen, err := os.ReadFile(filepath.Join(dir, "seen")); err != nil || string(seen) != "600\n-----BEGIN ENCRYPTED PRIVATE KEY-----\n600\nphrase\n" {
		t.Errorf("the tool sees %q, %v", seen, err)
	}
	if left, err := os.ReadDir(os.TempDir()); err != nil || len(left) != 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
}
