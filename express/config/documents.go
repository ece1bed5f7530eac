package config

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"modwsgi/express/conf"
	"modwsgi/express/host"
	"modwsgi/express/option"
	"modwsgi/internal/fault"
)

var (
	DocumentRoot = option.Text("document-root", "", "DIRECTORY", "Files here are served at /, before the application is asked.").
			DefaultText("SERVER_ROOT/htdocs")
	FollowSymlinks = option.Text("follow-symlinks", "none", "WHICH", "Symbolic links in the document root and in directories of --url-alias that are followed: none, owner (link and target have the same owner) or all.").
			Among(true, "none", "owner", "all").With(own)
	DirectoryIndex   = option.Text("directory-index", "", "NAMES", "Files that stand for their directory, such as index.html.")
	DirectoryListing = option.Toggle("directory-listing", "List directories that have no index file.")
	AllowOverride    = option.Texts("allow-override", "CLASS", "Kind of directives that .htaccess files may hold.").
				Check(oneWord).DefaultText("None")
	URLAlias      = option.Pairs("url-alias", "URL-PATH PATH", "Serve a file or directory at a URL.")
	ErrorDocument = option.Pairs("error-document", "STATUS DOCUMENT", "What to send instead of httpd's own error page.").
			MayBeEmpty()
	ErrorOverride = option.Toggle("error-override", "Error documents replace the application's own error responses too.")
	MIMETypes     = option.Text("mime-types", "", "FILE", "Table of media types by file name.").
			DefaultText("system mime.types")
	RewriteRules = option.Text("rewrite-rules", "", "FILE", "mod_rewrite rules for the document root.").
			DefaultText("SERVER_ROOT/rewrite.conf")
	AddHandler = option.Pairs("add-handler", "EXTENSION SCRIPT", "Python script that answers for files with an extension.")
	WithCGI    = option.Toggle("with-cgi", "Run .cgi files of the document root.")
	EnableDocs = option.Toggle("enable-docs", "Serve the launcher's manual below /__wsgi__/docs; on by itself for the welcome page.")
)

// documents is which files are served, and what answers for them.
var documents = feature{
	options: option.NewGroup("Files",
		DocumentRoot, FollowSymlinks, DirectoryIndex, DirectoryListing, AllowOverride, URLAlias, ErrorDocument, ErrorOverride,
		MIMETypes, RewriteRules, AddHandler, WithCGI, EnableDocs,
	),
	conflicts: func(s *Server) error {
		for _, h := range AddHandler.In(s) {
			if e := extension(h[0]); e == "." || strings.ContainsAny(e, `/"\`) {
				return option.Usage("", "option --add-handler: %q is not an extension such as .ext", h[0])
			}
		}
		for _, e := range ErrorDocument.In(s) {
			if n, err := strconv.Atoi(e[0]); err != nil || n < 400 || n > 599 {
				return option.Usage("", "option --error-document: %q is not the status of an error", e[0])
			}
		}
		return nil
	},
	useless: func(s *Server) []useless {
		return []useless{{!s.Daemon(), "in " + s.mode() + " mode", by(ErrorOverride)}}
	},
	files: func(i *Instance) []named {
		list := []named{{RewriteRules, RewriteRules.In(i)}}
		if MIMETypes.In(i) != os.DevNull {
			list = append(list, named{MIMETypes, MIMETypes.In(i)})
		}
		for _, v := range AddHandler.In(i) {
			list = append(list, named{AddHandler, v[1]})
		}
		return list
	},
	reads: func(i *Instance) (list []Need) {
		if Exists(i.Docs) && (DocumentRoot.In(i) != "" || ApplicationType.In(i) == "static") {
			list = append(list, Need{i.Docs, "the document root (--document-root)", false})
		}
		for _, h := range AddHandler.In(i) {
			list = append(list, Need{i.fromLaunch(h[1]), "the handler script for " + h[0], true})
		}
		return list
	},
	private: func(i *Instance) (list []privateFile) {
		for _, v := range AddHandler.In(i) {
			list = append(list, privateFile{what: "the script of --add-handler " + v[0], path: i.fromLaunch(v[1]), code: true})
		}
		return append(list, i.filesOf(RewriteRules)...)
	},
	carries: func(i *Instance) (list []carriedValue) {
		for _, h := range AddHandler.In(i) {
			list = append(list, carriedValue{h[0], "", AddHandler}, carriedValue{i.fromLaunch(h[1]), "", AddHandler})
		}
		return list
	},
	defines: func(i *Instance) []define {
		return []define{
			{DirectoryIndex.In(i) != "", "MOD_WSGI_DIRECTORY_INDEX"},
			{DirectoryListing.In(i), "MOD_WSGI_DIRECTORY_LISTING"},
			{ErrorOverride.In(i), "MOD_WSGI_ERROR_OVERRIDE"},
			{WithCGI.In(i) && i.cgiModule() == "cgid", "MOD_WSGI_CGID_SCRIPT"},
			{WithCGI.In(i) && i.cgiModule() == "cgi", "MOD_WSGI_CGI_SCRIPT"},
		}
	},
	modules: map[load]func(*Instance) []module{
		loadListing: func(i *Instance) []module {
			return needs(DirectoryListing.In(i), by(DirectoryListing), "autoindex")
		},
		loadCGI: func(i *Instance) []module { return needs(WithCGI.In(i), by(WithCGI), i.cgiModule()) },
	},
	writes: map[slot]func(*writer){
		slotTypes:     (*writer).types,
		slotDocuments: (*writer).documents,
		slotOverride: func(w *writer) {
			if ErrorOverride.In(w.i) {
				w.add(conf.D("WSGIErrorOverride", conf.Key("On")).From(ErrorOverride))
			}
		},
		slotResources: (*writer).resources,
		slotManual:    (*writer).docs,
		slotAliases:   (*writer).aliases,
		slotErrors:    (*writer).errorDocuments,
	},
}

func (w *writer) types() {
	if w.i.MIME == "" {
		w.add(conf.D("TypesConfig", conf.Key(os.DevNull)))
		return
	}
	w.add(conf.D("TypesConfig", word(w.i.MIME)).From(MIMETypes))
}

// docsOrigins are those that the document root comes from.
func (i *Instance) docsOrigins() []conf.Origin {
	return i.unless(DocumentRoot, append([]conf.Origin{ApplicationType}, i.rootOrigins()...)...)
}

// documents adds the document root and the rule that gives the application what
// is not a file there.
func (w *writer) documents() {
	i := w.i
	docs := i.unlinked(i.Docs)
	w.add(conf.D("DocumentRoot", word(docs)).From(i.docsOrigins()...), conf.D("AccessFileName", conf.Key(".htaccess")))
	body := append([]conf.Node{w.override()}, w.links()...)
	if DirectoryIndex.In(i) != "" {
		d := conf.D("DirectoryIndex").From(DirectoryIndex)
		for _, name := range strings.Fields(DirectoryIndex.In(i)) {
			d.Args = append(d.Args, word(name))
		}
		body = append(body, d)
	}
	if DirectoryListing.In(i) {
		body = append(body, conf.D("Options", conf.Key("+Indexes")).From(DirectoryListing),
			conf.D("IndexIgnore", conf.Key(".??*")).From(DirectoryListing))
	}
	if WithCGI.In(i) {
		body = append(body, conf.D("Options", conf.Key("+ExecCGI")).From(WithCGI),
			conf.D("AddHandler", conf.Key("cgi-script"), conf.Key(".cgi")).From(WithCGI))
	}
	body = append(body, conf.D("RewriteEngine", conf.Key("On")), conf.D("RewriteOptions", conf.Key("InheritDownBefore")))
	if RewriteRules.In(i) != "" {
		body = append(body, conf.D("Include", conf.GlobEach(host.Slashed(i.RewriteRules()))).From(RewriteRules))
	}
	if ApplicationType.In(i) != "static" {
		body = append(body, w.fallback()...)
	}
	body = append(body, conf.D("Require", conf.Key("all"), conf.Key("granted")))
	body = append(body, i.privateRules(i.Docs, docs)...)
	w.add(conf.S("Directory", args(conf.Glob(host.Slashed(docs))), body...).From(i.docsOrigins()...))
	w.rewriting()
}

// RewriteRules is the file of --rewrite-rules.
func (i *Instance) RewriteRules() string {
	if filepath.IsAbs(RewriteRules.In(i)) {
		return RewriteRules.In(i)
	}
	return filepath.Join(i.LaunchDir, RewriteRules.In(i))
}

func (w *writer) override() conf.Node {
	d := conf.D("AllowOverride").From(AllowOverride)
	for _, w := range AllowOverride.In(w.i) {
		d.Args = append(d.Args, word(w))
	}
	if len(d.Args) == 0 {
		d.Args = args(conf.Key("None"))
	}
	return d
}

// fallback gives the application every path below its mount point that is not
// a file of the document root.
func (w *writer) fallback() []conf.Node {
	i := w.i
	uri := conf.Key("%{REQUEST_URI}")
	var rules []conf.Node
	if i.Mount != "/" {
		// As for a directory, the mount point itself is asked for with a slash.
		rules = append(rules,
			conf.D("RewriteCond", uri, "^"+conf.Regexp(i.Mount)+"$").From(MountPoint),
			conf.D("RewriteRule", conf.Key("^"), conf.Key("%{REQUEST_URI}/"), conf.Key("[R=301,L]")).From(MountPoint))
	}
	file := conf.Key("%{REQUEST_FILENAME}")
	rules = append(rules, conf.D("RewriteCond", file, conf.Key("!-f")))
	if DirectoryIndex.In(i) != "" {
		rules = append(rules, conf.D("RewriteCond", file, conf.Key("!-d")).From(DirectoryIndex))
	}
	if ServerStatus.In(i) {
		rules = append(rules, conf.D("RewriteCond", uri, conf.Key("!=/server-status")).From(ServerStatus))
	}
	if i.Mount != "/" {
		rules = append(rules, conf.D("RewriteCond", uri, "^"+conf.Regexp(i.Mount)+"/").From(MountPoint))
	}
	return append(rules, conf.D("RewriteRule", conf.Key("^"), conf.Key("-"), conf.Key("[H=wsgi-handler]")))
}

// aliases adds files and directories outside of the document root, the longest
// URL first, for httpd takes the first that fits.
func (w *writer) aliases() {
	i := w.i
	list := slices.Clone(URLAlias.In(i))
	slices.SortStableFunc(list, func(x, y [2]string) int { return strings.Compare(slash(y[0]), slash(x[0])) })
	for _, a := range list {
		named := i.fromLaunch(a[1])
		target := i.unlinked(named)
		info, err := os.Stat(target)
		file, shown := err == nil && !info.IsDir(), keepSlash(target, a[1])
		if !file && strings.HasSuffix(a[0], "/") {
			// httpd puts what follows the URL directly behind the path.
			shown = keepSlash(target, "/")
		}
		w.add(conf.D("Alias", word(slash(a[0])), word(shown)).From(URLAlias))
		if file {
			access := conf.Key("granted")
			if i.secretFile(target) != "" {
				access = "denied"
			}
			w.add(conf.S("Directory", args(conf.Glob(host.Slashed(filepath.Dir(target)))),
				conf.S("Files", args(conf.Glob(filepath.Base(target))), conf.D("Require", conf.Key("all"), access))).From(URLAlias))
			continue
		}
		if err != nil {
			w.add(missing(target))
		}
		body := append([]conf.Node{w.override()}, w.links()...)
		body = append(body, conf.D("RewriteEngine", conf.Key("On")), conf.D("Require", conf.Key("all"), conf.Key("granted")))
		body = append(body, i.privateRules(named, target)...)
		w.add(conf.S("Directory", args(conf.Glob(host.Slashed(target))), body...).From(URLAlias))
	}
}

// errorDocuments adds what is sent instead of httpd's error pages.
func (w *writer) errorDocuments() {
	for _, e := range ErrorDocument.In(w.i) {
		document := e[1]
		if strings.HasPrefix(document, "/") {
			// A URL path, which httpd would take for a text if it held a blank.
			document = strings.ReplaceAll(document, " ", "%20")
		}
		w.add(conf.D("ErrorDocument", word(e[0]), word(literalText(document))).From(ErrorDocument))
	}
}

// missing lets clients learn that what an alias names is not there: httpd applies the
// sections of directories to what there is, so below a missing one it refuses what it
// cannot find. The pattern is that of the first part of the path that is missing,
// which is all that httpd knows of it; when it has been made, the alias's own section
// holds for what is in it.
func missing(path string) conf.Node {
	var parts []string
	for up := path; !Exists(up) && filepath.Dir(up) != up; up = filepath.Dir(up) {
		parts = append(parts, regexpText(strings.TrimSuffix(host.Slashed(up), "/")))
	}
	return conf.S("DirectoryMatch", args(conf.Word("^(?:"+strings.Join(parts, "|")+")/?$")), conf.D("Require", conf.Key("all"), conf.Key("granted"))).From(URLAlias)
}

// literalText is a text for a directive that takes it as a string of httpd's
// expressions (https://httpd.apache.org/docs/2.4/expr.html): there %{NAME} is a
// variable, which is what people use it for, and stays one; a backslash escapes,
// and $1 is a match that there is none of. Those two are to stand for themselves;
// \%{ is how a %{ is written.
func literalText(s string) string {
	var b strings.Builder
	for k := 0; k < len(s); k++ {
		rest := s[k+1:]
		digit := rest != "" && rest[0] >= '0' && rest[0] <= '9'
		if s[k] == '\\' && !strings.HasPrefix(rest, "%{") || s[k] == '$' && digit {
			b.WriteByte('\\')
		}
		b.WriteByte(s[k])
	}
	return b.String()
}

func slash(url string) string {
	if strings.HasPrefix(url, "/") {
		return url
	}
	return "/" + url
}

// keepSlash gives the cleaned path the final slash that the original had.
func keepSlash(path, original string) string {
	if strings.HasSuffix(original, "/") && !strings.HasSuffix(path, "/") {
		return path + "/"
	}
	return path
}

// cgiModule is the module that runs CGI scripts.
func (i *Instance) cgiModule() string {
	if i.MPM == "prefork" && Exists(i.moduleFile("cgi")) {
		return "cgi"
	}
	return "cgid" // works with every MPM
}

// ResourceFile is the glue for --add-handler.
const ResourceFile = "resource.wsgi"

// extension is how --add-handler's extensions are compared: with a dot, in lower
// case.
func extension(v string) string {
	v = strings.ToLower(v)
	if !strings.HasPrefix(v, ".") {
		v = "." + v
	}
	return v
}

// resources gives files with an extension of their own to a Python script.
func (w *writer) resources() {
	i := w.i
	if len(AddHandler.In(i)) == 0 {
		return
	}
	process := i.Group
	if !i.Daemon() {
		process = "%{GLOBAL}"
	}
	d := conf.D("WSGIHandlerScript", conf.Key("wsgi-resource"), word(filepath.Join(i.Root, ResourceFile))).From(AddHandler)
	if host.DaemonMode {
		d.Args = append(d.Args, conf.Pair{Name: "process-group", Value: process})
	}
	d.Args = append(d.Args, conf.Pair{Name: "application-group", Value: "%{GLOBAL}"})
	w.add(d)
	seen := map[string]bool{}
	for _, h := range AddHandler.In(i) {
		e := extension(h[0])
		if seen[e] {
			continue
		}
		seen[e] = true
		// AddHandler would take files with a further extension too.
		w.add(conf.S("FilesMatch", args(word("(?i)"+regexpText(e)+"$")), conf.D("SetHandler", conf.Key("wsgi-resource"))).From(AddHandler))
	}
}

// HandlerScripts maps extensions to scripts; the last one of several counts.
func (i *Instance) HandlerScripts() map[string]string {
	m := map[string]string{}
	for _, h := range AddHandler.In(i) {
		m[extension(h[0])] = i.fromLaunch(h[1])
	}
	return m
}

// docsURL is where the manual is served.
const docsURL = "/__wsgi__/docs"

// Manual reports whether the manual is served: on request, and together with the
// welcome page.
func (i *Instance) Manual() bool {
	return EnableDocs.In(i) || i.Entry == "" && ApplicationType.In(i) != "static"
}

// ManualDir is the directory of the manual.
func (i *Instance) ManualDir() string { return filepath.Join(i.Root, "docs") }

func (w *writer) docs() {
	if !w.i.Manual() {
		return
	}
	w.add(conf.D("Alias", word(docsURL), word(w.i.ManualDir())).From(EnableDocs),
		conf.S("Directory", args(conf.Glob(host.Slashed(w.i.ManualDir()))), conf.D("DirectoryIndex", conf.Key("index.html")),
			conf.D("Require", conf.Key("all"), conf.Key("granted"))).From(EnableDocs))
}

// links are the options of a directory that files are sent from. Without
// FollowSymLinks httpd looks at each part of a path below the directory, and refuses
// one that is a symbolic link; the directory itself may be one.
func (w *writer) links() []conf.Node {
	options := conf.D("Options", conf.Key("-FollowSymLinks")).From(FollowSymlinks)
	switch strings.ToLower(FollowSymlinks.In(w.i)) {
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
func (w *writer) rewriting() {
	if strings.EqualFold(FollowSymlinks.In(w.i), "none") {
		w.add(conf.S("Location", args(word("/")), conf.D("Options", conf.Key("+FollowSymLinks"))).From(FollowSymlinks))
	}
}

// unlinked returns the path of a served directory or file without symbolic links
// where it is reached through one in another served directory: the option names it,
// and httpd would not follow that link.
func (i *Instance) unlinked(path string) string {
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

func (i *Instance) checkDocumentRoot() error {
	info, err := os.Stat(i.Docs)
	if errors.Is(err, fs.ErrNotExist) && DocumentRoot.In(i) != "" {
		// One level is made, as upstream does; the level above must be there.
		return WantDirectory(DocumentRoot, filepath.Dir(i.Docs))
	}
	if err == nil && !info.IsDir() {
		err = fmt.Errorf("%s is not a directory", i.Docs)
	}
	if err != nil {
		return fault.New(fault.Usage, "", "the document root: %w", err)
	}
	return nil
}
