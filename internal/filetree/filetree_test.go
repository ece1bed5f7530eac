package filetree

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
)

func plant(t *testing.T, dir string, files map[string]string) {
	t.Helper()
	for name, content := range files {
		name = filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
			t.Fatal(err)
		}
		if to, link := strings.CutPrefix(content, "-> "); link {
			if err := os.Symlink(to, name); err != nil {
				t.Skip(err)
			}
			continue
		}
		if err := os.WriteFile(name, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

func is(t *testing.T, name, content string, mode fs.FileMode) {
	t.Helper()
	info, err := os.Lstat(name)
	if err != nil {
		t.Fatal(err)
	}
	data, err := os.ReadFile(name)
	if err != nil || string(data) != content {
		t.Errorf("%s contains %q, %v", name, data, err)
	}
	if runtime.GOOS != "windows" && info.Mode() != mode {
		t.Errorf("%s has the mode %v, want %v", name, info.Mode(), mode)
	}
}

func TestCopyCreatesANewFile(t *testing.T) {
	dir := t.TempDir()
	plant(t, dir, map[string]string{"from": "content", "there": "mine", "victim": "mine", "link": "-> victim", "dangling": "-> victim2"})
	at := func(name string) string { return filepath.Join(dir, name) }
	if err := Copy(at("from"), at("to"), 0o757); err != nil {
		t.Fatal(err)
	}
	is(t, at("to"), "content", 0o757)
	for _, name := range []string{"there", "link", "dangling"} {
		if err := Copy(at("from"), at(name), 0o644); !errors.Is(err, fs.ErrExist) {
			t.Errorf("copy to %s: %v", name, err)
		}
	}
	if err := Copy(at("none"), at("to2"), 0o644); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("copy of nothing: %v", err)
	}
	is(t, at("there"), "mine", 0o600)
	is(t, at("victim"), "mine", 0o600)
	for _, name := range []string{"to2", "victim2"} {
		if _, err := os.Lstat(at(name)); err == nil {
			t.Errorf("%s was made", name)
		}
	}
}

func TestReplaceDoesNotFollowLinks(t *testing.T) {
	dir := t.TempDir()
	plant(t, dir, map[string]string{"from": "content", "there": "old", "victim": "mine", "link": "-> victim", "full/x": ""})
	at := func(name string) string { return filepath.Join(dir, name) }
	for _, name := range []string{"there", "link", "new"} {
		if err := Replace(at("from"), at(name), 0o755); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		is(t, at(name), "content", 0o755)
	}
	is(t, at("victim"), "mine", 0o600)
	if err := Replace(at("from"), at("full"), 0o755); err == nil {
		t.Error("a directory was replaced")
	}
	if err := Replace(at("none"), at("there"), 0o755); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("replace by nothing: %v", err)
	}
	is(t, at("there"), "content", 0o755)
}

func TestCreateInStaysInside(t *testing.T) {
	dir := t.TempDir()
	plant(t, dir, map[string]string{"tree/sub/x": "", "outside/y": "", "tree/out": "-> ../outside"})
	root, err := os.OpenRoot(filepath.Join(dir, "tree"))
	if err != nil {
		t.Fatal(err)
	}
	defer root.Close()
	if err := CreateIn(root, "sub/new", strings.NewReader("content"), 0o604); err != nil {
		t.Fatal(err)
	}
	is(t, filepath.Join(dir, "tree/sub/new"), "content", 0o604)
	for _, name := range []string{"sub/x", "out/new", "../new", "none/new"} {
		if err := CreateIn(root, name, strings.NewReader("content"), 0o644); err == nil {
			t.Errorf("%s was made", name)
		}
	}
}

func TestSize(t *testing.T) {
	dir := t.TempDir()
	plant(t, dir, map[string]string{"tree/a": "123", "tree/sub/b": "4567", "outside": "123456789", "tree/link": "-> ../outside", "tree/dir": "-> ../tree/sub"})
	if n := Size(os.DirFS(filepath.Join(dir, "tree"))); n != 7 {
		t.Errorf("the size is %d", n)
	}
	if n := Size(os.DirFS(filepath.Join(dir, "none"))); n != 0 {
		t.Errorf("the size of nothing is %d", n)
	}
}

func TestGlob(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "a [b] {c}")
	if runtime.GOOS != "windows" {
		dir += `*?\`
	}
	plant(t, dir, map[string]string{"lib/b.so.1": "", "lib/a.so": "", "lib/c.txt": "", "lib64/d.so": "", "lib/gone.so": "-> none"})
	for pattern, want := range map[string][]string{
		"lib/*.so*":  {"lib/a.so", "lib/b.so.1", "lib/gone.so"},
		"lib*/d.so":  {"lib64/d.so"},
		"lib/c.txt":  {"lib/c.txt"},
		"none/*":     nil,
		"lib/[x-z]*": nil,
	} {
		for i := range want {
			want[i] = filepath.Join(dir, filepath.FromSlash(want[i]))
		}
		if got := Glob(dir, pattern); !slices.Equal(got, want) {
			t.Errorf("%s: %q, want %q", pattern, got, want)
		}
	}
	if got := Glob(filepath.Join(dir, "none"), "*"); len(got) > 0 {
		t.Errorf("below nothing: %q", got)
	}
	defer func() {
		if recover() == nil {
			t.Error("a malformed pattern was accepted")
		}
	}()
	Glob(dir, "[")
}

// TestResolve follows links as on the system whose root directory a tree is. A file of the
// same name on this machine does not matter.
func TestResolve(t *testing.T) {
	root := t.TempDir()
	plant(t, root, map[string]string{"usr/lib/x/real.so": "x", "etc/passwd": "inside"})
	for name, to := range map[string]string{
		"lib": "usr/lib", "usr/lib/x/one.so": "two.so", "usr/lib/x/two.so": "/lib/x/real.so", "usr/lib/x/passwd": "/etc/passwd",
		"usr/lib/x/above": "../../../../../../etc/passwd", "usr/lib/x/loop": "loop", "usr/lib/x/gone": "/bin/sh",
	} {
		if err := os.Symlink(to, filepath.Join(root, name)); err != nil {
			t.Fatal(err)
		}
	}
	link := filepath.Join(t.TempDir(), "link")
	if err := os.Symlink(root, link); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{
		"lib/x/one.so": "usr/lib/x/real.so", "/lib/x/two.so": "usr/lib/x/real.so", "usr/lib/x/passwd": "etc/passwd", "usr/lib/x/above": "etc/passwd",
		"../../etc/passwd": "etc/passwd", "usr/lib/x/loop": "", "usr/lib/x/gone": "", "usr/none": "", "": ".",
	} {
		for _, dir := range []string{root, link} {
			got, err := Resolve(dir, name)
			if want == "" {
				if err == nil {
					t.Errorf("%s: %s", name, got)
				}
			} else if err != nil || got != filepath.Join(dir, want) {
				t.Errorf("%s: %s, %v, want %s", name, got, err, want)
			}
		}
	}
}
