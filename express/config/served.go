package config

import (
	"math"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"sort"
	"strings"

	"modwsgi/express/conf"
	"modwsgi/express/host"
	"modwsgi/express/option"
	"modwsgi/internal/fault"
)

// The files that httpd serves, and those that it must never serve: the application's
// sources, and the files of the server, if they are below a directory that clients can
// read.
//
// A file can have many URLs: with another spelling, through an alias, or with a path
// appended. So the rules match the path that httpd maps a request to rather than its
// URL. They are in <If> sections, because httpd applies these last. A Require in
// <Location>, which --auth-user-script needs, overrides those in <Directory> and
// <Files>, and a rule of mod_rewrite has no effect after a user's rule that ends the
// rewriting.

// servedDir is a directory whose files httpd serves.
type servedDir struct {
	path    string
	option  option.Ref
	origins []conf.Origin
	code    bool     // contains Python code of the application
	files   []string // base names of files that are not served
	logs    []string // base names of log files, which may have a suffix
	dirs    []string // relative paths of directories that are not served
	open    []string // relative paths with separate rules
}

// privateFile is a file or directory that clients must not read.
type privateFile struct {
	what, path     string
	code, dir, log bool // if neither dir nor log: a file
}

// inside returns a path relative to a directory that contains it. It recognizes
// symbolic links and, on file systems that ignore case, other spellings. It returns
// "." for the directory itself.
func inside(dir, path string) (rel string, ok bool) {
	target, targetErr := os.Stat(dir)
	forms := []string{path}
	if real, err := filepath.EvalSymlinks(path); err == nil {
		forms = append(forms, real)
	}
	for _, form := range forms {
		for up := form; ; up = filepath.Dir(up) {
			info, err := os.Stat(up)
			if up == dir || err == nil && targetErr == nil && os.SameFile(info, target) {
				rel, err := filepath.Rel(up, form)
				return filepath.ToSlash(rel), err == nil
			}
			if filepath.Dir(up) == up {
				break
			}
		}
	}
	return "", false
}

// except exempts paths that options name inside a directory, which have separate rules.
func (d *servedDir) except(i *Instance, single []string) {
	var inner []string
	for _, other := range i.served {
		inner = append(inner, other.path, i.unlinked(other.path))
	}
	if i.Manual() {
		inner = append(inner, i.ManualDir())
	}
	for _, file := range single {
		if i.secretFile(file) == "" {
			inner = append(inner, file, i.unlinked(file))
		}
	}
	for _, path := range inner {
		if rel, ok := inside(d.path, path); ok && rel != "." {
			d.open = append(d.open, rel)
		}
	}
}

// hide adds a private file to the rules of the directory, and reports whether the
// directory contains it.
func (d *servedDir) hide(s privateFile) bool {
	rel, ok := inside(d.path, s.path)
	if !ok {
		return false
	}
	d.code = d.code || s.code
	switch {
	case rel == ".":
		return s.code
	case s.dir:
		d.dirs = append(d.dirs, rel)
	case s.log:
		d.logs = append(d.logs, filepath.Base(s.path))
	case !s.code || !isDirectory(s.path):
		d.files = append(d.files, filepath.Base(s.path), filepath.Base(rel))
	}
	return true
}

// secretFile describes a file with its own URL that must not be served nevertheless. It
// returns "" for other files.
func (i *Instance) secretFile(path string) string {
	info, err := os.Stat(path)
	if err != nil {
		return ""
	}
	for _, s := range i.privateFiles() {
		if other, err := os.Stat(s.path); err == nil && !s.dir && os.SameFile(info, other) {
			return s.what
		}
	}
	_, inRoot := inside(i.Root, path)
	_, inDocs := inside(i.Docs, path) // SERVER_ROOT/htdocs
	if inRoot && !inDocs {
		return "in the server root"
	}
	return ""
}

// Parts of the regular expressions for files that are not served.
const (
	anywhere = `(?:.*/)?`
	// Names that start with a dot belong to version control, editors and httpd. The
	// exception is the directory defined by RFC 8615.
	dotted = anywhere + `\.(?!well-known(?:/|$)).*`
	// Sources and compiled files of Python, including backup copies: settings.py~,
	// #settings.py#, settings.py.bak.
	sources = anywhere + `(?:[^/]*\.(?:py[a-z0-9]?|pxd|wsgi)(?:[^a-z0-9/][^/]*)?|__pycache__(?:/.*)?)`
)

// rules returns the sections that protect private files from clients.
func (d *servedDir) rules(handlers [][2]string) []conf.Node {
	rules := []conf.Node{d.refuse(dotted)}
	if d.code {
		var executed []string
		for _, h := range handlers {
			executed = append(executed, extension(h[0]))
		}
		pattern := sources
		if len(executed) > 0 {
			pattern = "(?!.*" + alternatives(executed) + "$)" + sources
		}
		rules = append(rules, d.refuse(pattern))
	}
	unique := func(list []string) []string { slices.Sort(list); return slices.Compact(list) }
	for names := range slices.Chunk(unique(d.files), 30) {
		var plain, extended []string
		for _, n := range names {
			if strings.Contains(n, ".") {
				extended = append(extended, n)
			} else {
				plain = append(plain, n) // "app" must not match app.js
			}
		}
		if len(extended) > 0 {
			rules = append(rules, d.refuse(anywhere+"#?"+alternatives(extended)+"(?:[^a-z0-9/][^/]*)?"))
		}
		if len(plain) > 0 {
			rules = append(rules, d.refuse(anywhere+"#?"+alternatives(plain)+`(?:[~#]|\.(?:bak|old|orig|save|sw[a-z]))?`))
		}
	}
	for names := range slices.Chunk(unique(d.logs), 30) {
		rules = append(rules, d.refuse(anywhere+alternatives(names)+`(?:\.[^/]*)?`))
	}
	for dirs := range slices.Chunk(unique(d.dirs), 10) {
		rules = append(rules, d.refuse(alternatives(dirs)+"(?:/.*)?"))
	}
	return rules
}

// privateRules returns the rules of a served directory, for the path that httpd uses.
func (i *Instance) privateRules(named, path string) []conf.Node {
	for _, d := range i.served {
		if d.path == named {
			at := *d
			at.path = path
			return at.rules(AddHandler.In(i))
		}
	}
	return nil
}

// refuse returns the section that answers 403 for existing files and directories whose
// path below the directory matches.
func (d *servedDir) refuse(pattern string) conf.Node {
	except := ""
	if len(d.open) > 0 {
		except = "(?!(?-i:" + alternatives(d.open) + ")(?:/|$))"
	}
	expression := "%{REQUEST_FILENAME} =~ m#^" + literal(strings.TrimSuffix(host.Slashed(d.path), "/")) + "/" + except + "(?:" + strings.ReplaceAll(pattern, "#", `\x23`) + ")$#i && -e %{REQUEST_FILENAME}"
	return conf.S("If", args(conf.Word(expression)), conf.D("Require", conf.Key("all"), conf.Key("denied"))).From(d.origins...)
}

func alternatives(words []string) string {
	quoted := make([]string, len(words))
	for k, w := range words {
		quoted[k] = literal(w)
	}
	return "(?:" + strings.Join(quoted, "|") + ")"
}

// literal escapes a literal text for a regular expression between number signs.
func literal(s string) string { return strings.ReplaceAll(regexp.QuoteMeta(s), "#", `\x23`) }

// warn reports private files in a served directory.
func (d *servedDir) warn(i *Instance, found []string) {
	if len(found) == 0 {
		return
	}
	what := strings.Join(unique(found), ", ")
	rule := "clients get 403 for it"
	if d.code {
		rule = "clients get 403 for these and for all Python files there"
	}
	i.Warn("option " + d.option.Flag() + ": " + d.path + " contains " + what + "; " + rule +
		", but can read everything else; move the files for clients to a separate directory")
}

// FindServed determines the directories that httpd serves files from, and the files
// in them that are not served. It warns if one contains the application or files of
// the server.
func (i *Instance) FindServed() error {
	i.served = []*servedDir{{path: i.Docs, option: DocumentRoot, origins: i.docsOrigins()}}
	var single []string // files with their own URL
	for _, a := range URLAlias.In(i) {
		target := i.fromLaunch(a[1])
		if info, err := os.Stat(target); err == nil && !info.IsDir() {
			single = append(single, target)
		} else if !slices.ContainsFunc(i.served, func(d *servedDir) bool { return d.path == target }) {
			i.served = append(i.served, &servedDir{path: target, option: URLAlias, origins: []conf.Origin{URLAlias}})
		}
	}
	secrets := i.privateFiles()
	for _, d := range i.served {
		if rel, _ := inside(d.path, i.Root); rel == "." {
			return fault.New(fault.Usage, "choose another directory with --server-root", "option %s: %s is the server root, whose files clients must not read", d.option, d.path)
		}
		var found []string
		for _, s := range secrets {
			if d.hide(s) {
				found = append(found, s.what)
			}
		}
		d.warn(i, found)
		d.except(i, single)
	}
	for _, file := range single {
		if what := i.secretFile(file); what != "" {
			i.Warn("option --url-alias: " + file + " is " + what + ", which is never served to clients")
		}
	}
	return nil
}

// privateFiles are what clients must not read: code first, then directories, the
// outermost one first, then other files.
func (i *Instance) privateFiles() []privateFile {
	list := all(i, func(f *feature) func(*Instance) []privateFile { return f.private })
	rank := func(f privateFile) int {
		switch {
		case f.code:
			return 0
		case f.dir:
			return 1 + len(f.path)
		}
		return math.MaxInt
	}
	sort.SliceStable(list, func(i, j int) bool { return rank(list[i]) < rank(list[j]) })
	return slices.DeleteFunc(list, func(f privateFile) bool { return f.path == "" })
}

// unique returns a list without duplicates.
func unique(list []string) (short []string) {
	for _, s := range list {
		if !slices.Contains(short, s) {
			short = append(short, s)
		}
	}
	return short
}
