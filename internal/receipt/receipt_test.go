package receipt

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"modwsgi/internal/fault"
)

func place(t *testing.T, site string, data []byte) {
	t.Helper()
	name := filepath.Join(site, filepath.FromSlash(Path))
	if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(name, data, 0o644); err != nil {
		t.Fatal(err)
	}
}

func example() Receipt {
	return Receipt{
		Tool: "1.2.3", Key: "k", Module: Module{File: "m.so", Version: "5.0.2", SHA256: "s"},
		Python: Python{Version: "3.11.2", SOABI: "abi", Prefix: "/a 'b'/ü", LibPython: "/usr/lib/libpython3.11.so.1.0"},
		HTTPD: HTTPD{
			Provenance: "bundled", Version: "2.4.71", MMN: 20120211,
			Executable: "mod_wsgi_packages/httpd/bin/httpd", ModulesDir: "mod_wsgi_packages/httpd/modules", MPMs: []string{"event"},
		},
	}
}

func TestRelativePathsFollowTheEnvironment(t *testing.T) {
	outer := t.TempDir()
	site, moved := filepath.Join(outer, "a 'b'"), filepath.Join(outer, "moved")
	place(t, site, example().Encode())
	if err := os.Rename(site, moved); err != nil {
		t.Fatal(err)
	}
	got, err := Read(moved)
	if err != nil {
		t.Fatal(err)
	}
	want := example()
	want.Schema = Schema
	want.HTTPD.Executable = filepath.Join(moved, "mod_wsgi_packages/httpd/bin/httpd")
	want.HTTPD.ModulesDir = filepath.Join(moved, "mod_wsgi_packages/httpd/modules")
	if !reflect.DeepEqual(*got, want) { // an empty Rotatelogs stays empty
		t.Errorf("got %+v\nwant %+v", *got, want)
	}
}

func TestAbsolutePathsStay(t *testing.T) {
	r := example()
	r.HTTPD.Executable, r.HTTPD.ModulesDir, r.HTTPD.Rotatelogs = "/usr/sbin/apache2", "/usr/lib/apache2/modules", "/usr/bin/rotatelogs"
	site := t.TempDir()
	place(t, site, r.Encode())
	got, err := Read(site)
	if err != nil {
		t.Fatal(err)
	}
	r.Schema = Schema
	if !reflect.DeepEqual(*got, r) {
		t.Errorf("got %+v\nwant %+v", *got, r)
	}
}

func TestEncodeWritesTheSchema(t *testing.T) {
	r := example()
	r.Schema = 99
	if data := string(r.Encode()); !strings.HasPrefix(data, "{\n  \"schema\": 1,\n") || !strings.HasSuffix(data, "}\n") {
		t.Errorf("got %s", data)
	}
}

func TestReadRefuses(t *testing.T) {
	good := string(example().Encode())
	for name, c := range map[string]struct{ data, says string }{
		"empty":          {"", "damaged"},
		"cut":            {good[:len(good)/2], "damaged"},
		"not an object":  {"[1]", "damaged"},
		"wrong type":     {`{"schema": "1"}`, "damaged"},
		"two objects":    {good + good, "damaged"},
		"null":           {"null", "schema 0"},
		"no schema":      {"{}", "modwsgi (of an unknown version) wrote it with schema 0"},
		"another schema": {strings.Replace(good, `"schema": 1`, `"schema": 2`, 1), "modwsgi 1.2.3 wrote it with schema 2, this program knows 1"},
	} {
		t.Run(name, func(t *testing.T) {
			site := t.TempDir()
			place(t, site, []byte(c.data))
			r, err := Read(site)
			if r != nil || err == nil || !strings.Contains(err.Error(), c.says) {
				t.Fatalf("got %+v, %v", r, err)
			}
			if fault.ClassOf(err) != fault.Environment || !strings.Contains(fault.HintOf(err), "--reinstall") {
				t.Errorf("class %v, hint %q", fault.ClassOf(err), fault.HintOf(err))
			}
		})
	}
	if _, err := Read(t.TempDir()); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("no receipt: %v", err)
	}
}
