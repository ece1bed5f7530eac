package archive_test

import (
	"archive/tar"
	"archive/zip"
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/dsnet/compress/bzip2"
	"github.com/klauspost/compress/zstd"
	"github.com/ulikunitz/xz"

	"modwsgi/internal/archive"
	"modwsgi/internal/fault"
)

var then = time.Date(2023, 4, 5, 6, 7, 8, 0, time.UTC)

// item is an entry of a test archive.
type item struct {
	name string
	body string
	typ  byte // 0 is tar.TypeReg
	link string
	mode int64 // 0 is 0o644
	time time.Time
}

func file(name, body string) item     { return item{name: name, body: body} }
func dir(name string) item            { return item{name: name, typ: tar.TypeDir, mode: 0o700} }
func symlink(name, to string) item    { return item{name: name, typ: tar.TypeSymlink, link: to} }
func hardlink(name, to string) item   { return item{name: name, typ: tar.TypeLink, link: to} }
func node(name string, typ byte) item { return item{name: name, typ: typ} }

func makeTar(t testing.TB, items ...item) []byte {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, i := range items {
		if i.typ == tar.TypeXGlobalHeader {
			must(t, w.WriteHeader(&tar.Header{Typeflag: i.typ, PAXRecords: map[string]string{"comment": i.body}}))
			continue
		}
		h := &tar.Header{Name: i.name, Typeflag: i.typ, Linkname: i.link, Mode: i.mode, Size: int64(len(i.body)), ModTime: i.time, Uid: 4711, Uname: "nobody"}
		if h.Typeflag == 0 {
			h.Typeflag = tar.TypeReg
		}
		if h.Mode == 0 {
			h.Mode = 0o644
		}
		if h.ModTime.IsZero() {
			h.ModTime = then
		}
		must(t, w.WriteHeader(h))
		_, err := io.WriteString(w, i.body)
		must(t, err)
	}
	must(t, w.Close())
	return b.Bytes()
}

func gz(t testing.TB, data []byte) []byte {
	t.Helper()
	var b bytes.Buffer
	return compress(t, gzip.NewWriter(&b), &b, data)
}

func compress(t testing.TB, w io.WriteCloser, b *bytes.Buffer, data []byte) []byte {
	t.Helper()
	_, err := w.Write(data)
	must(t, err)
	must(t, w.Close())
	return b.Bytes()
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// arena is a directory with a neighbour that no archive may change.
type arena struct {
	t    testing.TB
	root string
	dest string
}

func newArena(t testing.TB) *arena {
	t.Helper()
	root := t.TempDir()
	must(t, os.WriteFile(filepath.Join(root, "neighbour"), []byte("mine"), 0o600))
	must(t, os.Mkdir(filepath.Join(root, "out"), 0o700))
	return &arena{t: t, root: root, dest: filepath.Join(root, "out", "tree")}
}

func (a *arena) extract(data []byte, o archive.Options) (archive.Stats, error) {
	a.t.Helper()
	return a.extractContext(a.t.Context(), data, o)
}

func (a *arena) extractContext(ctx context.Context, data []byte, o archive.Options) (archive.Stats, error) {
	a.t.Helper()
	name := filepath.Join(a.root, "archive.bin")
	must(a.t, os.WriteFile(name, data, 0o600))
	return archive.Extract(ctx, name, a.dest, o)
}

// untouched fails if anything was left behind or changed outside the directory.
func (a *arena) untouched() {
	a.t.Helper()
	left, err := os.ReadDir(filepath.Dir(a.dest))
	must(a.t, err)
	if len(left) > 0 {
		a.t.Errorf("left behind: %v", left)
	}
	around, err := os.ReadDir(a.root)
	must(a.t, err)
	if len(around) != 3 {
		a.t.Errorf("written outside: %v", around)
	}
	data, err := os.ReadFile(filepath.Join(a.root, "neighbour"))
	if err != nil || string(data) != "mine" {
		a.t.Errorf("the neighbour is %q, %v", data, err)
	}
}

// listing maps each path below root to its mode and content.
func listing(t testing.TB, root string) map[string]string {
	t.Helper()
	all := map[string]string{}
	must(t, filepath.WalkDir(root, func(p string, d fs.DirEntry, err error) error {
		if err != nil || p == root {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		rel, _ := filepath.Rel(root, p)
		text := info.Mode().String()
		switch {
		case info.Mode().IsRegular():
			data, err := os.ReadFile(p)
			if err != nil {
				return err
			}
			text += " " + string(data)
		case info.Mode()&fs.ModeSymlink != 0:
			to, err := os.Readlink(p)
			if err != nil {
				return err
			}
			text = "-> " + to
		}
		all[filepath.ToSlash(rel)] = text
		return nil
	}))
	return all
}

func TestExtractKeepsTimesAndNormalizesModes(t *testing.T) {
	long := "top/" + strings.Repeat("deep/", 30) + strings.Repeat("n", 120) + ".c"
	data := makeTar(t,
		item{name: "pax_global_header", typ: tar.TypeXGlobalHeader, body: "3f2a"},
		dir("top/"),
		item{name: "top/configure", body: "#!/bin/sh\n", mode: 0o7777},
		item{name: "top/late", body: "x", time: time.Now().Add(48 * time.Hour)},
		item{name: "./top/./src//main.c", body: "int main;", mode: 0o600},
		symlink("top/src/up.c", "../configure"),
		symlink("top/dangling", "src/not-there"),
		hardlink("top/copy.c", "top/src/main.c"),
		file(long, "long"),
		file("outside-of-top", "skipped by Strip"),
		file("top/docs/manual.html", "declined"),
		file("top/größe 'q\".txt", "odd name"),
	)
	a := newArena(t)
	stats, err := a.extract(gz(t, data), archive.Options{
		Strip: 1,
		Keep:  func(name string) bool { return !strings.HasPrefix(name, "docs/") },
	})
	must(t, err)
	want := map[string]string{
		"configure": "-rwxr-xr-x #!/bin/sh\n", "late": "-rw-r--r-- x", "src": "drwxr-xr-x",
		"src/main.c": "-rw-r--r-- int main;", "src/up.c": "-> ../configure", "dangling": "-> src/not-there",
		"copy.c": "-rw-r--r-- int main;", "größe 'q\".txt": "-rw-r--r-- odd name",
	}
	parts := strings.Split(strings.TrimPrefix(long, "top/"), "/")
	for i := 1; i < len(parts); i++ {
		want[strings.Join(parts[:i], "/")] = "drwxr-xr-x"
	}
	want[strings.Join(parts, "/")] = "-rw-r--r-- long"
	if got := listing(t, a.dest); !maps.Equal(got, want) {
		t.Errorf("got %v\nwant %v", got, want)
	}
	stats.SHA256 = "" // compared in hashed_test.go
	// The top directory is one of the three entries that Strip and Keep skipped.
	if want := (archive.Stats{Files: 6, Links: 2, Skipped: 3, Bytes: 10 + 1 + 9 + 9 + 4 + 8}); stats != want {
		t.Errorf("stats %+v, want %+v", stats, want)
	}
	info, err := os.Stat(filepath.Join(a.dest, "configure"))
	must(t, err)
	if !info.ModTime().Equal(then) {
		t.Errorf("time of configure is %v", info.ModTime())
	}
	info, err = os.Stat(filepath.Join(a.dest, "late"))
	must(t, err)
	if info.ModTime().After(time.Now()) {
		t.Errorf("a time in the future was kept: %v", info.ModTime())
	}
	if info, err = os.Stat(a.dest); err != nil || info.Mode() != fs.ModeDir|0o755 {
		t.Errorf("the tree has mode %v, %v", info.Mode(), err)
	}
}

func TestDirectoryTimesSurviveTheirContents(t *testing.T) {
	a := newArena(t)
	_, err := a.extract(makeTar(t, dir("d/"), dir("d/e/"), file("d/e/f", "x"), symlink("d/l", "e")), archive.Options{})
	must(t, err)
	for _, name := range []string{"d", "d/e", "d/e/f"} {
		info, err := os.Stat(filepath.Join(a.dest, name))
		must(t, err)
		if !info.ModTime().Equal(then) {
			t.Errorf("%s has time %v", name, info.ModTime())
		}
	}
}

func TestFormatsAreDetectedByContent(t *testing.T) {
	plain := makeTar(t, file("a", strings.Repeat("content ", 1000)))
	var b, x, s, z bytes.Buffer
	bw, err := bzip2.NewWriter(&b, nil)
	must(t, err)
	xw, err := xz.NewWriter(&x)
	must(t, err)
	sw, err := zstd.NewWriter(&s)
	must(t, err)
	zw := zip.NewWriter(&z)
	w, err := zw.Create("a")
	must(t, err)
	_, err = io.WriteString(w, strings.Repeat("content ", 1000))
	must(t, err)
	must(t, zw.SetComment("a comment"))
	must(t, zw.Close())
	for name, data := range map[string][]byte{
		"tar": plain, "gz": gz(t, plain), "bz2": compress(t, bw, &b, plain), "xz": compress(t, xw, &x, plain),
		"zst": compress(t, sw, &s, plain), "zip": z.Bytes(),
	} {
		t.Run(name, func(t *testing.T) {
			a := newArena(t)
			stats, err := a.extract(data, archive.Options{})
			must(t, err)
			if got := listing(t, a.dest)["a"]; got != "-rw-r--r-- "+strings.Repeat("content ", 1000) {
				t.Errorf("got %.40q", got)
			}
			if stats.SHA256 = ""; stats != (archive.Stats{Files: 1, Bytes: 8000}) {
				t.Errorf("stats %+v", stats)
			}
		})
		// Every format must detect a missing end, and trailing garbage.
		t.Run(name+" truncated", func(t *testing.T) {
			for _, cut := range []int{1, 5, 9, len(data) / 3} {
				if name == "tar" {
					cut += 1024 * 9 // the writer pads up to here with the end mark only
				}
				a := newArena(t)
				if cut >= len(data) {
					continue
				}
				_, err := a.extract(data[:len(data)-cut], archive.Options{})
				if err == nil {
					t.Errorf("%d bytes missing and no error", cut)
				}
				a.untouchedAfter(err == nil)
			}
		})
		t.Run(name+" with junk behind", func(t *testing.T) {
			a := newArena(t)
			if _, err := a.extract(append(slices.Clone(data), "junk"...), archive.Options{}); err == nil {
				t.Error("no error")
			}
			a.untouched()
		})
	}
}

func (a *arena) untouchedAfter(extracted bool) {
	a.t.Helper()
	if !extracted {
		a.untouched()
	}
}

func TestHostileTarsAreRefusedByName(t *testing.T) {
	f := file("sub/a", "x")
	for what, row := range map[string]struct {
		items []item
		entry string
		say   string
	}{
		"absolute":               {[]item{f, file("/etc/evil", "x")}, "/etc/evil", "absolute"},
		"dot dot":                {[]item{f, file("../../neighbour", "x")}, "../../neighbour", `".."`},
		"dot dot inside":         {[]item{f, file("sub/../b", "x")}, "sub/../b", `".."`},
		"dot dot directory":      {[]item{f, dir("../up/")}, "../up/", `".."`},
		"backslash":              {[]item{f, file(`sub\..\..\evil`, "x")}, `sub\..\..\evil`, "backslash"},
		"drive":                  {[]item{f, file("C:evil", "x")}, "C:evil", "drive"},
		"newline":                {[]item{f, file("a\nb", "x")}, "a\nb", "control character"},
		"escape sequence":        {[]item{f, file("a\x1b[2J", "x")}, "a\x1b[2J", "control character"},
		"bidirectional override": {[]item{f, file("a\u202egpj.exe", "x")}, "a\u202egpj.exe", "control character"},
		"not UTF-8":              {[]item{f, file("gr\xf6\xdfe", "x")}, "gr\xf6\xdfe", "UTF-8"},
		"a file at the top":      {[]item{f, file(".", "x")}, ".", "top directory"},
		"element too long":       {[]item{f, file(strings.Repeat("n", 256), "x")}, strings.Repeat("n", 256), "longer than 255"},
		"name too long":          {[]item{f, file(strings.Repeat("n/", 600)+"x", "x")}, strings.Repeat("n/", 600) + "x", "longer than 1024"},
		"too deep":               {[]item{f, file(strings.Repeat("n/", 80)+"x", "x")}, strings.Repeat("n/", 80) + "x", "64 elements"},
		"character device":       {[]item{f, node("dev", tar.TypeChar)}, "dev", "device"},
		"block device":           {[]item{f, node("dev", tar.TypeBlock)}, "dev", "device"},
		"pipe":                   {[]item{f, node("pipe", tar.TypeFifo)}, "pipe", "pipe"},
		"unknown type":           {[]item{f, node("odd", 'Z')}, "odd", "unknown type"},
		"twice":                  {[]item{f, file("sub/a", "y")}, "sub/a", "twice"},
		"twice after cleaning":   {[]item{f, file("./sub//./a", "y")}, "./sub//./a", "twice"},
		"directory twice":        {[]item{dir("d/"), f, dir("d/")}, "d/", "twice"},
		"file, then directory":   {[]item{f, dir("sub/a/")}, "sub/a/", "twice"},
		"directory, then file":   {[]item{f, file("sub", "x")}, "sub", "directory"},
		"below a file":           {[]item{f, file("sub/a/b", "x")}, "sub/a/b", "is a file"},
		"absolute link":          {[]item{f, symlink("l", "/etc/passwd")}, "l", "absolute path"},
		"link up and out":        {[]item{f, symlink("sub/l", "../../neighbour")}, "sub/l", "outside"},
		"link to the parent of the top directory": {[]item{f, symlink("l", "..")}, "l", "outside"},
		"link out through a missing directory":    {[]item{f, symlink("l", "no/../../x")}, "l", "outside"},
		"link out through a link":                 {[]item{f, symlink("d/up", ".."), symlink("l", "d/up/../x")}, "l", "outside"},
		"link in a circle":                        {[]item{f, symlink("l", "m"), symlink("m", "l")}, "l", "circle"},
		"link with a drive":                       {[]item{f, symlink("l", "c:/x")}, "l", "drive"},
		"link with a backslash":                   {[]item{f, symlink("l", `..\x`)}, "l", "backslash"},
		"link to nothing":                         {[]item{f, symlink("l", "")}, "l", "empty"},
		"write through a link":                    {[]item{symlink("l", "sub"), f, file("l/b", "x")}, "l/b", "below the symbolic link"},
		"write through a later link":              {[]item{file("l/b", "x"), symlink("l", "sub")}, "l", "directory"},
		"link replaces a file":                    {[]item{f, symlink("sub/a", "b")}, "sub/a", "twice"},
		"file replaces a link":                    {[]item{symlink("l", "sub/a"), file("l", "x")}, "l", "twice"},
		"hard link out":                           {[]item{f, hardlink("h", "../neighbour")}, "h", `".."`},
		"hard link absolute":                      {[]item{f, hardlink("h", "/etc/passwd")}, "h", "absolute"},
		"hard link to nothing":                    {[]item{f, hardlink("h", "later"), file("later", "x")}, "h", "not an earlier file"},
		"hard link to a symlink":                  {[]item{f, symlink("l", "sub/a"), hardlink("h", "l")}, "h", "not an earlier file"},
		"hard link to a directory":                {[]item{f, hardlink("h", "sub")}, "h", "not an earlier file"},
		"hard link to itself":                     {[]item{f, hardlink("h", "h")}, "h", "not an earlier file"},
		"nothing":                                 {nil, "", "no files"},
		"only directories":                        {[]item{dir("a/"), dir("a/b/")}, "", "no files"},
	} {
		t.Run(what, func(t *testing.T) {
			a := newArena(t)
			_, err := a.extract(gz(t, makeTar(t, row.items...)), archive.Options{})
			a.refused(err, row.entry, row.say)
		})
	}
}

// refused asserts a RefusedError for that entry, and that nothing was written.
func (a *arena) refused(err error, entry, say string) {
	a.t.Helper()
	var refused *archive.RefusedError
	if !errors.As(err, &refused) {
		a.t.Fatalf("error is %v", err)
	}
	if strings.TrimSuffix(refused.Entry, "/") != strings.TrimSuffix(entry, "/") || !strings.Contains(refused.Reason, say) {
		a.t.Errorf("entry %q: %q; want %q: ..%s..", refused.Entry, refused.Reason, entry, say)
	}
	if fault.ClassOf(err) != fault.Source || fault.HintOf(err) == "" {
		a.t.Errorf("class %v, hint %q", fault.ClassOf(err), fault.HintOf(err))
	}
	if strings.ContainsFunc(err.Error(), func(r rune) bool { return r < ' ' || r == '\u202e' }) {
		a.t.Errorf("the message has control characters: %q", err)
	}
	a.untouched()
}

func TestSkippedEntriesAreChecked(t *testing.T) {
	none := func(name string) bool { return name == "a" }
	for what, bad := range map[string]item{
		"name": file("top/../x", "x"), "kind": node("top/dev", tar.TypeChar), "size": file("top/big", strings.Repeat("x", 2000)),
		"above strip": file("..", "x"),
	} {
		t.Run(what, func(t *testing.T) {
			a := newArena(t)
			_, err := a.extract(makeTar(t, file("top/a", "x"), bad), archive.Options{Strip: 1, Keep: none, Limits: archive.Limits{MaxFileBytes: 1000}})
			a.refused(err, bad.name, "")
		})
	}
}

func TestLinksAreCheckedAfterStrip(t *testing.T) {
	a := newArena(t)
	_, err := a.extract(makeTar(t, file("top/a", "x"), symlink("top/l", "../top/a")), archive.Options{Strip: 1})
	a.refused(err, "top/l", "outside")
	_, err = a.extract(makeTar(t, file("top/a", "x"), symlink("top/l", "../top/a")), archive.Options{})
	must(t, err)
}

func TestNamesThatDifferInCase(t *testing.T) {
	a := newArena(t)
	_, err := a.extract(makeTar(t, file("Makefile", "1"), file("makefile", "2")), archive.Options{})
	if err != nil { // a case-insensitive file system
		a.refused(err, "makefile", "another one")
		return
	}
	if got := listing(t, a.dest); len(got) != 2 {
		t.Errorf("got %v", got)
	}
}

func TestDestinationMustNotExist(t *testing.T) {
	data := makeTar(t, file("a", "x"))
	a := newArena(t)
	must(t, os.Mkdir(a.dest, 0o755))
	_, err := a.extract(data, archive.Options{})
	if fault.ClassOf(err) != fault.Environment {
		t.Errorf("into an existing directory: %v", err)
	}
	must(t, os.Remove(a.dest))
	must(t, os.Symlink("nowhere", a.dest))
	if _, err := a.extract(data, archive.Options{}); fault.ClassOf(err) != fault.Environment {
		t.Errorf("into a dangling link: %v", err)
	}
	must(t, os.Remove(a.dest))
	a.untouched()
	if _, err := archive.Extract(t.Context(), filepath.Join(a.root, "no-such"), a.dest, archive.Options{}); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("from a missing archive: %v", err)
	}
	a.untouched()
}
