package winzip

import (
	"debug/pe"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"modwsgi/internal/fault"
	"modwsgi/internal/pe/petest"
	"modwsgi/packaging"
)

// stage is a stage that fails late: its launcher is not a Go program.
func stage(t *testing.T, machine uint16) *packaging.Stage {
	t.Helper()
	dir := t.TempDir()
	put := func(name string, data []byte) {
		path := filepath.Join(dir, filepath.FromSlash(name))
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, data, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	binary := petest.File{Machine: machine, DLL: true, Exports: []string{"wsgi_module"}}.Bytes()
	put("site/mod_wsgi/__init__.py", nil)
	put("site/mod_wsgi/server/m.pyd", binary)
	put("site/mod_wsgi/server/build.json", []byte(`{"schema":1,"module":{"file":"m.pyd","version":"5.0.2"}}`))
	put("bin/mod_wsgi-express.exe", binary)
	return &packaging.Stage{
		Site: filepath.Join(dir, "site"), Bin: filepath.Join(dir, "bin"), Time: time.Unix(0, 0),
		Module: &packaging.Module{
			Package: "mod_wsgi", File: "mod_wsgi/server/m.pyd", Receipt: "mod_wsgi/server/build.json", Version: "5.0.2", HTTPD: "2.4.68",
			Python: packaging.Python{Version: "3.11.2", Tag: "cp311", ABI: "cp311"},
		},
	}
}

// TestRefused: each is named, and nothing appears in the output directory.
func TestRefused(t *testing.T) {
	for want, change := range map[string]func(*packaging.Stage) *packaging.Stage{
		"no module":    func(s *packaging.Stage) *packaging.Stage { s.Module = nil; return s },
		"is for ARM64": func(*packaging.Stage) *packaging.Stage { return stage(t, pe.IMAGE_FILE_MACHINE_ARM64) },
		"read m.pyd": func(s *packaging.Stage) *packaging.Stage {
			_ = os.Remove(filepath.Join(s.Site, "mod_wsgi/server/m.pyd"))
			return s
		},
		"not a Windows program or library": func(s *packaging.Stage) *packaging.Stage {
			_ = os.WriteFile(filepath.Join(s.Bin, express), []byte("text"), 0o755)
			return s
		},
		"read the record": func(s *packaging.Stage) *packaging.Stage {
			_ = os.Remove(filepath.Join(s.Site, s.Module.Receipt))
			return s
		},
		"read the record of the": func(s *packaging.Stage) *packaging.Stage {
			_ = os.WriteFile(filepath.Join(s.Site, s.Module.Receipt), []byte("{"), 0o644)
			return s
		},
		"components": nil,
	} {
		s := stage(t, pe.IMAGE_FILE_MACHINE_AMD64)
		if change != nil {
			s = change(s)
		}
		out := filepath.Join(t.TempDir(), "dist")
		d, err := packaging.Open(out, false)
		if err != nil {
			t.Fatal(err)
		}
		_, zerr := Zip(t.Context(), d, s)
		_, werr := Wheel(t.Context(), d, s, packaging.WheelChoices{})
		d.Abort()
		for _, err := range []error{zerr, werr} {
			if change == nil && err != nil {
				continue // the reason comes from the Go toolchain
			}
			if err == nil || !strings.Contains(err.Error(), want) || fault.ClassOf(err) == fault.Internal {
				t.Errorf("%s: %v", want, err)
			}
		}
		if _, err := os.Lstat(out); err == nil {
			t.Errorf("%s: %s is there", want, out)
		}
	}
}

func TestConfiguration(t *testing.T) {
	w := &work{stage: stage(t, pe.IMAGE_FILE_MACHINE_AMD64)}
	text := string(crlf([]byte(w.configuration())))
	for _, want := range []string{
		"LoadFile \"${PYTHONHOME}/python311.dll\"\r\n", "LoadModule wsgi_module modules/mod_wsgi.so\r\n", "WSGIPythonHome \"${PYTHONHOME}\"\r\n",
		"WSGIApplicationGroup %{GLOBAL}\r\n", "Define PYTHONHOME \"C:/Python311\"\r\n",
	} {
		if strings.Count(text, want) != 1 {
			t.Errorf("%q is there %d times", want, strings.Count(text, want))
		}
	}
	if strings.Index(text, "LoadFile \"$") > strings.Index(text, "LoadModule wsgi") || strings.Contains(strings.ReplaceAll(text, "\r\n", ""), "\n") || strings.Contains(text, "%!") {
		t.Error(text)
	}
	if readme := w.readme(); strings.Contains(readme, "%!") || strings.Contains(readme, "vc1") || !strings.Contains(readme, "under wine") {
		t.Error(readme)
	}
	if got := ZipName("5.0.2", "cp311"); got != "mod_wsgi-5.0.2-ap24-win-amd64-cp311.zip" {
		t.Error(got)
	}
}
