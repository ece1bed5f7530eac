package linuxpkg

import (
	"os"
	"path/filepath"
	"reflect"
	"testing"

	"modwsgi/internal/elf"
)

// records makes the records of a machine with dpkg.
func records(t *testing.T, files map[string]string) *dpkg {
	t.Helper()
	root := t.TempDir()
	info := filepath.Join(root, "var/lib/dpkg/info")
	if err := os.MkdirAll(info, 0o755); err != nil {
		t.Fatal(err)
	}
	for name, text := range files {
		if err := os.WriteFile(filepath.Join(info, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return &dpkg{root: root}
}

const libc = "ld-linux-x86-64.so.2 libc6 #MINVER#\n memcpy@GLIBC_2.99 2.99\nlibc.so.6 libc6 #MINVER#\n| libc6 (>> 2.36), libc6 (<< 2.37)\n* Build-Depends-Package: libc6-dev\n" +
	" GLIBC_2.14@GLIBC_2.14 2.14\n memcpy@GLIBC_2.14 2.14\n memcpy@GLIBC_2.2.5 2.2.5\n newer@GLIBC_2.34 2.34\n secret@GLIBC_PRIVATE 0 1\n unused@GLIBC_2.36 2.36\nlibm.so.6 libc6 #MINVER#\n memcpy@GLIBC_2.14 9.9\n"

func TestPackagesOfLibraries(t *testing.T) {
	d := records(t, map[string]string{
		"libc6:amd64.list": "/.\n/lib/x86_64-linux-gnu/libc.so.6\n", "libc6:amd64.symbols": libc,
		"libz1:amd64.list": "/usr/lib/libz.so.1.2\n", "libz1:amd64.shlibs": "udeb: libz 1 libz1-udeb\nlibz 1 libz1 (>= 1:1.2)\n",
		"plain.list":          "/usr/lib/libplain.so.4\n",
		"libalt:amd64.list":   "/usr/lib/libalt.so.1\n",
		"libalt.symbols":      "not for this architecture",
		"libalt:amd64.shlibs": "libother 1 libother1\n", "libalt:amd64.symbols": "libalt.so.1 libalt #MINVER# | libalt-compat\n f@Base 2\n",
	})
	if err := d.packages([]string{"/usr/lib/x86_64-linux-gnu/libc.so.6", "/lib/libz.so.1.2", "/usr/lib/libplain.so.4", "/usr/lib/libalt.so.1", "/nowhere"}); err != nil {
		t.Fatal(err)
	}
	imports := func(library string, names ...string) []elf.Import {
		var all []elf.Import
		for _, n := range names {
			all = append(all, elf.Import{Name: n, Library: library})
		}
		return all
	}
	for _, c := range []struct {
		soname, file string
		imports      []elf.Import
		versions     []string
		needs        []debNeed
		extra        string
	}{
		{"libc.so.6", "/usr/lib/x86_64-linux-gnu/libc.so.6", imports("libc.so.6", "memcpy"), []string{"GLIBC_2.14"}, []debNeed{{"libc6", "2.14"}}, ""},
		{"libc.so.6", "/usr/lib/x86_64-linux-gnu/libc.so.6", imports("libc.so.6", "memcpy"), []string{"GLIBC_2.2.5"}, []debNeed{{"libc6", "2.2.5"}}, ""},
		{"libc.so.6", "/usr/lib/x86_64-linux-gnu/libc.so.6", imports("libc.so.6", "memcpy", "newer"), []string{"GLIBC_2.14", "GLIBC_2.34"}, []debNeed{{"libc6", "2.34"}}, ""},
		{"libc.so.6", "/usr/lib/x86_64-linux-gnu/libc.so.6", imports("libc.so.6", "secret"), []string{"GLIBC_PRIVATE"}, nil, "libc6 (>> 2.36), libc6 (<< 2.37)"},
		{"libc.so.6", "/usr/lib/x86_64-linux-gnu/libc.so.6", imports("libm.so.6", "newer"), []string{"GLIBC_2.34"}, []debNeed{{"libc6", ""}}, ""},
		{"libz.so.1", "/lib/libz.so.1.2", nil, nil, nil, "libz1 (>= 1:1.2)"},
		{"libplain.so.4", "/usr/lib/libplain.so.4", nil, nil, []debNeed{{"plain", ""}}, ""},
		{"libalt.so.1", "/usr/lib/libalt.so.1", imports("", "f"), nil, nil, "libalt (>= 2) | libalt-compat"},
		{"libno.so.1", "/nowhere", nil, nil, nil, ""},
	} {
		needs, extra, err := d.library(c.soname, c.file, c.imports, c.versions)
		if err != nil || !reflect.DeepEqual(needs, c.needs) || extra != c.extra {
			t.Errorf("%s %v: %v %q %v", c.soname, c.versions, needs, extra, err)
		}
	}
}
