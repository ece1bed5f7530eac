package installer

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"modwsgi/internal/distro"
	"modwsgi/internal/fault"
	"modwsgi/internal/testkit"
)

// Everything that packages fix is named at once, with one command.
func TestEverythingMissingAtOnce(t *testing.T) {
	python := distro.Needing(fault.New(fault.Environment, "one", "Python.h is missing"), distro.PythonHeaders.For("3.11"))
	compiler := distro.Needing(fault.New(fault.Environment, "two", "no C compiler"), distro.Compiler)
	other := fault.New(fault.Environment, "three", "CC is strange")
	err := missing(python, nil, compiler)
	testkit.WantFault(t, err, fault.Environment, "Python.h is missing; no C compiler")
	all := distro.Together(distro.Fixing(err)...)
	for family, want := range map[string]string{
		"debian": "apt-get install python3.11-dev build-essential", "fedora": "dnf install python3-devel gcc make", "alpine": "apk add python3-dev build-base",
	} {
		if got := all.Command(family); got != want {
			t.Errorf("%s: %q", family, got)
		}
	}
	if hint := fault.HintOf(err); !strings.Contains(hint, "python3.11-dev") && distro.Family() == "debian" {
		t.Errorf("hint %q", hint)
	}
	if err := missing(nil, compiler); !errors.Is(err, compiler) || fault.HintOf(err) != "two" {
		t.Errorf("alone: %v", err)
	}
	if err := missing(python, other); !errors.Is(err, other) {
		t.Errorf("what no package fixes: %v", err)
	}
	if err := missing(nil, nil); err != nil {
		t.Error(err)
	}
}

// A package directory in /usr/local may not exist before the first package.
func TestMakeSite(t *testing.T) {
	top := t.TempDir()
	site := filepath.Join(top, "local", "lib", "python3.13", "dist-packages")
	unmake, err := makeSite(site)
	if err != nil {
		t.Fatal(err)
	}
	if info, err := os.Stat(site); err != nil || !info.IsDir() {
		t.Fatal(err)
	}
	unmake()
	if left, _ := os.ReadDir(top); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
	if unmake, err = makeSite(site); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(site, "x"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	unmake()
	if _, err := os.Stat(filepath.Join(site, "x")); err != nil {
		t.Error("a directory in use was removed")
	}
	// Others could exchange what is created there.
	open := filepath.Join(top, "open")
	if err := os.Mkdir(open, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(open, 0o777); err != nil {
		t.Fatal(err)
	}
	_, err = makeSite(filepath.Join(open, "lib", "site-packages"))
	testkit.WantFault(t, err, fault.Place, "does not exist and is not created there", open)
	if left, _ := os.ReadDir(open); len(left) > 0 {
		t.Errorf("created: %v", left)
	}
	if unmake, err = makeSite(top); err != nil {
		t.Fatal(err)
	}
	unmake()
	if _, err := os.Stat(top); err != nil {
		t.Error("a directory that existed was removed")
	}
}
