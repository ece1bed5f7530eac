//go:build unix

package packaging

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"modwsgi/internal/fault"
)

// plant creates files below a directory: a name that ends in a slash is a directory,
// and the content "-> x" makes a link to x.
func plant(t *testing.T, root string, files map[string]string) {
	t.Helper()
	for name, text := range files {
		path := filepath.Join(root, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		var err error
		switch target, link := strings.CutPrefix(text, "-> "); {
		case link:
			err = os.Symlink(target, path)
		case strings.HasSuffix(name, "/"):
			err = os.MkdirAll(path, 0o755)
		default:
			err = os.WriteFile(path, []byte(text), 0o644)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
}

func TestScanLists(t *testing.T) {
	root := t.TempDir()
	plant(t, root, map[string]string{
		"b/ü.txt": "1", "a.txt": "22", "b/link": "-> ../a.txt", "empty/": "",
		"b/__pycache__/x.cpython-311.pyc": "x", "b/y.pyc": "x",
	})
	if err := os.Chmod(filepath.Join(root, "a.txt"), 0o700); err != nil {
		t.Fatal(err)
	}
	tree, err := Scan(root)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, f := range tree.Files {
		got = append(got, f.Path+" "+f.Mode().String()+" "+f.Link)
	}
	want := []string{"a.txt -rwxr-xr-x ", "b/link -rw-r--r-- ../a.txt", "b/ü.txt -rw-r--r-- "}
	if !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
	if f := tree.Files[0]; f.Size != 2 || len(f.SHA256) != 64 {
		t.Errorf("a.txt is %+v", f)
	}
	to := filepath.Join(t.TempDir(), "copy")
	if err := CopyTree(tree, to); err != nil {
		t.Fatal(err)
	}
	again, err := Scan(to)
	if err != nil || !slices.Equal(again.Files, tree.Files) {
		t.Errorf("the copy: %+v, %v", again, err)
	}
}

func TestScanRefuses(t *testing.T) {
	for name, c := range map[string]struct {
		files map[string]string
		then  func(t *testing.T, root string)
		says  []string
	}{
		"empty":           {map[string]string{"dir/": ""}, nil, []string{"contains no file"}},
		"only bytecode":   {map[string]string{"x.pyc": ""}, nil, []string{"contains no file"}},
		"link outside":    {map[string]string{"a": "1", "dir/l": "-> ../../etc/passwd"}, nil, []string{`"dir/l" is a link to outside the tree`}},
		"absolute link":   {map[string]string{"a": "1", "l": "-> /etc/passwd"}, nil, []string{"absolute path, /etc/passwd"}},
		"dead link":       {map[string]string{"a": "1", "l": "-> gone"}, nil, []string{`"l" is a broken link`}},
		"circle":          {map[string]string{"a": "1", "l": "-> m", "m": "-> l"}, nil, []string{`"l" is a broken link`}},
		"case":            {map[string]string{"README": "1", "readme": "2"}, nil, []string{"only by case"}},
		"case of a dir":   {map[string]string{"Lib/a": "1", "lib/b": "2"}, nil, []string{"only by case"}},
		"not UTF-8":       {map[string]string{"a\xff": "1"}, nil, []string{`"a\xff" has a name that is not UTF-8`}},
		"control":         {map[string]string{"a\nb": "1"}, nil, []string{"control character"}},
		"backslash":       {map[string]string{`a\b`: "1"}, nil, []string{"backslash"}},
		"all of them":     {map[string]string{"a\nb": "1", "l": "-> gone"}, nil, []string{"control character", "is a broken link"}},
		"set-user-id":     {map[string]string{"suexec": "1"}, func(t *testing.T, root string) { chmod(t, root+"/suexec", 0o755|os.ModeSetuid) }, []string{`"suexec" has a set-user-id`}},
		"set-group-id":    {map[string]string{"x": "1"}, func(t *testing.T, root string) { chmod(t, root+"/x", 0o755|os.ModeSetgid) }, []string{"set-group-id"}},
		"fifo":            {map[string]string{"x": "1"}, func(t *testing.T, root string) { fifo(t, root+"/pipe") }, []string{`"pipe" is neither`}},
		"unreadable file": {map[string]string{"x": "1"}, func(t *testing.T, root string) { chmod(t, root+"/x", 0) }, []string{`"x" cannot be read: permission denied`}},
		"unreadable dir":  {map[string]string{"a": "", "d/x": "1"}, func(t *testing.T, root string) { chmod(t, root+"/d", 0) }, []string{`"d" cannot be read: permission denied`}},
		"many": {
			map[string]string{"1\n": "", "2\n": "", "3\n": "", "4\n": "", "5\n": "", "6\n": "", "7\n": "", "8\n": "", "9\n": "", "10\n": "", "11\n": "", "12\n": ""},
			nil,
			[]string{"and 2 more"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			if os.Geteuid() == 0 && strings.HasPrefix(name, "unreadable") {
				t.Skip("root reads everything")
			}
			root := t.TempDir()
			plant(t, root, c.files)
			if c.then != nil {
				c.then(t, root)
			}
			tree, err := Scan(root)
			if tree != nil || fault.ClassOf(err) != fault.Environment || fault.HintOf(err) == "" {
				t.Fatalf("got %+v, %v", tree, err)
			}
			for _, want := range append(c.says, root) {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("%q lacks %q", err, want)
				}
			}
		})
	}
	if _, err := Scan(filepath.Join(t.TempDir(), "gone")); err == nil || !strings.Contains(err.Error(), "no such file") {
		t.Errorf("missing: %v", err)
	}
}

func chmod(t *testing.T, name string, mode os.FileMode) {
	t.Helper()
	if err := os.Chmod(name, mode); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.Chmod(name, 0o700) })
}

func fifo(t *testing.T, name string) {
	t.Helper()
	if err := syscall.Mkfifo(name, 0o600); err != nil {
		t.Fatal(err)
	}
}
