//go:build acceptance && linux

package acceptance

import (
	"path/filepath"
	"strings"
	"testing"

	"modwsgi/internal/elf"
	"modwsgi/internal/filetree"
)

// newestGlibc is the highest symbol version of the C library that a file requires, with
// the symbols that have it.
func newestGlibc(t *testing.T, file string) (version string, symbols []string) {
	t.Helper()
	f, err := elf.Open(file)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = f.Close() }()
	all, err := f.Requirements()
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range all {
		v, ok := strings.CutPrefix(r.Version, "GLIBC_")
		switch {
		case !ok || elf.CompareVersions(v, version) < 0:
		case v == version:
			symbols = append(symbols, r.Symbol)
		default:
			version, symbols = v, []string{r.Symbol}
		}
	}
	return version, symbols
}

// TestHandoverNeedsNoNewerGlibc: a wheel supports as many systems with mod_handover as it
// would without.
func TestHandoverNeedsNoNewerGlibc(t *testing.T) {
	for _, env := range append(filepath.SplitList(setting(t, "MODWSGI_TEST_ENVS")), setting(t, "MODWSGI_TEST_ENV")) {
		modules := filetree.Glob(env, "lib/python*/site-packages/mod_wsgi/server/mod_wsgi*.so")
		if len(modules) != 1 {
			t.Fatalf("%s: %q", env, modules)
		}
		most, _ := newestGlibc(t, modules[0])
		version, symbols := newestGlibc(t, filepath.Join(filepath.Dir(modules[0]), "mod_handover.so"))
		if most == "" || elf.CompareVersions(version, most) > 0 {
			t.Errorf("%s: mod_handover needs %q of glibc %s, mod_wsgi %s", env, symbols, version, most)
		}
	}
}
