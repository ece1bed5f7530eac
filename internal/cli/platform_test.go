package cli

import (
	"bytes"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"modwsgi/internal/platform"
)

// foreign is a run of the program as on another system. PATH has programs that leave a
// trace if anything starts them.
type foreign struct {
	dir, trace string
	env        []string
}

func newForeign(t *testing.T) *foreign {
	t.Helper()
	f := &foreign{dir: t.TempDir(), trace: filepath.Join(t.TempDir(), "started")}
	bin := t.TempDir()
	for _, name := range []string{"python3", "python", "cc", "gcc", "clang", "httpd", "apachectl", "apxs", "x86_64-w64-mingw32-gcc"} {
		if err := os.WriteFile(filepath.Join(bin, name), []byte("#!/bin/sh\necho "+name+" >>"+f.trace+"\nexit 1\n"), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	f.env = []string{"PATH=" + bin, "HOME=" + f.dir, "TMPDIR=" + t.TempDir()}
	return f
}

func (f *foreign) run(t *testing.T, system platform.System, args ...string) result {
	t.Helper()
	var out, errOut bytes.Buffer
	code := Main(t.Context(), Process{
		Args: args, Env: f.env, Dir: f.dir, Executable: "/nowhere/modwsgi", Stdout: &out, Stderr: &errOut, System: system,
	})
	return result{out.String(), errOut.String(), code}
}

// untouched reports what was started, and files that were made.
func (f *foreign) untouched(t *testing.T) string {
	t.Helper()
	started, _ := os.ReadFile(f.trace)
	var made []string
	err := filepath.WalkDir(f.dir, func(path string, _ fs.DirEntry, err error) error {
		if path != f.dir && filepath.Base(path) != "release.toml" {
			made = append(made, path)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(started) > 0 || len(made) > 0 {
		return fmt.Sprintf("started %q, made %q", started, made)
	}
	return ""
}

// TestRefusedSystems: whatever builds on this machine is refused where modwsgi does not
// build, before anything is started, downloaded or written, with what works instead.
func TestRefusedSystems(t *testing.T) {
	for system, name := range map[platform.System]string{"darwin": "macOS", "freebsd": "FreeBSD", "openbsd": "OpenBSD", "windows": "Windows"} {
		for _, args := range []string{
			"install", "install --dry-run", "install --httpd /opt/homebrew/opt/httpd/bin/httpd --offline", "install --json", "verify",
			"package wheel", "package wheel --python python3", "package wheel --from-env .venv", "package deb", "package rpm", "package apk", "package oci --base python:3.12-slim",
			"package oci --stage copy --base scratch", "package local-wheel",
		} {
			t.Run(name+" "+args, func(t *testing.T) {
				f := newForeign(t)
				r := f.run(t, system, strings.Fields(args)...)
				if r.code != 3 || !strings.Contains(r.err, "on "+name+": modwsgi builds httpd and mod_wsgi only on Linux") {
					t.Errorf("%+v", r)
				}
				if !strings.Contains(r.err, "modwsgi: hint: ") || !strings.Contains(r.err, "module build --target windows/amd64") {
					t.Errorf("without what works instead: %s", r.err)
				}
				if did := f.untouched(t); did != "" {
					t.Error(did)
				}
			})
		}
	}
}

// TestRefusedReleases: a release.toml for macOS is refused everywhere, and on macOS one
// without platforms, or with a format that cannot be made there.
func TestRefusedReleases(t *testing.T) {
	const start = "schema = 1\npythons = [\"3.11\"]\n"
	for name, c := range map[string]struct {
		system platform.System
		file   string
		want   []string
	}{
		"macOS from Linux":   {"linux", start + "formats = [\"wheel\"]\nplatforms = [\"darwin/arm64\"]\n", []string{"release.toml:4:", `"darwin/arm64": nothing can be made for macOS, on any machine`}},
		"macOS from macOS":   {"darwin", start + "formats = [\"wheel\"]\nplatforms = [\"darwin/arm64\"]\n", []string{"release.toml:4:", `"darwin/arm64": nothing can be made for macOS`, "for windows/amd64"}},
		"one of several":     {"linux", start + "formats = [\"wheel\"]\nplatforms = [\"windows/amd64\", \"macos/arm64\"]\n", []string{"release.toml:4:", "nothing can be made for macOS"}},
		"FreeBSD":            {"linux", start + "formats = [\"wheel\"]\nplatforms = [\"freebsd/amd64\"]\n", []string{"release.toml:4:", "nothing can be made for FreeBSD"}},
		"no platforms":       {"darwin", start + "formats = [\"wheel\"]\n", []string{"release.toml:3:", "platforms is missing, which means darwin/", `write platforms = ["windows/amd64"]`}},
		"deb on macOS":       {"darwin", start + "formats = [\"deb\", \"wheel\"]\nplatforms = [\"windows/amd64\"]\n", []string{"release.toml:3:", "deb cannot be made on this system, use one of wheel, zip"}},
		"image on macOS":     {"darwin", start + "formats = [\"oci\"]\n", []string{"release.toml:3:", "oci cannot be made on this system"}},
		"Linux from macOS":   {"darwin", start + "formats = [\"wheel\"]\nplatforms = [\"linux/amd64\"]\n", []string{"release.toml:4:", `this machine cannot make artifacts for "linux/amd64", only for windows/amd64`}},
		"Linux from Windows": {"windows", start + "formats = [\"wheel\"]\nplatforms = [\"linux/amd64\"]\n", []string{"release.toml:4:", "only for windows/amd64"}},
	} {
		t.Run(name, func(t *testing.T) {
			f := newForeign(t)
			if err := os.WriteFile(filepath.Join(f.dir, "release.toml"), []byte(c.file), 0o644); err != nil {
				t.Fatal(err)
			}
			for _, more := range [][]string{nil, {"--dry-run"}} {
				r := f.run(t, c.system, append([]string{"package", "--matrix", "release.toml"}, more...)...)
				if r.code != 2 {
					t.Errorf("%+v", r)
				}
				for _, want := range c.want {
					if !strings.Contains(r.err, want) {
						t.Errorf("lacks %q: %s", want, r.err)
					}
				}
			}
			if did := f.untouched(t); did != "" {
				t.Error(did)
			}
		})
	}
}

// TestRemainingSystems: the commands that a refusal names are not refused on macOS. They
// get as far as on Linux, to the missing Python or compiler.
func TestRemainingSystems(t *testing.T) {
	for _, args := range []string{
		"detect", "list", "cache list", "version", "package verify .", "package sdist --offline", "uninstall",
		"module build --target windows/amd64 --python 3.11 --offline", "package windows --python 3.11 --launcher x.exe",
		"package oci --stage copy --base oci-layout:base", "package --matrix release.toml --dry-run",
	} {
		t.Run(args, func(t *testing.T) {
			var got [2]result
			for k, system := range []platform.System{"linux", "darwin"} {
				f := newForeign(t)
				f.dir = filepath.Join(f.dir, "here")
				if err := os.MkdirAll(f.dir, 0o755); err != nil {
					t.Fatal(err)
				}
				file := "schema = 1\npythons = [\"3.11\"]\nformats = [\"wheel\", \"zip\"]\nplatforms = [\"windows/amd64\"]\n"
				if err := os.WriteFile(filepath.Join(f.dir, "release.toml"), []byte(file), 0o644); err != nil {
					t.Fatal(err)
				}
				got[k] = f.run(t, system, strings.Fields(args)...)
				for _, text := range []*string{&got[k].out, &got[k].err} {
					*text = strings.ReplaceAll(*text, f.dir, "DIR")
				}
			}
			if strings.Contains(got[1].err, "macOS") || got[0].code != got[1].code {
				t.Errorf("on Linux %+v\non macOS %+v", got[0], got[1])
			}
		})
	}
}

// TestDoctorOnOtherSystems: doctor reports an unsupported system as a separate
// check, and neither compiles nor suggests to install.
func TestDoctorOnOtherSystems(t *testing.T) {
	f := newForeign(t)
	r := f.run(t, "darwin", "doctor", "--port", "8080", "--user", "nobody")
	if r.code != 3 || !strings.Contains(r.out, "system       modwsgi cannot build httpd and mod_wsgi on macOS, and nothing can serve there") {
		t.Errorf("%+v", r)
	}
	for _, check := range []string{"compiler", "headers", "build ", "port", "user", "modwsgi install"} {
		if strings.Contains(r.out, check+" ") {
			t.Errorf("%s is checked, or suggested: %s", check, r.out)
		}
	}
	if started, _ := os.ReadFile(f.trace); strings.Contains(string(started), "cc") || strings.Contains(string(started), "httpd") {
		t.Errorf("started %s", started)
	}
	if r = f.run(t, "windows", "doctor"); !strings.Contains(r.out, "note     system       modwsgi cannot build httpd and mod_wsgi on Windows, which serves") {
		t.Errorf("%+v", r)
	}
	if r = f.run(t, "linux", "doctor"); !strings.Contains(r.out, "ok       system       httpd and mod_wsgi can be built and can serve on Linux") {
		t.Errorf("%+v", r)
	}
}
