//go:build unix

package instance

import (
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"modwsgi/express/acme"
	"modwsgi/express/host"
	"modwsgi/internal/fault"
)

func TestOpenRoot(t *testing.T) {
	base := tempDir(t)
	file := write(t, filepath.Join(base, "file"), "", 0o600)
	private, open := mkdir(t, filepath.Join(base, "private"), 0o700), mkdir(t, filepath.Join(base, "open"), 0o777)
	link := filepath.Join(base, "link")
	must(t, os.Symlink(private, link))
	for _, c := range []struct{ dir, want string }{
		{private, ""},
		{mkdir(t, filepath.Join(base, "readable"), 0o755), ""},
		{filepath.Join(base, "new"), "no such file"},
		{open, "can be written by others"},
		{link, "is a symbolic link"},
		{file, "is not a directory"},
		{filepath.Join(base, "no", "new"), "the directory " + base + "/no of the server root"},
		{filepath.Join(open, "new"), "can replace the server root"},
		{filepath.Join(file, "new"), "not a directory"},
		{"/", "not the name of an entry"},
	} {
		dir, err := OpenRoot(c.dir)
		if err == nil {
			_ = dir.Close()
		}
		if (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", c.dir, err, c.want)
		}
	}
	if _, err := OpenRoot(filepath.Join(base, "new")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a missing server root: %v", err)
	}
	if _, err := os.Lstat(filepath.Join(base, "new")); !errors.Is(err, fs.ErrNotExist) {
		t.Error("the check created the directory")
	}
}

// TestMakeRoot has a row for each state of the path: a refusal creates nothing.
func TestMakeRoot(t *testing.T) {
	base := tempDir(t)
	open := mkdir(t, filepath.Join(base, "open"), 0o777)
	private := mkdir(t, filepath.Join(base, "private"), 0o700)
	mkdir(t, filepath.Join(base, "readable"), 0o755)
	sticky := mkdir(t, filepath.Join(base, "sticky"), 0o777|fs.ModeSticky)
	write(t, filepath.Join(base, "file"), "", 0o600)
	must(t, os.Symlink(private, filepath.Join(base, "link")), os.Symlink("nowhere", filepath.Join(base, "dangling")), os.Symlink(sticky, filepath.Join(base, "parent")))
	for _, c := range []struct {
		name    string
		mode    fs.FileMode // if it succeeds
		created bool
		want    string // part of the error
		hint    string
	}{
		{name: "new", mode: 0o700, created: true},
		{name: "private", mode: 0o700},
		{name: "readable", mode: 0o755},
		{name: "sticky/new", mode: 0o700, created: true},
		{name: "parent/second", mode: 0o700, created: true},
		{name: "none/new", want: "the directory " + base + "/none of the server root", hint: "create it first"},
		{name: "open", want: "the server root " + base + "/open can be written by others", hint: "chmod go-w " + open},
		{name: "open/new", want: "another user can replace the server root " + base + "/open/new: " + open, hint: "chmod go-w " + open},
		{name: "link", want: "is a symbolic link", hint: "name the directory itself"},
		{name: "dangling", want: "is a symbolic link", hint: "name the directory itself"},
		{name: "file", want: "it is not a directory", hint: "--server-root"},
		{name: "file/new", want: "not a directory", hint: "--server-root"},
	} {
		root := filepath.Join(base, c.name)
		_, before := os.Lstat(root)
		dir, created, err := MakeRoot(root, &host.Account{})
		if c.want != "" {
			wants(t, c.name, err, fault.Environment, c.want)
			if hint := fault.HintOf(err); !strings.Contains(hint, c.hint) {
				t.Errorf("%s: hint %q, want %q", c.name, hint, c.hint)
			}
			if _, after := os.Lstat(root); created || (before == nil) != (after == nil) {
				t.Errorf("%s: created: %v, %v", c.name, created, after)
			}
			continue
		}
		if err != nil {
			t.Errorf("%s: %v", c.name, err)
			continue
		}
		_ = dir.Close()
		if info, err := os.Lstat(root); err != nil || info.Mode().Perm() != c.mode || created != c.created {
			t.Errorf("%s: mode %v, created: %v, %v", c.name, info.Mode(), created, err)
		}
	}
}

// TestMakeRootWhileAnotherProcessCreatesIt: the process that comes second must not
// discard the directory when it fails.
func TestMakeRootWhileAnotherProcessCreatesIt(t *testing.T) {
	root := filepath.Join(tempDir(t), "root")
	at(t, "making the server root", func() { must(t, os.Mkdir(root, 0o750)) })
	dir, created, err := MakeRoot(root, &host.Account{})
	must(t, err)
	defer dir.Close()
	if created {
		t.Error("the directory of another process is reported as created")
	}
}

func TestMakeRootWhereNobodyCanWrite(t *testing.T) {
	if os.Geteuid() == 0 {
		t.Skip("root can write everywhere")
	}
	root := filepath.Join(mkdir(t, filepath.Join(tempDir(t), "closed"), 0o555), "root")
	_, created, err := MakeRoot(root, &host.Account{})
	wants(t, root, err, fault.Environment, "make the server root "+root)
	if created || !errors.Is(err, fs.ErrPermission) {
		t.Errorf("created: %v, %v", created, err)
	}
}

// TestLaunchRoundTrip: ReadLaunch returns every field that was written.
func TestLaunchRoundTrip(t *testing.T) {
	root := filepath.Join(tempDir(t), "root")
	want := plantRoot(t, root, "/opt/httpd")
	want.Env, want.Stat, want.URL, want.GDB, want.UID, want.Open = []string{"A=\"b\"\n", "B="}, true, "http://h:1/", "/usr/bin/gdb", 4711, 19264
	want.Files = []Relied{{"option --include-file", "/etc/x <&>.conf", Obeyed}, {"", "/opt/httpd", Executed}}
	want.Includes = []string{"/etc/*.conf"}
	want.Group, want.Patience, want.Health, want.Metrics, want.Sockets, want.Ports, want.Processes, want.Threads, want.Clients = "localhost:80", 30, "/healthz", "127.0.0.1:9118", "/run/s", []int{80, 443}, 2, 5, 36000
	want.Dashboard, want.Certificates = "127.0.0.1:9119", []string{"/etc/ssl/a.crt"}
	want.Startup, want.Reports, want.KeepAlive, want.Handover, want.ErrorLog, want.Direct = 15, true, 2, "/opt/mod_handover.so", "/var/log/e", true
	want.JSONLog, want.ACME = true, &acme.Settings{Names: []string{"a.example", "b.example"}, Directory: "https://ca.example/dir", Email: "a@example", Challenge: "dns-01", Port: 80, CA: "/ca", External: "/account", Command: "/bin/dns", State: "/var/lib/acme", Group: 33, OtherUser: true}
	v := reflect.ValueOf(want).Elem()
	for i := range v.NumField() {
		if f := v.Type().Field(i); f.Tag.Get("json") != "-" && v.Field(i).IsZero() {
			t.Errorf("the test leaves out %s", f.Name)
		}
	}
	saveLaunch(t, want)
	got, err := ReadLaunch(root)
	must(t, err)
	if got.Handle == nil || got.Handle.Path() != root {
		t.Errorf("the server root is not open: %v", got.Handle)
	}
	got.Close()
	got.Handle = nil
	if !reflect.DeepEqual(got, want) {
		t.Errorf("read  %+v\nwrote %+v", got, want)
	}
}

// TestReadLaunchRefuses has a row for each damage of instance.json.
func TestReadLaunchRefuses(t *testing.T) {
	base := tempDir(t)
	good, err := json.Marshal(plantRoot(t, filepath.Join(base, "good"), "/bin/true"))
	must(t, err)
	elsewhere := strings.ReplaceAll(string(good), base+"/good", base+"/elsewhere")
	again := "run setup-server again"
	for _, c := range []struct {
		what  string
		plant func(file string)
		class fault.Class
		want  string
		hint  string
	}{
		{"missing", func(string) {}, fault.Usage, "is not a server root", "mod_wsgi-express setup-server"},
		{"empty", func(f string) { write(t, f, "", 0o600) }, fault.Environment, "read instance.json", again},
		{"cut off", func(f string) { write(t, f, string(good[:len(good)/2]), 0o600) }, fault.Environment, "read instance.json", again},
		{"followed by more", func(f string) { write(t, f, string(good)+"}", 0o600) }, fault.Environment, "read instance.json", again},
		{"an array", func(f string) { write(t, f, "[]", 0o600) }, fault.Environment, "read instance.json", again},
		{"another type", func(f string) { write(t, f, `{"port": "80"}`, 0o600) }, fault.Environment, "read instance.json", again},
		{"an empty object", func(f string) { write(t, f, "{}", 0o600) }, fault.Environment, "does not name the server root", again},
		{"null", func(f string) { write(t, f, "null", 0o600) }, fault.Environment, "does not name the server root", again},
		{"too long", func(f string) { write(t, f, string(good)+strings.Repeat(" ", mostLaunch), 0o600) }, fault.Environment, "more than", again},
		{"a directory", func(f string) { must(t, os.Mkdir(f, 0o700)) }, fault.Environment, "not a regular file", again},
		{"a link", func(f string) { must(t, os.Symlink("../good/"+InstanceFile, f)) }, fault.Environment, "symbolic link", again},
		{"writable by everybody", func(f string) { write(t, f, string(good), 0o666) }, fault.Environment, "everybody may write to it", again},
		{"of another server root", func(f string) { write(t, f, string(good), 0o600) }, fault.Environment, "was written for the server root " + base + "/good, which is another directory", "for the new location"},
		{"of one that was moved", func(f string) { write(t, f, elsewhere, 0o600) }, fault.Environment, "was written for the server root " + base + "/elsewhere", "for the new location"},
	} {
		root := mkdir(t, filepath.Join(base, c.what), 0o700)
		c.plant(filepath.Join(root, InstanceFile))
		l, err := ReadLaunch(root)
		wants(t, c.what, err, c.class, c.want)
		if hint := fault.HintOf(err); l != nil || !strings.Contains(hint, c.hint) {
			t.Errorf("%s: %+v, hint %q", c.what, l, hint)
		}
	}
	_, err = ReadLaunch(filepath.Join(base, "none"))
	wants(t, "no directory", err, fault.Usage, base+"/none is not a server root")
}

// TestReadLaunchByAnotherName: a link in the path of the server root is not a move.
func TestReadLaunchByAnotherName(t *testing.T) {
	base := tempDir(t)
	root := filepath.Join(base, "root")
	plantRoot(t, root, "/bin/true")
	must(t, os.Symlink(base, filepath.Join(base, "parent")))
	l, err := ReadLaunch(filepath.Join(base, "parent", "root"))
	must(t, err)
	defer l.Close()
	if l.Root != root {
		t.Errorf("the server root is %s", l.Root)
	}
}

// TestPut: a file with the wanted content is not written again; anything else is
// replaced, never written through.
func TestPut(t *testing.T) {
	base := tempDir(t)
	root := mkdir(t, filepath.Join(base, "root"), 0o700)
	mkdir(t, filepath.Join(root, "sub"), 0o700)
	mkdir(t, filepath.Join(root, "taken"), 0o700)
	mkdir(t, filepath.Join(root, "open"), 0o777)
	precious := write(t, filepath.Join(base, "precious"), "precious", 0o600)
	must(t, os.Symlink(precious, filepath.Join(root, "link")), os.Symlink("sub", filepath.Join(root, "sublink")))
	write(t, filepath.Join(root, "longer"), "text and more", 0o600)
	write(t, filepath.Join(root, "loose"), "text", 0o666)
	write(t, filepath.Join(root, "same"), "text", 0o600)
	same := inode(t, filepath.Join(root, "same"))
	dir := opened(t, root)
	for _, c := range []struct{ name, want string }{
		{"new", ""},
		{"sub/new", ""},
		{"longer", ""},
		{"link", ""},
		{"loose", ""},
		{"same", ""},
		{"taken", "not a regular file"},
		{"missing/new", "no such file"},
		{"sublink/new", "symbolic link"},
		{"open/new", "everybody may write to it"},
	} {
		err := Put(dir, RootFile{Name: c.name, Data: []byte("text"), Mode: 0o640}, &host.Account{})
		if (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", c.name, err, c.want)
		}
		if c.want != "" || c.name == "same" {
			continue
		}
		info, err := os.Lstat(filepath.Join(root, c.name))
		must(t, err)
		data, err := os.ReadFile(filepath.Join(root, c.name))
		if err != nil || string(data) != "text" || info.Mode() != 0o640 {
			t.Errorf("%s: %q, mode %v, %v", c.name, data, info.Mode(), err)
		}
	}
	if data, err := os.ReadFile(precious); err != nil || string(data) != "precious" {
		t.Errorf("written through a link: %q, %v", data, err)
	}
	if inode(t, filepath.Join(root, "same")) != same {
		t.Error("a file with the wanted content was replaced")
	}
	for _, name := range []string{"", "sub", "taken"} {
		names, err := filepath.Glob(filepath.Join(root, name, ".*.tmp"))
		if err != nil || len(names) > 0 {
			t.Errorf("temporary files remain: %v %v", names, err)
		}
	}
}

// TestMakeDirectories: directories inside and outside the server root are created, and
// existing ones keep their contents and mode.
func TestMakeDirectories(t *testing.T) {
	base := tempDir(t)
	root := mkdir(t, filepath.Join(base, "root"), 0o700)
	kept := mkdir(t, filepath.Join(base, "kept"), 0o755)
	dir := opened(t, root)
	list := []Directory{{filepath.Join(root, "htdocs"), false}, {filepath.Join(root, "eggs"), true}, {filepath.Join(base, "logs"), true}, {kept, true}}
	for range 2 { // again on the second start
		if err := MakeDirectories(dir, root, &host.Account{}, list); err != nil {
			t.Fatal(err)
		}
		write(t, filepath.Join(root, "htdocs", "index.html"), "", 0o644)
	}
	for _, d := range list {
		want := fs.FileMode(0o700)
		if d.Path == kept {
			want = 0o755
		}
		if info, err := os.Stat(d.Path); err != nil || !info.IsDir() || info.Mode().Perm() != want {
			t.Errorf("%s: %v, %v", d.Path, info, err)
		}
	}
	if err := MakeDirectories(dir, root, &host.Account{}, []Directory{{filepath.Join(base, "none", "logs"), true}}); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("below a missing directory: %v", err)
	}
}
