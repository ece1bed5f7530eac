package instance

import (
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"modwsgi/express/config"
	"modwsgi/express/host"
	"modwsgi/internal/fault"
	"modwsgi/internal/otheruser"
	"modwsgi/internal/owned"
)

// application is the account of an application that root starts.
var application = &host.Account{User: "#21977", UID: otheruser.UID, GID: otheruser.GID, Other: true}

// rights are the owner, the group and the mode of a file.
type rights struct {
	uid, gid int
	mode     fs.FileMode
}

func rightsOf(t *testing.T, path string) rights {
	t.Helper()
	info, err := os.Lstat(path)
	must(t, err)
	return rights{owned.UID(info), int(info.Sys().(*syscall.Stat_t).Gid), info.Mode().Perm()}
}

// TestMakeRootForTheApplication: its account may pass through the server root, and
// never write to it.
func TestMakeRootForTheApplication(t *testing.T) {
	otheruser.Need(t)
	top := otheruser.Dir(t)
	for name, c := range map[string]struct{ before, want rights }{
		"new":                     {want: rights{0, otheruser.GID, 0o710}},
		"private":                 {rights{0, 0, 0o700}, rights{0, otheruser.GID, 0o710}},
		"readable by the group":   {rights{0, 0, 0o750}, rights{0, otheruser.GID, 0o750}},
		"readable":                {rights{0, 0, 0o755}, rights{0, 0, 0o755}},
		"passable":                {rights{0, 0, 0o711}, rights{0, 0, 0o711}},
		"writable by root's":      {rights{0, 0, 0o770}, rights{0, otheruser.GID, 0o750}},
		"passable only for users": {rights{0, 0, 0o730}, rights{0, otheruser.GID, 0o710}},
	} {
		root := filepath.Join(top, name)
		if c.before != (rights{}) {
			mkdir(t, root, c.before.mode)
		}
		dir, created, err := MakeRoot(root, application)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		_ = dir.Close()
		if got := rightsOf(t, root); got != c.want || created != (name == "new") {
			t.Errorf("%s: %+v, want %+v; created: %v", name, got, c.want, created)
		}
		again, err := OpenRoot(root)
		if err != nil {
			t.Errorf("%s is refused afterwards: %v", name, err)
			continue
		}
		_ = again.Close()
	}
}

// TestMakeRootOfAnotherUser: root refuses a server root that another user owns, can
// write to or can replace, and leaves it as it is.
func TestMakeRootOfAnotherUser(t *testing.T) {
	otheruser.Need(t)
	top := otheruser.Dir(t)
	theirs := mkdir(t, filepath.Join(top, "theirs"), 0o700)
	shared := mkdir(t, filepath.Join(top, "shared"), 0o770)
	sticky := mkdir(t, filepath.Join(top, "sticky"), 0o777|fs.ModeSticky)
	mkdir(t, filepath.Join(sticky, "taken"), 0o700)
	must(t, os.Chown(shared, 0, otheruser.GID), os.Symlink(top, filepath.Join(sticky, "link")))
	otheruser.Give(t, theirs, filepath.Join(sticky, "taken"), filepath.Join(sticky, "link"))
	for _, c := range []struct{ root, want, hint string }{
		{theirs, "belongs to another user: it belongs to the user with the id 21977", "sudo -u '#21977' mod_wsgi-express"},
		{theirs + "/new", "another user can replace the server root", "sudo -u '#21977' mod_wsgi-express"},
		{shared, "can be written by others: the group 21977 may write to it", "chmod go-w " + shared},
		{shared + "/new", "another user can replace the server root", "chmod go-w " + shared},
		{sticky + "/taken", "belongs to another user", "--server-root"},
		{sticky + "/link", "is a symbolic link", "name the directory itself"},
		{sticky + "/link/root", "another user can replace the server root", "--server-root"},
	} {
		_, before := os.Lstat(c.root)
		_, created, err := MakeRoot(c.root, application)
		wants(t, c.root, err, fault.Environment, c.want)
		if hint := fault.HintOf(err); created || !strings.Contains(hint, c.hint) {
			t.Errorf("%s: created: %v, hint %q, want %q", c.root, created, hint, c.hint)
		}
		if _, after := os.Lstat(c.root); (before == nil) != (after == nil) {
			t.Errorf("%s: %v before, %v after", c.root, before, after)
		}
	}
	if got := rightsOf(t, theirs); got != (rights{otheruser.UID, otheruser.GID, 0o700}) {
		t.Errorf("another user's directory was changed: %+v", got)
	}
	if got := rightsOf(t, shared); got != (rights{0, otheruser.GID, 0o770}) {
		t.Errorf("a shared directory was changed: %+v", got)
	}
	// Someone else was quicker: in /tmp that is another user's directory.
	quick := filepath.Join(sticky, "quick")
	at(t, "making the server root", func() { otheruser.Give(t, mkdir(t, quick, 0o755)) })
	_, created, err := MakeRoot(quick, application)
	wants(t, "created meanwhile", err, fault.Environment, "belongs to another user")
	if created {
		t.Error("another user's directory is reported as created")
	}
}

// TestHintNamesTheOwner: the hint of a refusal is a command that works.
func TestHintNamesTheOwner(t *testing.T) {
	otheruser.Need(t)
	theirs := mkdir(t, filepath.Join(otheruser.Dir(t), "theirs"), 0o755)
	must(t, os.Chown(theirs, 65534, 65534))
	_, err := OpenRoot(filepath.Join(theirs, "root"))
	if hint := fault.HintOf(err); !strings.Contains(hint, "sudo -u nobody mod_wsgi-express") || !strings.Contains(hint, "--server-root") {
		t.Errorf("%v: %s", err, hint)
	}
}

// TestServerRootsThatAnOrdinaryUserBelieves: their own and root's, but no other user's.
func TestServerRootsThatAnOrdinaryUserBelieves(t *testing.T) {
	const variable = "INSTANCE_TEST_ROOTS"
	var env []string
	if os.Geteuid() == 0 {
		dir := otheruser.Dir(t)
		for _, name := range []string{"third", "place/root", "roots"} {
			write(t, filepath.Join(plantRoot(t, filepath.Join(dir, name), "/bin/true").Root, InstanceFile), `{"root": "`+dir+"/"+name+`"}`, 0o644)
		}
		must(t, os.Chown(dir+"/third", 65534, 65534), os.Chown(dir+"/place", 65534, 65534))
		otheruser.Give(t, dir+"/place/root", dir+"/place/root/"+InstanceFile)
		env = append(env, variable+"="+dir)
	}
	if !otheruser.Rerun(t, env...) {
		return
	}
	dir := os.Getenv(variable)
	own := filepath.Join(t.TempDir(), "own")
	plantRoot(t, own, "/bin/true")
	for root, want := range map[string]string{
		dir + "/third": "belongs to another user", dir + "/place/root": "can replace the server root", dir + "/roots": "", own: "",
	} {
		l, err := ReadLaunch(root)
		if (err == nil) != (want == "") || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v %v", root, l, err)
		}
	}
	// What only root can decide about is not asked of an ordinary user.
	trust := &Trust{Launcher: own, Warn: func(text string) { t.Errorf("a warning: %s", text) }}
	if err := trust.Files([]Relied{{"option --include-file", dir + "/third/" + ConfFile, Obeyed}}); err != nil {
		t.Error(err)
	}
}

// TestInstanceFileOfAnotherUser: it is not trusted, not even in a directory of root's.
func TestInstanceFileOfAnotherUser(t *testing.T) {
	otheruser.Need(t)
	root := filepath.Join(otheruser.Dir(t), "root")
	file := filepath.Join(plantRoot(t, root, "/bin/true").Root, InstanceFile)
	otheruser.Give(t, file)
	_, err := ReadLaunch(root)
	wants(t, "another user's", err, fault.Environment, "it belongs to the user with the id 21977")
	must(t, os.Chown(file, 0, otheruser.GID), os.Chmod(file, 0o660))
	_, err = ReadLaunch(root)
	wants(t, "a group's", err, fault.Environment, "the group 21977 may write to it")
	must(t, os.Chmod(file, 0o640))
	l, err := ReadLaunch(root)
	must(t, err)
	l.Close()
}

// TestServerRootIsOpenedOnce: what is read comes from the directory that was checked,
// whatever its name leads to by then.
func TestServerRootIsOpenedOnce(t *testing.T) {
	otheruser.Need(t)
	top := otheruser.Dir(t)
	root, away, evil := filepath.Join(top, "root"), filepath.Join(top, "away"), filepath.Join(top, "evil")
	server := startServer(t, nil, filepath.Join(top, "httpd"), filepath.Join(root, ConfFile))
	plantRoot(t, root, server.Path)
	bad := plantRoot(t, evil, "/bin/false")
	write(t, filepath.Join(evil, InstanceFile), `{"httpd": "/bin/false", "root": "`+root+`", "pid_file": "`+root+`/httpd.pid"}`, 0o600)
	write(t, bad.Pid, strconv.Itoa(server.Process.Pid), 0o644)
	otheruser.Give(t, evil, filepath.Join(evil, InstanceFile), bad.Pid, filepath.Join(evil, ConfFile))
	once := true
	at(t, "server root opened", func() {
		if once {
			once = false
			must(t, os.Rename(root, away), os.Rename(evil, root))
		}
	})
	l, err := ReadLaunch(root)
	must(t, err)
	defer l.Close()
	if l.HTTPD != server.Path {
		t.Errorf("the planted file was read: %+v", l)
	}
	if proc, err := l.Running(); proc != nil || err != nil {
		t.Errorf("the planted PID file was believed: %v %v", proc, err)
	}
	if data, err := os.ReadFile(filepath.Join(root, InstanceFile)); err != nil || !strings.Contains(string(data), "/bin/false") {
		t.Fatalf("the directories were not exchanged: %v", err)
	}
	// The name itself is refused from now on.
	_, err = ReadLaunch(root)
	wants(t, "the exchanged directory", err, fault.Environment, "belongs to another user")
}

// TestDirectoriesAreGivenAwayByHandle: a directory that was just created is exchanged
// for a link or for another directory before it is given to the application.
func TestDirectoriesAreGivenAwayByHandle(t *testing.T) {
	otheruser.Need(t)
	top := otheruser.Dir(t)
	victim := mkdir(t, filepath.Join(top, "victim"), 0o700)
	secret := write(t, filepath.Join(victim, "secret"), "", 0o600)
	empty := mkdir(t, filepath.Join(top, "empty"), 0o755)
	dir := mkdir(t, filepath.Join(top, "dir"), 0o755)
	handle := opened(t, dir)
	name := filepath.Join(dir, "sub")
	for what, swap := range map[string]func(){
		"a link":             func() { must(t, os.Remove(name), os.Symlink(victim, name)) },
		"a relative link":    func() { must(t, os.Remove(name), os.Symlink("../victim", name)) },
		"another directory":  func() { must(t, os.Remove(name), os.Rename(victim, name)) },
		"an empty directory": func() { must(t, os.Remove(name), os.Rename(empty, name)) },
	} {
		for _, mine := range []bool{true, false} {
			at(t, "directory made", swap)
			if err := MakeSub(handle.Root(), "sub", application, mine); err == nil {
				t.Errorf("%s: no error", what)
			}
			switch what {
			case "another directory":
				must(t, os.Rename(name, victim))
			case "an empty directory":
				must(t, os.Rename(name, empty))
			default:
				must(t, os.Remove(name))
			}
			if got := rightsOf(t, victim); got != (rights{0, 0, 0o700}) {
				t.Errorf("%s: %+v", what, got)
			}
			if got := rightsOf(t, empty); got != (rights{0, 0, 0o755}) {
				t.Errorf("%s: the empty one: %+v", what, got)
			}
		}
	}
	Moment = func(string) {}
	must(t, os.Chmod(victim, 0o750), os.Symlink(victim, filepath.Join(dir, "htdocs")))
	if err := PassOn(handle, "htdocs", application); err != nil {
		t.Error(err)
	}
	if got := rightsOf(t, victim); got != (rights{0, 0, 0o750}) {
		t.Errorf("passed on through a link: %+v", got)
	}
	if err := PassOn(handle, filepath.Base(write(t, filepath.Join(dir, "program"), "", 0o750)), application); err != nil {
		t.Error(err)
	}
	if got := rightsOf(t, filepath.Join(dir, "program")); got != (rights{0, 0, 0o750}) {
		t.Errorf("a file was passed on: %+v", got)
	}
	// A file of the server root replaces whatever is in its place.
	const file = "settings.json"
	must(t, os.Symlink(secret, filepath.Join(dir, file)))
	if err := Put(handle, RootFile{Name: file, Data: []byte("{}"), Mode: 0o600, Shared: true}, application); err != nil {
		t.Error(err)
	}
	if data, err := os.ReadFile(secret); err != nil || len(data) > 0 {
		t.Errorf("written through a link: %q %v", data, err)
	}
	if got := rightsOf(t, filepath.Join(dir, file)); got != (rights{0, otheruser.GID, 0o640}) {
		t.Errorf("a shared file: %+v", got)
	}
	if got := rightsOf(t, secret); got != (rights{0, 0, 0o600}) {
		t.Errorf("the target of the link: %+v", got)
	}
}

// TestRightsOfTheApplication: which directories and files its account gets.
func TestRightsOfTheApplication(t *testing.T) {
	otheruser.Need(t)
	top := otheruser.Dir(t)
	root := mkdir(t, filepath.Join(top, "root"), 0o700)
	handle := opened(t, root)
	list := []Directory{{root + "/mine", true}, {root + "/docs", false}, {root + "/earlier", false}, {root + "/private", false}, {top + "/logs", true}, {top + "/theirs", true}}
	mkdir(t, root+"/earlier", 0o750)
	must(t, os.Chown(root+"/earlier", 0, 65534)) // the application ran as another user
	mkdir(t, root+"/private", 0o700)
	must(t, os.Chown(mkdir(t, top+"/theirs", 0o755), 65534, 65534))
	for range 2 {
		must(t, MakeDirectories(handle, root, application, list))
	}
	for _, f := range []RootFile{{"shared", []byte("x"), 0o600, true}, {"own", []byte("x"), 0o600, false}, {"same", []byte("x"), 0o600, true}} {
		if f.Name == "same" {
			write(t, root+"/same", "x", 0o600)
		}
		must(t, Put(handle, f, application))
	}
	const uid, gid = otheruser.UID, otheruser.GID
	for name, want := range map[string]rights{
		root + "/mine": {uid, gid, 0o700}, root + "/docs": {0, gid, 0o750}, root + "/earlier": {0, gid, 0o750}, root + "/private": {0, 0, 0o700},
		top + "/logs": {uid, gid, 0o700}, top + "/theirs": {65534, 65534, 0o755},
		root + "/shared": {0, gid, 0o640}, root + "/own": {0, 0, 0o600}, root + "/same": {0, gid, 0o640},
	} {
		if got := rightsOf(t, name); got != want {
			t.Errorf("%s: %+v, want %+v", name, got, want)
		}
	}
}

// TestCheckLogs has a row for each log file that another user could have prepared.
func TestCheckLogs(t *testing.T) {
	otheruser.Need(t)
	top := otheruser.Dir(t)
	victim := write(t, filepath.Join(top, "victim"), "", 0o600)
	const name = "error_log"
	for _, c := range []struct {
		what    string
		theirs  bool // the directory
		plant   func(log string)
		want    string
		warning bool
	}{
		{"missing", false, func(string) {}, "", false},
		{"missing in theirs", true, func(string) {}, "", true},
		{"a file", false, func(log string) { write(t, log, "", 0o644) }, "", false},
		{"a file in theirs", true, func(log string) { otheruser.Give(t, write(t, log, "", 0o644)) }, "", true},
		{"our link", false, func(log string) { must(t, os.Symlink(victim, log)) }, "", false},
		{"our link in theirs", true, func(log string) { must(t, os.Symlink("/dev/stderr", log)) }, "", true},
		{"their link", true, func(log string) { must(t, os.Symlink(victim, log)); otheruser.Give(t, log) }, "is a symbolic link of another user's (the user with the id 21977)", false},
		{"their link in ours", false, func(log string) { must(t, os.Symlink(victim, log)); otheruser.Give(t, log) }, "is a symbolic link of another user's", false},
		{"a pipe", false, func(log string) { must(t, syscall.Mkfifo(log, 0o600)) }, "", false},
		{"their pipe", true, func(log string) { must(t, syscall.Mkfifo(log, 0o600)); otheruser.Give(t, log) }, "is not a regular file", false},
		{"a directory in theirs", true, func(log string) { must(t, os.Mkdir(log, 0o700)) }, "is not a regular file", false},
		{"another name of root's file", true, func(log string) { must(t, os.Link(victim, log)) }, "has other hard links", false},
		{"another name in ours", false, func(log string) { must(t, os.Link(victim, log)) }, "", false},
	} {
		dir := mkdir(t, filepath.Join(top, c.what), 0o755)
		c.plant(filepath.Join(dir, name))
		if c.theirs {
			otheruser.Give(t, dir)
		}
		warning, err := CheckLogs(dir, []string{"access_log", name})
		if c.want != "" {
			wants(t, c.what, err, fault.Environment, c.want)
			if !strings.Contains(fault.HintOf(err), "--log-directory") {
				t.Errorf("%s: hint %q", c.what, fault.HintOf(err))
			}
		} else if err != nil {
			t.Errorf("%s: %v", c.what, err)
		}
		if (warning != "") != c.warning || c.warning && !strings.Contains(warning, dir+": it belongs to the user with the id 21977") {
			t.Errorf("%s: warning %q", c.what, warning)
		}
	}
}

// TestTrustFiles has a row for each role of a file that another user can change.
func TestTrustFiles(t *testing.T) {
	otheruser.Need(t)
	top := otheruser.Dir(t)
	file := func(name string, owner int) string {
		path := filepath.Join(top, name)
		mkdir(t, filepath.Dir(path), 0o755)
		write(t, path, "", 0o644)
		must(t, os.Chown(path, owner, owner))
		return path
	}
	roots, theirs, third := file("roots", 0), file("theirs", otheruser.UID), file("third", 65534)
	open := file("open", 0)
	loose := file("loose", otheruser.UID)
	must(t, os.Chmod(open, 0o666), os.Chmod(loose, 0o666))
	inside := file("dir/inside", 0)
	otheruser.Give(t, filepath.Dir(inside))
	const by = "option --x"
	refused := func(verb, path string) string {
		return by + ": root would " + verb + " " + path + ", and another user can change " + path
	}
	warned := func(path string) string { return by + ": another user can change " + path + " (" }
	env := "root runs programs of an environment that another user can change to become root: "
	for _, c := range []struct {
		what     string
		launcher string
		file     Relied
		want     string // the error
		warning  string
	}{
		{what: "root's", file: Relied{by, roots, Executed}},
		{what: "missing", file: Relied{by, top + "/none", Executed}},
		{what: "executed", file: Relied{by, theirs, Executed}, want: refused("run", theirs)},
		{what: "obeyed", file: Relied{by, theirs, Obeyed}, want: refused("obey", theirs)},
		{what: "sourced", file: Relied{by, theirs, Sourced}, want: refused("run", theirs)},
		{what: "created", file: Relied{by, filepath.Dir(inside), Created}, want: refused("write in", filepath.Dir(inside))},
		{what: "data", file: Relied{by, theirs, Data}, warning: warned(theirs)},
		{what: "writable by everybody", file: Relied{by, open, Executed}, want: refused("run", open) + " (everybody may write to it"},
		{what: "in their directory", file: Relied{by, inside, Obeyed}, want: refused("obey", inside) + " (" + top + "/dir: it belongs to"},
		{what: "of the environment", file: Relied{"", theirs, Executed}, warning: env + theirs + " (it belongs to"},
		{what: "executed, of the launcher's owner", launcher: theirs, file: Relied{by, theirs, Executed}, warning: warned(theirs)},
		{what: "obeyed, of the launcher's owner", launcher: theirs, file: Relied{by, theirs, Obeyed}, warning: warned(theirs)},
		{what: "sourced, of the launcher's owner", launcher: theirs, file: Relied{by, theirs, Sourced}, want: refused("run", theirs)},
		{what: "created, of the launcher's owner", launcher: theirs, file: Relied{by, filepath.Dir(inside), Created}, want: refused("write in", filepath.Dir(inside))},
		{what: "of a third user", launcher: theirs, file: Relied{by, third, Executed}, want: refused("run", third)},
		{what: "writable, and the launcher another user's", launcher: theirs, file: Relied{by, open, Obeyed}, want: refused("obey", open)},
		{what: "a launcher that everybody can change", launcher: open, file: Relied{by, theirs, Executed}, want: refused("run", theirs)},
		{what: "their launcher, that everybody can change", launcher: loose, file: Relied{by, theirs, Executed}, want: refused("run", theirs)},
		{what: "a missing launcher", launcher: top + "/none", file: Relied{by, theirs, Executed}, want: refused("run", theirs)},
	} {
		var warnings []string
		if c.launcher == "" {
			c.launcher = roots
		}
		trust := &Trust{Launcher: c.launcher, Warn: func(text string) { warnings = append(warnings, text) }}
		err := trust.Files([]Relied{c.file})
		if c.want != "" {
			wants(t, c.what, err, fault.Environment, c.want)
		} else if err != nil {
			t.Errorf("%s: %v", c.what, err)
		}
		if c.warning == "" && len(warnings) > 0 || c.warning != "" && (len(warnings) != 1 || !strings.HasPrefix(warnings[0], c.warning)) {
			t.Errorf("%s: warnings %q, want %q", c.what, warnings, c.warning)
		}
	}
	// Files of the environment that the same directory exposes are reported once.
	var warnings []string
	trust := &Trust{Launcher: roots, Warn: func(text string) { warnings = append(warnings, text) }}
	second := file("dir/second", 0)
	if err := trust.Files([]Relied{{"", inside, Executed}, {"", second, Executed}, {"", theirs, Executed}}); err != nil || len(warnings) != 2 {
		t.Errorf("%v, %q", err, warnings)
	}
}

// TestTrustLaunch: the programs of a server root are checked, whether or not its list
// of files has them.
func TestTrustLaunch(t *testing.T) {
	otheruser.Need(t)
	top := otheruser.Dir(t)
	httpd, gdb, include := write(t, top+"/httpd", "", 0o755), write(t, top+"/gdb", "", 0o755), write(t, top+"/x.conf", "ServerTokens Prod\n", 0o644)
	l := plantRoot(t, filepath.Join(top, "root"), httpd)
	l.GDB, l.Handle = gdb, opened(t, l.Root)
	warn := func(text string) { t.Errorf("a warning: %s", text) }
	trust := &Trust{Launcher: httpd, Warn: warn}
	listed := []Relied{{"option --httpd-executable", httpd, Executed}, {"option --gdb-executable", gdb, Executed}, {"option --include-file", include, Obeyed}}
	l.Includes = []string{include}
	for _, files := range [][]Relied{listed, nil} {
		l.Files = files
		must(t, trust.Launch(l), trust.Configuration(l))
		for _, path := range []string{httpd, gdb} {
			otheruser.Give(t, path)
			trust.Launcher = top // of root
			for what, err := range map[string]error{"launch": trust.Launch(l), "configuration": trust.Configuration(l)} {
				wants(t, what, err, fault.Environment, "root would run "+path)
				by := "the server root " + l.Root + ": "
				if files != nil {
					by = "option --" + filepath.Base(path) + "-executable: "
				}
				if err != nil && !strings.HasPrefix(err.Error(), by) {
					t.Errorf("%s: %v, want %q", what, err, by)
				}
			}
			must(t, os.Chown(path, 0, 0))
		}
	}
	l.Files = listed
	otheruser.Give(t, include)
	must(t, trust.Launch(l)) // runs httpd without its configuration
	wants(t, "an included file", trust.Configuration(l), fault.Environment, "root would obey "+include)
	must(t, os.Chown(include, 0, 0))
	// The virtual hosts get the lines of the included file as it is now.
	must(t, os.WriteFile(include, []byte("Header set X y\n"), 0o644), trust.Configuration(l))
	if data, err := os.ReadFile(filepath.Join(l.Root, config.HostsFile)); err != nil || !strings.HasPrefix(string(data), "# Copied from") {
		t.Errorf("%q, %v", data, err)
	}
	must(t, os.Chmod(filepath.Join(l.Root, ConfFile), 0o666))
	wants(t, "httpd.conf", trust.Configuration(l), fault.Environment, "the configuration of "+l.Root)
	must(t, os.Remove(filepath.Join(l.Root, ConfFile)))
	wants(t, "no httpd.conf", trust.Configuration(l), fault.Environment, "the configuration of "+l.Root)
}
