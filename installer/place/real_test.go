//go:build acceptance && linux

package place_test

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"modwsgi/installer/place"
	"modwsgi/internal/fault"
	"modwsgi/internal/pydist"
	"modwsgi/internal/run"
)

func init() { everyCombination = true }

func mount(t *testing.T, kind, at, options string) {
	t.Helper()
	if err := unix.Mount(kind, at, kind, 0, options); err != nil {
		t.Skipf("mount %s: %v", kind, err)
	}
	t.Cleanup(func() { _ = unix.Unmount(at, unix.MNT_DETACH) })
}

// In a container the environment is often in a lower layer, whose directories overlayfs
// does not rename.
func TestOverlay(t *testing.T) {
	root := t.TempDir()
	for _, d := range []string{"lower", "upper", "work", "merged"} {
		must(t, os.Mkdir(filepath.Join(root, d), 0o755))
	}
	mount(t, "tmpfs", filepath.Join(root, "upper"), "")
	for _, d := range []string{"upper/u", "upper/w"} {
		must(t, os.Mkdir(filepath.Join(root, d), 0o755))
	}
	lower := newWorld(t, filepath.Join(root, "lower"))
	merged := filepath.Join(root, "merged")
	mount(t, "overlay", merged, fmt.Sprintf("lowerdir=%s,upperdir=%s,workdir=%s,redirect_dir=off",
		filepath.Join(root, "lower"), filepath.Join(root, "upper/u"), filepath.Join(root, "upper/w")))
	w := worldAt(merged)
	before := w.snapshot(t)
	l := w.lock(t)
	tx, err := l.Apply(t.Context(), w.request(t))
	must(t, err)
	w.pipSeesWhole(t, "applied")
	must(t, tx.Rollback())
	w.mustBe(t, before, "rolled back")
	tx, err = l.Apply(t.Context(), w.request(t))
	must(t, err)
	must(t, tx.Commit())
	w.pipSeesWhole(t, "committed")
	lower.mustBe(t, before, "the lower layer")
	must(t, l.Unlock())
}

func TestFullFileSystem(t *testing.T) {
	root := t.TempDir()
	mount(t, "tmpfs", root, "size=2m")
	w := newWorld(t, root)
	before := w.snapshot(t)
	big := filepath.Join(t.TempDir(), "big")
	must(t, os.WriteFile(big, bytes.Repeat([]byte("x"), 4<<20), 0o644))
	r := w.request(t)
	r.Items = append(r.Items, place.Item{Source: big, Target: filepath.Join(w.site, "big")})
	l := w.lock(t)
	_, err := l.Apply(t.Context(), r)
	if !errors.Is(err, syscall.ENOSPC) || fault.ClassOf(err) != fault.Place || !strings.Contains(fault.HintOf(err), "room") {
		t.Errorf("error is %v, hint %q", err, fault.HintOf(err))
	}
	w.mustBe(t, before, "after the failure")
	must(t, l.Unlock())
}

func TestReadOnlyFileSystem(t *testing.T) {
	root := t.TempDir()
	mount(t, "tmpfs", root, "")
	w := newWorld(t, root)
	if err := unix.Mount("", root, "", unix.MS_REMOUNT|unix.MS_RDONLY, ""); err != nil {
		t.Skip(err)
	}
	before := w.snapshot(t)
	err := place.Writable(w.site, filepath.Join(w.bin, "prog"))
	if !errors.Is(err, syscall.EROFS) || fault.HintOf(err) == "" {
		t.Errorf("error is %v", err)
	}
	if _, err := place.Lock(t.Context(), w.site, 0, nil); !errors.Is(err, syscall.EROFS) || fault.ClassOf(err) != fault.Place || fault.HintOf(err) == "" {
		t.Errorf("error is %v", err)
	}
	w.mustBe(t, before, "after the failure")
}

// A real httpd has thirty megabytes in fifteen hundred files.
func BenchmarkApply(b *testing.B) {
	w := newWorld(b, b.TempDir())
	for i := range 1500 {
		write(b, filepath.Join(w.stage, "site"), map[string]string{fmt.Sprintf("demo/d%d/f%d", i%40, i): strings.Repeat("0123456789", 2000)})
	}
	l, err := place.Lock(b.Context(), w.site, time.Minute, nil)
	must(b, err)
	defer l.Unlock()
	for b.Loop() {
		tx, err := l.Apply(b.Context(), w.request(b))
		must(b, err)
		must(b, tx.Rollback())
	}
}

func TestRealPip(t *testing.T) {
	if testing.Short() {
		t.Skip("-short starts no Python")
	}
	found := 0
	for _, name := range []string{"/root/.pyenv/versions/3.8.18/bin/python3", "/root/.pyenv/versions/3.11.7/bin/python3", "/root/.pyenv/versions/3.13.0/bin/python3", "/usr/bin/python3"} {
		if _, err := os.Stat(name); err != nil {
			continue
		}
		if _, err := new(run.Runner).Output(t.Context(), run.Cmd{Argv: []string{name, "-c", "import ensurepip, venv"}}); err != nil {
			continue
		}
		found++
		t.Run(name, func(t *testing.T) { realPip(t, name) })
	}
	if found == 0 {
		t.Skip("no python3 that can make environments with pip")
	}
}

func realPip(t *testing.T, python string) {
	prefix := filepath.Join(t.TempDir(), "it's an env")
	tool := func(argv ...string) string {
		t.Helper()
		env := []string{"PATH=/usr/bin:/bin", "PIP_DISABLE_PIP_VERSION_CHECK=1", "PIP_NO_INDEX=1", "PYTHONDONTWRITEBYTECODE=1", "HOME=" + t.TempDir()}
		out, err := new(run.Runner).Output(t.Context(), run.Cmd{Argv: argv, Env: env})
		if err != nil {
			var failed *run.Error
			errors.As(err, &failed)
			t.Fatalf("%v: %v\n%s", argv, err, strings.Join(failed.Tail, "\n"))
		}
		return string(out)
	}
	tool(python, "-m", "venv", prefix)
	python = filepath.Join(prefix, "bin", "python")
	w := world{
		prefix: prefix, bin: filepath.Join(prefix, "bin"), stage: t.TempDir(),
		site: strings.TrimSpace(tool(python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))")),
	}
	before := w.snapshot(t)
	write(t, filepath.Join(w.stage, "site"), map[string]string{
		"mod_demo/__init__.py": "", "mod_demo/server/mod.so": "elf", "mod_packages/httpd/conf/httpd.conf": "conf",
		// Without a file directly in it pip would leave the empty directory.
		"mod_packages/__init__.py":          "",
		"mod_packages/httpd/a, \"b\" ü.txt": "odd", "mod_packages/httpd/link": "-> conf/httpd.conf",
	})
	must(t, os.MkdirAll(filepath.Join(w.stage, "site/mod_packages/httpd/logs"), 0o755))
	write(t, filepath.Join(w.stage, "bin"), map[string]string{"mod_demo-express": "#!/bin/sh\n", "mod_demo-apxs": "#!/bin/sh\n"})
	infos := []string{
		stageDist(t, w, pydist.Dist{Name: "mod_demo", Version: "5.0.2", Requires: []string{"mod_demo-httpd>=2.4", `six; extra == "x"`}, RequiresPython: ">=3.8"},
			"mod_demo/__init__.py", "mod_demo/server/mod.so", "../../../bin/mod_demo-express"),
		stageDist(t, w, pydist.Dist{Name: "mod_demo-httpd", Version: "2.4.68", Summary: "Größe: ü"},
			"mod_packages/__init__.py", "mod_packages/httpd/conf/httpd.conf", "mod_packages/httpd/a, \"b\" ü.txt", "mod_packages/httpd/link", "../../../bin/mod_demo-apxs"),
	}
	r := place.Request{Label: "demo", Roots: []string{w.prefix}}
	for _, name := range append([]string{"mod_demo", "mod_packages"}, infos...) {
		r.Items = append(r.Items, place.Item{Source: filepath.Join(w.stage, "site", name), Target: filepath.Join(w.site, name)})
	}
	for _, name := range []string{"mod_demo-express", "mod_demo-apxs"} {
		r.Items = append(r.Items, place.Item{Source: filepath.Join(w.stage, "bin", name), Target: filepath.Join(w.bin, name)})
	}
	tx, err := w.lock(t).Apply(t.Context(), r)
	must(t, err)
	must(t, tx.Commit())
	if out := tool(python, "-m", "pip", "list"); !strings.Contains(out, "mod_demo-httpd") && !strings.Contains(out, "mod-demo-httpd") {
		t.Errorf("pip list: %s", out)
	}
	show := tool(python, "-m", "pip", "show", "-f", "mod_demo-httpd")
	for _, want := range []string{"Version: 2.4.68", "Größe", "Required-by: mod", "mod_packages/httpd/conf/httpd.conf", `a, "b" ü.txt`, "../../../bin/mod_demo-apxs", "RECORD"} {
		if !strings.Contains(show, want) {
			t.Errorf("pip show has no %s:\n%s", want, show)
		}
	}
	if out := tool(python, "-m", "pip", "check"); !strings.Contains(out, "No broken") {
		t.Errorf("pip check: %s", out)
	}
	if out := tool(python, "-c", "import importlib.metadata as m; print(m.distribution('mod_demo').metadata['Name'], len(m.files('mod_demo')), m.version('mod_demo_httpd'))"); out != "mod_demo 8 2.4.68\n" {
		t.Errorf("importlib.metadata: %s", out)
	}
	tool(python, "-m", "pip", "uninstall", "-y", "mod_demo", "mod_demo-httpd")
	w.mustBe(t, before, "after pip uninstall")
}

// stageDist describes staged files and returns the name of their dist-info.
func stageDist(t *testing.T, w world, d pydist.Dist, files ...string) string {
	t.Helper()
	d.Tag, d.Installer, d.Requested = "py3-none-any", "modwsgi", true
	for _, f := range files {
		source := filepath.Join(w.stage, "site", filepath.FromSlash(f))
		if program, ok := strings.CutPrefix(f, "../../../bin/"); ok {
			source = filepath.Join(w.stage, "bin", program)
		}
		d.Files = append(d.Files, pydist.File{Path: f, Source: source})
	}
	dir, err := d.WriteInfo(filepath.Join(w.stage, "site"))
	must(t, err)
	return filepath.Base(dir)
}
