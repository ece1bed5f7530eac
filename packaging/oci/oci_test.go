package oci

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"io"
	"io/fs"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/random"
	"github.com/google/go-containerregistry/pkg/v1/static"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"modwsgi/internal/fault"
	"modwsgi/packaging"
	"modwsgi/packaging/linkage"
)

func newMaker(t *testing.T, o Options) *maker {
	t.Helper()
	d, err := packaging.Open(filepath.Join(t.TempDir(), "dist"), false)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(d.Abort)
	scratch, err := d.Scratch()
	if err != nil {
		t.Fatal(err)
	}
	o.Time = time.Unix(1, 0)
	return &maker{ctx: t.Context(), dist: d, o: o, scratch: scratch}
}

// glibc is the text in a C library with those versions.
func glibc(versions ...string) []byte {
	return []byte("\x7fELF\x00GLIBC_" + strings.Join(versions, "\x00GLIBC_") + "\x00GLIBC_PRIVATE\x00")
}

// rootfsOf makes the layers of a base.
func rootfsOf(t *testing.T, layers ...[]entry) *rootfs {
	t.Helper()
	m := newMaker(t, Options{})
	var all []*layer
	for _, entries := range layers {
		l, err := m.makeLayer("", entries, false)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, l)
	}
	r, err := readRoot(t.Context(), all)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func TestLayersOfABaseMakeOneRoot(t *testing.T) {
	r := rootfsOf(t,
		[]entry{
			dataEntry("usr/bin/gone", []byte("1"), 0o755), dataEntry("etc/kept", []byte("1"), 0o644), dataEntry("var/old/a", nil, 0o644),
			linkEntry("lib", "usr/lib"), dataEntry("usr/lib/libc.so.6", []byte("old"), 0o644), linkEntry("loop", "loop"), linkEntry("up", "../../etc/kept"),
		},
		[]entry{
			dataEntry("usr/bin/.wh.gone", nil, 0o644), dataEntry("var/old/.wh..wh..opq", nil, 0o644), dataEntry("var/old/b", nil, 0o644),
			dataEntry("usr/lib/libc.so.6", []byte("new"), 0o644), linkEntry("usr/lib/abs.so", "/lib/libc.so.6"),
		})
	for file, want := range map[string]string{
		"/usr/bin/gone": "", "/etc/kept": "/etc/kept", "/var/old/a": "", "/var/old/b": "/var/old/b", "/lib/libc.so.6": "/usr/lib/libc.so.6",
		"/lib/abs.so": "/usr/lib/libc.so.6", "/loop": "", "/up": "/etc/kept", "/usr": "", "/none/at/all": "", "/usr/bin/.wh.gone": "",
	} {
		got, ok := r.has(file)
		if ok != (want != "") || ok && got != want {
			t.Errorf("%s: got %s, %v, want %q", file, got, ok, want)
		}
	}
	if data, err := r.read(t.Context(), "/lib/abs.so", 100); err != nil || string(data) != "new" {
		t.Errorf("read %q, %v", data, err)
	}
	if _, err := r.read(t.Context(), "/lib/abs.so", 2); err == nil {
		t.Error("more was read than is allowed")
	}
	if _, err := r.read(t.Context(), "/none", 2); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("got %v", err)
	}
}

// pythonBase is a base with a C library and a Python.
func pythonBase(libc string) []entry {
	return []entry{
		dataEntry("lib/x86_64-linux-gnu/libc.so.6", glibc("2.2.5", "2.10", libc), 0o755), dataEntry("usr/local/bin/python3.11", nil, 0o755),
		dataEntry("usr/local/lib/python3.11/os.py", nil, 0o644), dataEntry("usr/local/lib/libpython3.11.so.1.0", nil, 0o755),
	}
}

func TestBaseMustFit(t *testing.T) {
	without := func(all []entry, part string) []entry {
		return slices.DeleteFunc(all, func(e entry) bool { return strings.Contains(e.name, part) })
	}
	for name, c := range map[string]struct {
		base   []entry
		python string // --base-python
		want   string // in the error, "" for none
	}{
		"fits":            {pythonBase("2.36"), "", ""},
		"exactly":         {pythonBase("2.34"), "", ""},
		"old libc":        {pythonBase("2.31"), "", "has glibc 2.31, but the build requires 2.34"},
		"musl":            {append(without(pythonBase("2.36"), "libc.so"), dataEntry("lib/ld-musl-x86_64.so.1", nil, 0o755)), "", "it has musl"},
		"no libc":         {without(pythonBase("2.36"), "libc.so"), "", "lacks libc.so.6"},
		"no libc at all":  {[]entry{dataEntry("lib/x86_64-linux-gnu/libc.so.6", []byte("text"), 0o755)}, "", "cannot determine the version"},
		"no python":       {without(pythonBase("2.36"), "python"), "", "has no Python 3.11: it has no Python"},
		"another python":  {append(without(pythonBase("2.36"), "python"), dataEntry("usr/bin/python3.9", nil, 0o755)), "", "it has /usr/bin/python3.9"},
		"no stdlib":       {without(pythonBase("2.36"), "os.py"), "", "has no Python 3.11"},
		"no libpython":    {without(pythonBase("2.36"), "libpython"), "", "lacks libpython3.11.so.1.0"},
		"ours":            {append(pythonBase("2.36"), dataEntry("opt/mod_wsgi/pyvenv.cfg", nil, 0o644)), "", "was made by modwsgi package oci itself"},
		"named":           {pythonBase("2.36"), "/usr/local/bin/python3.11", ""},
		"named wrongly":   {pythonBase("2.36"), "/usr/bin/python3.11", "has no /usr/bin/python3.11"},
		"named elsewhere": {append(without(pythonBase("2.36"), "usr/local/"), dataEntry("srv/py/bin/python3.11", nil, 0o755), dataEntry("srv/py/lib/python3.11/os.py", nil, 0o644), dataEntry("srv/py/lib/libpython3.11.so.1.0", nil, 0o755)), "/srv/py/bin/python3.11", ""},
	} {
		t.Run(name, func(t *testing.T) {
			m := newMaker(t, Options{Base: "b", BasePython: c.python})
			i := &image{
				machine: "x86_64", base: &base{name: "b", root: rootfsOf(t, c.base)}, linkage: &linkage.Result{Versions: linkage.Versions{"GLIBC": "2.34"}},
				in: Input{Stage: &packaging.Stage{Module: &packaging.Module{Python: packaging.Python{Version: "3.11.7"}}}},
			}
			err := m.checkLibc(i)
			if err == nil {
				err = m.pythonOfBase(i, "libpython3.11.so.1.0")
			}
			if c.want == "" {
				if err != nil || i.python.lib == "" || i.python.prefix == "" {
					t.Errorf("got %v, %+v", err, i.python)
				}
				return
			}
			if err == nil || !strings.Contains(err.Error(), c.want) || fault.ClassOf(err) != fault.Usage || fault.HintOf(err) == "" {
				t.Errorf("got %v (hint %q), want %q", err, fault.HintOf(err), c.want)
			}
		})
	}
}

// layoutOf writes an OCI layout with images for those platforms, by tag.
func layoutOf(t *testing.T, index bool, platforms map[string]v1.Platform) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "layout")
	all := v1.ImageIndex(empty.Index)
	var adds []mutate.IndexAddendum
	for tag, p := range platforms {
		img, err := mutate.AppendLayers(empty.Image, static.NewLayer([]byte(tag), types.OCIUncompressedLayer))
		if err != nil {
			t.Fatal(err)
		}
		img, err = mutate.ConfigFile(img, &v1.ConfigFile{OS: p.OS, Architecture: p.Architecture, RootFS: v1.RootFS{Type: "layers", DiffIDs: []v1.Hash{hashOf([]byte(tag))}}})
		if err != nil {
			t.Fatal(err)
		}
		adds = append(adds, mutate.IndexAddendum{Add: img, Descriptor: v1.Descriptor{Platform: &p, Annotations: map[string]string{"org.opencontainers.image.ref.name": tag}}})
	}
	all = mutate.AppendManifests(all, adds...)
	if index {
		all = mutate.AppendManifests(empty.Index, mutate.IndexAddendum{Add: all})
	}
	if _, err := layout.Write(dir, all); err != nil {
		t.Fatal(err)
	}
	return dir
}

func TestBaseFromLayout(t *testing.T) {
	amd, arm := v1.Platform{OS: "linux", Architecture: "amd64"}, v1.Platform{OS: "linux", Architecture: "arm64"}
	one := layoutOf(t, false, map[string]v1.Platform{"one": amd})
	two := layoutOf(t, false, map[string]v1.Platform{"a": amd, "b": amd})
	mixed := layoutOf(t, false, map[string]v1.Platform{"amd": amd, "arm": arm})
	list := layoutOf(t, true, map[string]v1.Platform{"amd": amd, "arm": arm})
	foreign := layoutOf(t, true, map[string]v1.Platform{"arm": arm})
	for name, c := range map[string]struct{ base, want, fails string }{
		"only one":         {one, "one", ""},
		"by tag":           {two + ":b", "b", ""},
		"by platform":      {mixed, "amd", ""},
		"index":            {list, "amd", ""},
		"which of two":     {two, "", "matches 2 images of: "},
		"no such tag":      {two + ":c", "", "matches 0 images"},
		"not in the index": {foreign, "", "has no image for linux/amd64, only for linux/arm64"},
		"no layout":        {t.TempDir(), "", "is not an OCI layout"},
		"not there":        {"/nonexistent/x:1", "", "is not an OCI layout"},
	} {
		t.Run(name, func(t *testing.T) {
			m := newMaker(t, Options{Base: layoutPrefix + c.base})
			img, err := m.resolveBase(&image{platform: amd})
			if c.fails != "" {
				if err == nil || !strings.Contains(err.Error(), c.fails) || fault.HintOf(err) == "" {
					t.Errorf("got %v", err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			layers, err := img.Layers()
			if err != nil || len(layers) != 1 {
				t.Fatal(err, layers)
			}
			got, err := m.keep(layers[0])
			if err != nil {
				t.Fatal(err)
			}
			if data, _ := os.ReadFile(got.file); string(data) != c.want {
				t.Errorf("got the image %q", data)
			}
		})
	}
}

// TestBaseFromArchive reads the output of docker save.
func TestBaseFromArchive(t *testing.T) {
	image := func(text string) v1.Image {
		img, err := mutate.AppendLayers(empty.Image, static.NewLayer([]byte(text), types.DockerUncompressedLayer))
		if err != nil {
			t.Fatal(err)
		}
		return img
	}
	dir := t.TempDir()
	one, two, other := filepath.Join(dir, "one.tar"), filepath.Join(dir, "two: of them.tar"), filepath.Join(dir, "other.tar")
	a, b := name.MustParseReference("shop/a:1"), name.MustParseReference("shop/b:1")
	for file, images := range map[string]map[name.Reference]v1.Image{one: {a: image("one")}, two: {a: image("a"), b: image("b")}} {
		if err := tarball.MultiRefWriteToFile(file, images); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(other, []byte("no archive"), 0o600); err != nil {
		t.Fatal(err)
	}
	for base, want := range map[string]string{one: "one", one + ":shop/a:1": "one", two + ":shop/b:1": "b", two: "", one + ":shop/c:1": "", one + ":A:B": "", other: "", "/nonexistent.tar": ""} {
		m := newMaker(t, Options{Base: archivePrefix + base})
		img, err := m.fromArchive(base)
		if want == "" {
			if fault.ClassOf(err) != fault.Usage || !strings.Contains(fault.HintOf(err), "docker-archive:FILE") {
				t.Errorf("%s: %v", base, err)
			}
			continue
		}
		if err != nil {
			t.Fatalf("%s: %v", base, err)
		}
		layers, err := img.Layers()
		if err != nil || len(layers) != 1 {
			t.Fatal(layers, err)
		}
		kept, err := m.keep(layers[0])
		if err != nil {
			t.Fatal(err)
		}
		r, err := openLayer(kept.file)
		if err != nil {
			t.Fatal(err)
		}
		data, err := io.ReadAll(r)
		if err != nil || string(data) != want {
			t.Errorf("%s: the image is %q (%v)", base, data, err)
		}
		_ = r.Close()
	}
}

func TestDamagedBase(t *testing.T) {
	dir := layoutOf(t, false, map[string]v1.Platform{"one": {OS: "linux", Architecture: "amd64"}})
	blob := filepath.Join(dir, "blobs/sha256", hashOf([]byte("one")).Hex)
	if err := os.WriteFile(blob, []byte("two"), 0o644); err != nil {
		t.Fatal(err)
	}
	m := newMaker(t, Options{Base: layoutPrefix + dir})
	err := m.openBase(&image{platform: v1.Platform{OS: "linux", Architecture: "amd64"}, linkage: &linkage.Result{}})
	if err == nil || !strings.Contains(err.Error(), "is damaged") || fault.ClassOf(err) != fault.Source {
		t.Errorf("got %v", err)
	}
	if left, _ := filepath.Glob(filepath.Join(m.scratch, "base-*")); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
}

func TestForeignLayersAreRefused(t *testing.T) {
	m := newMaker(t, Options{Base: "b"})
	if _, err := m.keep(static.NewLayer([]byte("x"), types.DockerForeignLayer)); err == nil || !strings.Contains(err.Error(), "layer of media type") {
		t.Errorf("got %v", err)
	}
}

func TestLayersDependOnContentOnly(t *testing.T) {
	make := func(when time.Time, zstd bool) *layer {
		dir := t.TempDir()
		for _, name := range []string{"b", "a"} {
			name = filepath.Join(dir, name)
			if err := os.WriteFile(name, bytes.Repeat([]byte(name[len(name)-1:]), 100_000), 0o600); err != nil {
				t.Fatal(err)
			}
			if err := os.Chtimes(name, when, when); err != nil {
				t.Fatal(err)
			}
		}
		m := newMaker(t, Options{Zstd: zstd})
		l, err := m.makeLayer("", []entry{fileEntry("x/b", filepath.Join(dir, "b"), 0o755), fileEntry("x/a", filepath.Join(dir, "a"), 0o644), linkEntry("x/l", "a")}, false)
		if err != nil {
			t.Fatal(err)
		}
		return l
	}
	for _, zstd := range []bool{false, true} {
		one, two := make(time.Unix(1, 0), zstd), make(time.Unix(99, 0), zstd)
		if one.digest != two.digest || one.diffID != two.diffID {
			t.Errorf("zstd %v: two layers of the same content differ", zstd)
		}
		z, err := one.Uncompressed()
		if err != nil {
			t.Fatal(err)
		}
		data, err := io.ReadAll(z)
		if err != nil || hashOf(data) != one.diffID || z.Close() != nil {
			t.Errorf("zstd %v: the archive in the layer is another one (%v)", zstd, err)
		}
		var names []string
		r := tar.NewReader(bytes.NewReader(data))
		for h, err := r.Next(); err == nil; h, err = r.Next() {
			names = append(names, h.Name)
			if h.Uid != 0 || h.ModTime.Unix() != 1 {
				t.Errorf("%+v", h)
			}
		}
		if !slices.Equal(names, []string{"x/", "x/a", "x/b", "x/l"}) {
			t.Errorf("got %q", names)
		}
	}
}

func TestEntriesMustNotCollide(t *testing.T) {
	for _, all := range [][]entry{
		{dataEntry("a", nil, 0o644), dataEntry("a", nil, 0o644)},
		{dataEntry("a", nil, 0o644), dataEntry("a/b", nil, 0o644)},
		{linkEntry("a", "b"), dataEntry("a/b", nil, 0o644)},
	} {
		if got, err := complete(all, false); err == nil {
			t.Errorf("%v became %v", all, got)
		}
	}
}

func TestBasesKeepTheirDirectories(t *testing.T) {
	all, err := complete([]entry{dataEntry("opt/mod_wsgi/bin/x", nil, 0o755), dataEntry("usr/share/licenses/mod_wsgi/x", nil, 0o644)}, true)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range all {
		if slices.Contains([]string{"opt", "usr", "usr/share", "usr/share/licenses"}, e.name) {
			t.Errorf("%s would be changed", e.name)
		}
	}
}

func TestCollect(t *testing.T) {
	root := t.TempDir()
	write := func(name, text string, mode fs.FileMode) {
		t.Helper()
		name = filepath.Join(root, name)
		if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(name, mode); err != nil {
			t.Fatal(err)
		}
	}
	write("wsgi.py", "", 0o600)
	write("run.sh", "", 0o700)
	write("pkg/__pycache__/x.pyc", "", 0o644)
	write("pkg/old.pyc", "", 0o644)
	write("pkg/old.py", "", 0o644)
	write("pkg/alone.pyc", "", 0o644)
	must(t, os.Symlink("../wsgi.py", filepath.Join(root, "pkg/link")))
	c := collector{root: root, to: "/app"}
	all, err := c.collect("cure")
	must(t, err)
	var got []string
	for _, e := range all {
		got = append(got, e.name+" "+e.mode.String()+" "+e.link)
	}
	want := []string{"app/pkg drwxr-xr-x ", "app/pkg/alone.pyc -rw-r--r-- ", "app/pkg/link Lrwxrwxrwx ../wsgi.py", "app/pkg/old.py -rw-r--r-- ", "app/run.sh -rwxr-xr-x ", "app/wsgi.py -rw-r--r-- "}
	if !slices.Equal(got, want) {
		t.Errorf("got %q", got)
	}
	must(t, os.Symlink("/etc/passwd", filepath.Join(root, "abs")))
	must(t, os.Symlink("nowhere", filepath.Join(root, "dead")))
	must(t, os.Symlink("../../out", filepath.Join(root, "pkg/out")))
	write("suid", "", 0o755|fs.ModeSetuid)
	write("new\nline", "", 0o644)
	write(".wh.wsgi.py", "", 0o644)
	c = collector{root: root, to: "/app"}
	_, err = c.collect("cure")
	if err == nil || fault.HintOf(err) != "cure" {
		t.Fatalf("got %v", err)
	}
	for _, want := range []string{`"abs" is a link to outside the tree, to /etc/passwd`, `"dead" is a broken link`, `"pkg/out" is a broken link`, `"suid" has a set-user-id`, `".wh.wsgi.py" has a name that deletes another file`, "control character"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%v lacks %q", err, want)
		}
	}
}

func TestEditableInstallationsAreRefused(t *testing.T) {
	for name, files := range map[string]map[string]string{
		"egg-link": {"shop.egg-link": "/src/shop"},
		"hook":     {"__editable__.shop-1.0.pth": "import x"},
		"pth":      {"shop.pth": "# c\n/src/shop\n"},
		"pep 660":  {"shop-1.0.dist-info/direct_url.json": `{"url": "file:///src", "dir_info": {"editable": true}}`},
		"":         {"distutils-precedence.pth": "import os; x = 1", "shop-1.0.dist-info/direct_url.json": `{"dir_info": {}}`, "mod_wsgi-x.dist-info/direct_url.json": "{"},
	} {
		site := t.TempDir()
		for file, text := range files {
			must(t, os.MkdirAll(filepath.Dir(filepath.Join(site, file)), 0o755))
			must(t, os.WriteFile(filepath.Join(site, file), []byte(text), 0o644))
		}
		if got := editable(site); (got != "") != (name != "") {
			t.Errorf("%s: got %q", name, got)
		}
	}
}

func TestFindEntry(t *testing.T) {
	app := func(names ...string) (all []entry) {
		for _, n := range names {
			all = append(all, dataEntry("app/"+n, nil, 0o644))
		}
		return all
	}
	for _, c := range []struct {
		files  []entry
		wanted string
		want   string
		fails  string
	}{
		{app("wsgi.py", "x.py"), "", "wsgi.py", ""},
		{app("shop.wsgi"), "", "shop.wsgi", ""},
		{app("a.wsgi", "wsgi.py"), "", "", "contains 2"},
		{app("main.py"), "", "", "contains 0"},
		{app("main.py"), "main.py", "main.py", ""},
		{app("a/b.py"), "a/b.py", "a/b.py", ""},
		{app("main.py"), "shop.wsgi", "", "does not contain shop.wsgi"},
		{app("main.py"), "shop.web", "shop.web", ""},
	} {
		got, err := findEntry(c.files, c.wanted)
		if got != c.want || (err == nil) != (c.fails == "") || err != nil && !strings.Contains(err.Error(), c.fails) {
			t.Errorf("%q: got %q, %v", c.wanted, got, err)
		}
	}
	if got := command("shop.web", []string{"--threads", "2"}); !slices.Equal(got, []string{"--application-type", "module", "shop.web", "--threads", "2"}) {
		t.Errorf("got %q", got)
	}
	if got := command("a/wsgi.py", nil); !slices.Equal(got, []string{"a/wsgi.py"}) {
		t.Errorf("got %q", got)
	}
}

func TestOptionsAreChecked(t *testing.T) {
	good := Options{Base: Scratch, Port: 8000, User: "65532:65532"}
	if err := good.Check(); err != nil {
		t.Fatal(err)
	}
	for want, change := range map[string]func(*Options){
		"--port 0":               func(o *Options) { o.Port = 0 },
		"needs a privilege":      func(o *Options) { o.Port = 80 },
		"as root":                func(o *Options) { o.User = "0" },
		`"www-data"`:             func(o *Options) { o.User = "www-data" },
		`"1:2:3"`:                func(o *Options) { o.User = "1:2:3" },
		`"-1"`:                   func(o *Options) { o.User = "-1" },
		`"1 "`:                   func(o *Options) { o.User = "1 " },
		`"1:"`:                   func(o *Options) { o.User = "1:" },
		"--health-path":          func(o *Options) { o.HealthPath = "healthz" },
		"is not a URL path":      func(o *Options) { o.HealthPath = "/a b" },
		"--layout":               func(o *Options) { o.LayerOnly, o.Layout = true, "x" },
		"does not accept --base": func(o *Options) { o.LayerOnly, o.Base = true, "python" },
		"do not support zstd":    func(o *Options) { o.Docker, o.Zstd = true, true },
		"--entry":                func(o *Options) { o.Entry = "--port" },
		"--entry \"shop.web:application\" names a module": func(o *Options) { o.Entry = "shop.web:application" },
		"invalid variable name \"a-b\"":                   func(o *Options) { o.Env = map[string]string{"a-b": "c"} },
		"could have --env":                                func(o *Options) { o.Env, o.LayerOnly = map[string]string{"A": "c"}, true },
		"--base oci-archive:":                             func(o *Options) { o.Base = "oci-archive:x.tar" },
		"--label":                                         func(o *Options) { o.Labels = map[string]string{"a b": "c"} },
		"--app":                                           func(o *Options) { o.App = "/nonexistent" },
		"--ca-certificates":                               func(o *Options) { o.Base, o.CACerts = "python", "x" },
	} {
		o := good
		change(&o)
		if err := o.Check(); err == nil || !strings.Contains(err.Error(), want) || fault.ClassOf(err) != fault.Usage || fault.HintOf(err) == "" {
			t.Errorf("%s: got %v", want, err)
		}
	}
	for user, want := range map[string][2]int{"1000": {1000, 1000}, "1000:0": {1000, 0}} {
		o := Options{User: user}
		if uid, gid, err := o.ids(); err != nil || [2]int{uid, gid} != want {
			t.Errorf("%s: %d:%d, %v", user, uid, gid, err)
		}
	}
}

func TestTargets(t *testing.T) {
	for _, good := range []string{"127.0.0.1:5000/shop/web:1.0", "registry.example.org/a:latest", "localhost/a:b"} {
		if _, err := NewTarget(good, false); err != nil {
			t.Errorf("%s: %v", good, err)
		}
	}
	for bad, want := range map[string]string{
		"shop/web:1": "names no registry", "127.0.0.1:5000/shop/web": "names no tag", "r.example.org/a:b c": "is not a valid image reference", "r.example.org/UPPER:1": "is not a valid image reference",
		"": "is not a valid image reference", "r.example.org/a@sha256:" + strings.Repeat("0", 64): "names no tag", "r.example.org/a:" + strings.Repeat("x", 200): "is not a valid image reference",
	} {
		if _, err := NewTarget(bad, false); err == nil || !strings.Contains(err.Error(), want) || fault.ClassOf(err) != fault.Usage {
			t.Errorf("%s: got %v", bad, err)
		}
	}
}

func TestUnreachableRegistry(t *testing.T) {
	s := httptest.NewServer(nil)
	address := strings.TrimPrefix(s.URL, "http://")
	s.Close()
	target, err := NewTarget(address+"/a:1", false)
	must(t, err)
	o := Options{Push: target}
	err = o.CheckPush(t.Context())
	if err == nil || fault.ClassOf(err) != fault.Source || !strings.Contains(fault.HintOf(err), "registry is running") {
		t.Errorf("got %v (%q)", err, fault.HintOf(err))
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := o.CheckPush(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
}

func TestLayoutAppearsWholeOrNotAtAll(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "out", "layout")
	bad := content{"index.json": {data: []byte("{}")}, "blobs/sha256/x": {file: "/nonexistent"}}
	if err := writeLayout(dir, bad); err == nil {
		t.Fatal("a missing blob was written")
	}
	if left, _ := os.ReadDir(filepath.Dir(dir)); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
	must(t, writeLayout(dir, content{"index.json": {data: []byte("{}")}}))
	if err := writeLayout(dir, content{}); err == nil || !strings.Contains(err.Error(), "already exists") {
		t.Errorf("got %v", err)
	}
}

func TestReadRootIsStopped(t *testing.T) {
	img, err := random.Image(10, 1)
	must(t, err)
	layers, err := img.Layers()
	must(t, err)
	m := newMaker(t, Options{Base: "b"})
	l, err := m.keep(layers[0])
	must(t, err)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := readRoot(ctx, []*layer{l}); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
	if err := os.WriteFile(l.file, []byte("\x1f\x8bnothing"), 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := readRoot(t.Context(), []*layer{l}); err == nil {
		t.Error("a damaged layer was read")
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
