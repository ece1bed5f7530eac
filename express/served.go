package express

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"modwsgi/express/conf"
	"modwsgi/express/config"
	"modwsgi/express/host"
	"modwsgi/express/option"
	"modwsgi/internal/fault"
)

// What httpd sends as files, and what it must never send: the application's own
// sources, and the files of the server, where these are below a directory that
// clients can read.
//
// A file has many URLs: another spelling, an alias, a path behind it. So the rule
// is about the path that httpd has mapped a request to, not about its URL. It is an
// <If> section, because httpd applies these last: a Require of a <Location>, which
// --auth-user-script needs, replaces those of <Directory> and <Files>, and a rule
// of mod_rewrite ends where one of the user's ends the rewriting.

// servedDir is a directory whose files httpd sends.
type servedDir struct {
	path    string
	option  option.Ref
	origins []conf.Origin
	code    bool     // Python code of the application is in it
	files   []string // base names of files that are not sent
	logs    []string // the same for log files, which may have a suffix
	dirs    []string // relative paths of directories that are not sent
	open    []string // relative paths that have rules of their own
}

// privateFile is a file or directory that clients must not read.
type privateFile struct {
	what, path     string
	code, dir, log bool // neither of the last two: a file
}

// code are the places of the application's Python code.
func (i *instance) code() []privateFile {
	var list []privateFile
	add := func(what, path string) {
		if path != "" {
			list = append(list, privateFile{what: what, path: i.fromLaunch(path), code: true})
		}
	}
	if config.ApplicationType.In(i) != "module" {
		add("the application", i.entry)
	}
	add("the script of --host-access-script", config.HostAccessScript.In(i))
	add("the script of --auth-user-script", config.AuthUserScript.In(i))
	add("the script of --auth-group-script", config.AuthGroupScript.In(i))
	for _, v := range config.ServiceScript.In(i) {
		add("the service "+v[0], v[1])
	}
	for _, v := range config.AddHandler.In(i) {
		add("the script of --add-handler "+v[0], v[1])
	}
	return list
}

// imports are the directories that the application imports modules from.
func (i *instance) imports() []privateFile {
	if config.ApplicationType.In(i) == "static" {
		return nil
	}
	list := []privateFile{{what: "the working directory of the application", path: i.work, code: true}}
	for _, d := range config.PythonPath.In(i) {
		list = append(list, privateFile{what: "the module path of the application", path: i.fromLaunch(d), code: true})
	}
	return list
}

// serverFiles are those of the server itself.
func (i *instance) serverFiles() []privateFile {
	cert, key := i.certificate()
	list := []privateFile{
		{what: "the server root", path: i.root, dir: true},
		{what: "the Python environment", path: i.in.Home, dir: true},
		{what: "the private key", path: key},
		{what: "the certificate", path: cert},
		{what: "the pid file", path: i.pidFile},
		{what: "the error log", path: filepath.Join(i.logs, config.ErrorLogName.In(i)), log: true},
	}
	for _, v := range []named{
		{config.RewriteRules, config.RewriteRules.In(i)},
		{config.EnvvarsScript, config.EnvvarsScript.In(i)},
		{config.SSLCACertificateFile, config.SSLCACertificateFile.In(i)},
		{config.SSLCertificateChainFile, config.SSLCertificateChainFile.In(i)},
	} {
		if v.path != "" {
			list = append(list, privateFile{what: "the file of " + v.option.Flag(), path: i.fromLaunch(v.path)})
		}
	}
	for _, v := range config.IncludeFile.In(i) {
		found, _ := filepath.Glob(i.fromLaunch(v))
		for _, path := range append(found, i.fromLaunch(v)) {
			info, err := os.Stat(path)
			list = append(list, privateFile{what: "the file of --include-file", path: path, dir: err == nil && info.IsDir()})
		}
	}
	if config.AccessLog.In(i) {
		list = append(list, privateFile{what: "the access log", path: filepath.Join(i.logs, config.AccessLogName.In(i)), log: true})
	}
	if config.StartupLog.In(i) {
		list = append(list, privateFile{what: "the startup log", path: filepath.Join(i.logs, config.StartupLogName.In(i)), log: true})
	}
	for _, v := range config.ServiceLogFile.In(i) {
		list = append(list, privateFile{what: "the log of the service " + v[0], path: filepath.Join(i.logs, v[1]), log: true})
	}
	for _, d := range []string{i.eggs, i.coverageDir, i.profilerDir, i.recorderDir} {
		if d != "" {
			list = append(list, privateFile{what: "a directory of the server", path: d, dir: true})
		}
	}
	return list
}

// inside returns the path of a file or directory relative to a directory that it is
// in, also where one of both is named through a symbolic link or, on a file system
// that allows it, in another case. It returns "." for the directory itself.
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

// findServed determines which directories httpd sends files from, and what is not
// sent from them. It warns where one holds the application or files of the server.
func (p *Program) findServed(i *instance) error {
	i.served = []*servedDir{{path: i.docs, option: config.DocumentRoot, origins: i.docsOrigins()}}
	var single []string // files with a URL of their own
	for _, a := range config.URLAlias.In(i) {
		target := i.fromLaunch(a[1])
		if info, err := os.Stat(target); err == nil && !info.IsDir() {
			single = append(single, target)
		} else if !slices.ContainsFunc(i.served, func(d *servedDir) bool { return d.path == target }) {
			i.served = append(i.served, &servedDir{path: target, option: config.URLAlias, origins: []conf.Origin{config.URLAlias}})
		}
	}
	secrets := slices.Concat(i.code(), i.imports(), i.serverFiles())
	for _, d := range i.served {
		if rel, _ := inside(d.path, i.root); rel == "." {
			return fault.New(fault.Usage, "choose another directory with --server-root", "option %s: %s is the server root, whose files clients must not read", d.option, d.path)
		}
		var found []string
		for _, s := range secrets {
			if d.hide(s) {
				found = append(found, s.what)
			}
		}
		d.warn(p, found)
		d.except(i, single)
	}
	for _, file := range single {
		if what := i.secretFile(file); what != "" {
			p.warn("option --url-alias: " + file + " is " + what + ", which is never sent to clients")
		}
	}
	return nil
}

// except leaves what options name inside a directory to rules of its own.
func (d *servedDir) except(i *instance, single []string) {
	var inner []string
	for _, other := range i.served {
		inner = append(inner, other.path, i.unlinked(other.path))
	}
	if i.manual() {
		inner = append(inner, i.manualDir())
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

// hide adds what is private to the rules of a directory that holds it.
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

func isDirectory(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.IsDir()
}

// warn reports a directory in which more is than clients should read.
func (d *servedDir) warn(p *Program, found []string) {
	if len(found) == 0 {
		return
	}
	what := strings.Join(slices.Compact(found), ", ")
	rule := "clients get 403 for it"
	if d.code {
		rule = "clients get 403 for these and for all Python files there"
	}
	p.warn("option " + d.option.Flag() + ": " + d.path + " holds " + what + "; " + rule +
		", but can read everything else; put the files for clients into a directory of their own")
}

// secretFile tells what a file with a URL of its own is where it must not be sent
// nevertheless, or "".
func (i *instance) secretFile(path string) string {
	info, err := os.Stat(path)
	if err != nil {
		return ""
	}
	for _, s := range slices.Concat(i.code(), i.serverFiles()) {
		if other, err := os.Stat(s.path); err == nil && !s.dir && os.SameFile(info, other) {
			return s.what
		}
	}
	_, inRoot := inside(i.root, path)
	_, inDocs := inside(i.docs, path) // SERVER_ROOT/htdocs
	if inRoot && !inDocs {
		return "in the server root"
	}
	return ""
}

// Parts of the regular expressions for what is not sent.
const (
	anywhere = `(?:.*/)?`
	// Names that start with a dot are version control's, editors' and httpd's own. RFC
	// 8615's directory is the exception.
	dotted = anywhere + `\.(?!well-known(?:/|$)).*`
	// Sources and what Python makes of them, also as copies that editors and people
	// leave behind: settings.py~, #settings.py#, settings.py.bak.
	python = anywhere + `(?:[^/]*\.(?:py[a-z0-9]?|pxd|wsgi)(?:[^a-z0-9/][^/]*)?|__pycache__(?:/.*)?)`
)

// rules are the sections that keep clients from what is private.
func (d *servedDir) rules(handlers [][2]string) []conf.Node {
	rules := []conf.Node{d.refuse(dotted)}
	if d.code {
		var executed []string
		for _, h := range handlers {
			executed = append(executed, extension(h[0]))
		}
		pattern := python
		if len(executed) > 0 {
			pattern = "(?!.*" + alternatives(executed) + "$)" + python
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
				plain = append(plain, n) // what belongs to "app" is not app.js
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

// privateRules are the rules of a served directory, for the path by which httpd
// knows it.
func (i *instance) privateRules(named, path string) []conf.Node {
	for _, d := range i.served {
		if d.path == named {
			at := *d
			at.path = path
			return at.rules(config.AddHandler.In(i))
		}
	}
	return nil
}

// refuse is the section that answers 403 for files and directories that are there
// and whose path below the directory matches.
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

// literal is a text for a regular expression between number signs.
func literal(s string) string { return strings.ReplaceAll(regexp.QuoteMeta(s), "#", `\x23`) }

// links are the options of a directory that files are sent from. Without
// FollowSymLinks httpd looks at each part of a path below the directory, and refuses
// one that is a symbolic link; the directory itself may be one.
func (b *builder) links() []conf.Node {
	options := conf.D("Options", conf.Key("-FollowSymLinks")).From(config.FollowSymlinks)
	switch strings.ToLower(config.FollowSymlinks.In(b.i)) {
	case "all":
		return nil
	case "owner":
		options.Args = append(options.Args, conf.Key("+SymLinksIfOwnerMatch"))
	}
	return []conf.Node{options}
}

// rewriting lets mod_rewrite work in directories in which symbolic links are not
// followed. It refuses to where neither option is set at the end, when the sections
// for URLs have been applied; the links are looked at before that, by the options
// of the directories alone.
func (b *builder) rewriting() {
	if strings.EqualFold(config.FollowSymlinks.In(b.i), "none") {
		b.add(conf.S("Location", args(word("/")), conf.D("Options", conf.Key("+FollowSymLinks"))).From(config.FollowSymlinks))
	}
}

// unlinked returns the path of a served directory or file without symbolic links
// where it is reached through one in another served directory: the option names it,
// and httpd would not follow that link.
func (i *instance) unlinked(path string) string {
	for _, d := range i.served {
		rel, err := filepath.Rel(d.path, path)
		if err != nil || rel == "." || rel == ".." || strings.HasPrefix(rel, ".."+string(filepath.Separator)) {
			continue
		}
		real, err1 := filepath.EvalSymlinks(path)
		outer, err2 := filepath.EvalSymlinks(d.path)
		if err1 == nil && err2 == nil && real != filepath.Join(outer, rel) {
			return real
		}
	}
	return path
}
