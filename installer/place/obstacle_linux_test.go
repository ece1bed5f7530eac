package place_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"modwsgi/installer/place"
	"modwsgi/internal/fault"
	"modwsgi/internal/run"
)

// attribute sets a chattr flag on a path until the test ends.
func attribute(t *testing.T, path string, flag int) {
	t.Helper()
	set := func(on bool) error {
		f, err := os.Open(path)
		if err != nil {
			return err
		}
		defer func() { _ = f.Close() }()
		now, err := unix.IoctlGetInt(int(f.Fd()), unix.FS_IOC_GETFLAGS)
		if err != nil {
			return err
		}
		now &^= flag
		if on {
			now |= flag
		}
		return unix.IoctlSetPointerInt(int(f.Fd()), unix.FS_IOC_SETFLAGS, now)
	}
	if err := set(true); err != nil {
		t.Skipf("SKIPPED: the file system of %s, or this user, sets no attributes: %v", path, err)
	}
	t.Cleanup(func() { _ = set(false) })
}

// TestAttributes: what nobody can move or remove is found before anything is changed, and
// named with a hint.
func TestAttributes(t *testing.T) {
	const immutable, appendOnly = unix.STATX_ATTR_IMMUTABLE, unix.STATX_ATTR_APPEND // the same bits as FS_*_FL
	for _, at := range []string{
		"site", "bin", "site/demo", "site/demo/gone.py", "site/demo/data", "site/demo-1.0.dist-info/RECORD", "site/mixed", "site/mixed/old",
		"bin/prog", "bin/retired", "site/mixed/__pycache__",
	} {
		for flag, advice := range map[int]string{immutable: "chattr -i ", appendOnly: "chattr -a "} {
			t.Run(fmt.Sprintf("%s %s", advice, at), func(t *testing.T) {
				w := newWorld(t, t.TempDir())
				path := filepath.Join(w.bin, strings.TrimPrefix(at, "bin"))
				if rest, ok := strings.CutPrefix(at, "site"); ok {
					path = filepath.Join(w.site, rest)
				}
				l := w.lock(t)
				before := w.snapshot(t)
				install, remove := w.request(t), w.request(t)
				remove.Items = nil
				attribute(t, path, flag)
				for what, r := range map[string]place.Request{"install": install, "uninstall": remove} {
					tx, err := l.Apply(t.Context(), r)
					if err == nil {
						t.Errorf("%s succeeded", what)
						must(t, tx.Rollback())
						continue
					}
					hint := fault.HintOf(err)
					if fault.ClassOf(err) != fault.Place || !strings.Contains(err.Error(), path) || !strings.Contains(hint, advice+run.Quote(path)) || !strings.Contains(hint, "nothing was changed") {
						t.Errorf("%s: %v\nhint: %s", what, err, hint)
					}
					w.mustBe(t, before, what)
				}
				if at == "site" || at == "bin" {
					if err := place.Writable(w.site, filepath.Join(w.bin, "prog")); !strings.Contains(fault.HintOf(err), advice+run.Quote(path)) {
						t.Errorf("Writable: %v, %s", err, fault.HintOf(err))
					}
					w.mustBe(t, before, "Writable")
				}
			})
		}
	}
}

// TestPartsThatAreMounts: a part on a read-only file system, and a mount point that
// should be removed, are found beforehand too.
func TestPartsThatAreMounts(t *testing.T) {
	bind := func(t *testing.T, path string, flags uintptr) {
		t.Helper()
		if err := unix.Mount(path, path, "", unix.MS_BIND, ""); err != nil {
			t.Skipf("SKIPPED: mount: %v", err)
		}
		t.Cleanup(func() { _ = unix.Unmount(path, unix.MNT_DETACH) })
		if flags != 0 {
			must(t, unix.Mount("", path, "", unix.MS_BIND|unix.MS_REMOUNT|flags, ""))
		}
	}
	for _, tt := range []struct {
		part  string
		flags uintptr
		want  []string
	}{
		{"bin", unix.MS_RDONLY, []string{"read-only"}},
		{"lib/python3.11/site-packages/mixed", unix.MS_RDONLY, []string{"read-only"}},
		{"lib/python3.11/site-packages/demo/data", 0, []string{"mount point", "unmount"}},
		{"bin/retired", 0, []string{"mount point", "unmount"}},
	} {
		t.Run(tt.part, func(t *testing.T) {
			w := newWorld(t, t.TempDir())
			l := w.lock(t)
			before := w.snapshot(t)
			r := w.request(t)
			path := filepath.Join(w.prefix, tt.part)
			bind(t, path, tt.flags)
			tx, err := l.Apply(t.Context(), r)
			if err == nil {
				must(t, tx.Rollback())
				t.Fatal("it succeeded")
			}
			text := err.Error() + fault.HintOf(err)
			for _, want := range append(tt.want, path) {
				if !strings.Contains(text, want) {
					t.Errorf("%s: no %q", text, want)
				}
			}
			w.mustBe(t, before, "after the failure")
			if tt.part == "bin" {
				if err := place.Writable(w.site, filepath.Join(w.bin, "prog")); !errors.Is(err, syscall.EROFS) {
					t.Errorf("Writable: %v", err)
				}
			}
		})
	}
}

// fill uses up all bytes and all inodes of a file system.
func fill(dir string) {
	for i := 0; ; i++ {
		name := filepath.Join(dir, fmt.Sprintf("fill-%d", i))
		f, err := os.Create(name)
		if err != nil {
			return
		}
		block := make([]byte, 64<<10)
		for len(block) > 0 {
			if _, err := f.Write(block); err != nil {
				block = block[:len(block)/2]
			}
		}
		_ = f.Close()
	}
}

// TestFilledMeanwhile fills the disk, without a byte or an inode left, at each step of a
// change: the change is made or undone completely, and can be undone after it was made.
// Undoing needs no space.
func TestFilledMeanwhile(t *testing.T) {
	if testing.Short() {
		t.Skip("-short mounts no file systems")
	}
	steps := func() (all []string) {
		place.SetFailpoint(func(name string) { all = append(all, name) })
		defer place.SetFailpoint(func(string) {})
		w := newWorld(t, memory(t))
		l := w.lock(t)
		tx, err := l.Apply(t.Context(), w.request(t))
		must(t, err)
		must(t, tx.Rollback())
		return all
	}()
	if !slices.Contains(steps, "placed") || !slices.Contains(steps, "undone") {
		t.Fatalf("steps are %q", steps)
	}
	kinds := map[string]func(t *testing.T) string{"tmpfs": func(t *testing.T) string {
		root := t.TempDir()
		if err := unix.Mount("tmpfs", root, "tmpfs", 0, "size=4m,nr_inodes=400"); err != nil {
			t.Skipf("SKIPPED: mount: %v", err)
		}
		t.Cleanup(func() { _ = unix.Unmount(root, unix.MNT_DETACH) })
		return root
	}, "ext4": ext4}
	for kind, mounted := range kinds {
		t.Run(kind, func(t *testing.T) {
			root := mounted(t)
			made, undone := 0, 0
			for i := range steps {
				if kind == "ext4" && i%3 != 0 { // a slow one
					continue
				}
				w := newWorld(t, filepath.Join(root, "w"))
				l, n := w.lock(t), 0
				before := w.snapshot(t)
				place.SetFailpoint(func(string) {
					if n++; n == i+1 {
						_ = os.Mkdir(filepath.Join(root, "full"), 0o755)
						fill(filepath.Join(root, "full"))
					}
				})
				tx, err := l.Apply(t.Context(), w.request(t))
				if err == nil {
					made++
					w.pipSeesWhole(t, "made")
					err = tx.Rollback()
					if err != nil {
						t.Errorf("filled at %q: undoing it: %v", steps[i], err)
					}
				} else if undone++; !strings.Contains(fault.HintOf(err), "nothing was changed") {
					t.Errorf("filled at %q: %v, hint %q", steps[i], err, fault.HintOf(err))
				}
				w.mustBe(t, before, fmt.Sprintf("filled at %q", steps[i]))
				place.SetFailpoint(func(string) {})
				must(t, l.Unlock())
				must(t, os.RemoveAll(filepath.Join(root, "full")))
				must(t, os.RemoveAll(filepath.Join(root, "w")))
			}
			if made == 0 || undone == 0 {
				t.Errorf("%d changes were made and %d failed", made, undone)
			}
		})
	}
}

// ext4 creates a small file system of the common kind, in a file.
func ext4(t *testing.T) string {
	root := t.TempDir()
	image, at := filepath.Join(root, "image"), filepath.Join(root, "at")
	must(t, os.WriteFile(image, nil, 0o600))
	must(t, os.Truncate(image, 8<<20))
	must(t, os.Mkdir(at, 0o755))
	for _, argv := range [][]string{
		{"mkfs.ext4", "-q", "-F", "-N", "400", "-m", "0", "-J", "size=1", image},
		{"mount", "-o", "loop", image, at},
	} {
		if out, err := new(run.Runner).Output(t.Context(), run.Cmd{Argv: argv, Env: os.Environ()}); err != nil {
			t.Skipf("SKIPPED: %s: %v %s", argv[0], err, out)
		}
	}
	t.Cleanup(func() { _ = unix.Unmount(at, unix.MNT_DETACH) })
	return at
}
