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
	DocumentRoot = option.Text("document-root", "", "DIRECTORY", "Directory whose files are served at /; other requests go to the application.").
			DefaultText("SERVER_ROOT/htdocs")
	FollowSymlinks = option.Text("follow-symlinks", "none", "WHICH", "Which symbolic links to follow in the document root and in directories of --url-alias: none, owner (if link and target have the same owner) or all.").
			Among(true, "none", "owner", "all").With(own)
	DirectoryIndex   = option.Text("directory-index", "", "NAMES", "Index files of directories, such as index.html.")
	DirectoryListing = option.Toggle("directory-listing", "List directories without an index file.")
	AllowOverride    = option.Texts("allow-override", "CLASS", "Class of directives allowed in .htaccess files.").
				Check(oneWord).DefaultText("None")
	URLAlias      = option.Pairs("url-alias", "URL-PATH PATH", "Serve a file or directory at a URL.")
	ErrorDocument = option.Pairs("error-document", "STATUS DOCUMENT", "What to send instead of httpd's error page for a status.").
			MayBeEmpty()
	ErrorOverride = option.Toggle("error-override", "Replace the application's error responses with error documents too.")
	MIMETypes     = option.Text("mime-types", "", "FILE", "Table of media types by file name extension.").
			DefaultText("system mime.types")
	RewriteRules = option.Text("rewrite-rules", "", "FILE", "File with mod_rewrite rules for the document root.").
			DefaultText("SERVER_ROOT/rewrite.conf")
	AddHandler = option.Pairs("add-handler", "EXTENSION SCRIPT", "Python script that handles files with this extension.")
	WithCGI    = option.Toggle("with-cgi", "Run .cgi files in the document root as CGI scripts.")
	EnableDocs = option.Toggle("enable-docs", "Serve the launcher's manual at /__wsgi__/docs; enabled automatically with the welcome page.")
)

// documents is the static files, and the handlers for them.
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
				return option.Usage("", "option --error-document: %q is not an error status", e[0])
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

// docsOrigins returns the options that determine the document root.
func (i *Instance) docsOrigins() []conf.Origin {
	return i.unless(DocumentRoot, append([]conf.Origin{ApplicationType}, i.rootOrigins()...)...)
}

// documents adds the document root and the rule that passes requests for anything
// else to the application.
func (w *writer) documents() {
	i := w.i
	docs := i.unlinked(i.Docs)
	w.add(conf.D("DocumentRoot", word(docs)).From(i.docsOrigins()...), conf.D("AccessFileName", conf.Key(".htaccess")))
	body := append([]conf.Node{w.override()}, w.links()...)
	body = append(body, w.transfer(docs)...)
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

// RewriteRules returns the file with the mod_rewrite rules.
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

// fallback passes every path at or below the mount point that is not a file in the
// document root to the application.
func (w *writer) fallback() []conf.Node {
	i := w.i
	uri := conf.Key("%{REQUEST_URI}")
	var rules []conf.Node
	if i.Mount != "/" {
		// Redirect the mount point itself to its URL with a slash, as for a directory.
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

// aliases adds files and directories outside of the document root. The longest URL
// comes first, because httpd uses the first one that matches.
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
			// httpd appends the rest of the URL directly to the path.
			shown = keepSlash(target, "/")
		}
		w.add(conf.D("Alias", word(slash(a[0])), word(shown)).From(URLAlias))
		if file {
			access := conf.Key("granted")
			if i.secretFile(target) != "" {
				access = "denied"
			}
			body := append(w.transfer(filepath.Dir(target)), conf.D("Require", conf.Key("all"), access))
			w.add(conf.S("Directory", args(conf.Glob(host.Slashed(filepath.Dir(target)))),
				conf.S("Files", args(conf.Glob(filepath.Base(target))), body...)).From(URLAlias))
			continue
		}
		if err != nil {
			w.add(missing(target))
		}
		body := append([]conf.Node{w.override()}, w.links()...)
		body = append(body, w.transfer(target)...)
		body = append(body, conf.D("RewriteEngine", conf.Key("On")), conf.D("Require", conf.Key("all"), conf.Key("granted")))
		body = append(body, i.privateRules(named, target)...)
		w.add(conf.S("Directory", args(conf.Glob(host.Slashed(target))), body...).From(URLAlias))
	}
}

// transfer has the kernel send the files of a directory of this machine.
func (w *writer) transfer(dir string) []conf.Node {
	// Symbolic links may lead to other file systems.
	if w.i.LocalFiles == nil || FollowSymlinks.In(w.i) != "none" || EnableSendfile.In(w.i) || !w.i.LocalFiles(dir) {
		return nil
	}
	return []conf.Node{conf.D("EnableSendfile", conf.Key("On"))}
}

// errorDocuments adds the replacements of httpd's error pages.
func (w *writer) errorDocuments() {
	for _, e := range ErrorDocument.In(w.i) {
		document := e[1]
		if strings.HasPrefix(document, "/") {
			// A URL path, which httpd would treat as a text if it contained a space.
			document = strings.ReplaceAll(document, " ", "%20")
		}
		w.add(conf.D("ErrorDocument", word(e[0]), word(literalText(document))).From(ErrorDocument))
	}
}

// missing makes httpd answer 404 rather than 403 while the target of an alias does
// not exist: httpd applies <Directory> sections to existing directories only, so it
// would refuse requests below a missing one. The pattern matches the first missing
// component of the path, which is as far as httpd resolves it. Once the target exists,
// the alias's own section applies to its contents.
func missing(path string) conf.Node {
	var parts []string
	for up := path; !Exists(up) && filepath.Dir(up) != up; up = filepath.Dir(up) {
		parts = append(parts, regexpText(strings.TrimSuffix(host.Slashed(up), "/")))
	}
	return conf.S("DirectoryMatch", args(conf.Word("^(?:"+strings.Join(parts, "|")+")/?$")), conf.D("Require", conf.Key("all"), conf.Key("granted"))).From(URLAlias)
}

// literalText escapes a text for a directive that evaluates it as a string in httpd's
// expression syntax (https://httpd.apache.org/docs/2.4/expr.html). There, %{NAME} is a
// variable. It remains one, because users rely on it. Backslashes and references such
// as $1 are escaped so that they are literal. Users can write a literal %{ as \%{.
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

// keepSlash returns the cleaned path with the trailing slash of the original, if any.
func keepSlash(path, original string) string {
	if strings.HasSuffix(original, "/") && !strings.HasSuffix(path, "/") {
		return path + "/"
	}
	return path
}

// cgiModule returns the module that runs CGI scripts.
func (i *Instance) cgiModule() string {
	if i.MPM == "prefork" && Exists(i.moduleFile("cgi")) {
		return "cgi"
	}
	return "cgid" // works with every MPM
}

// ResourceFile is the script in the server root that implements --add-handler.
const ResourceFile = "resource.wsgi"

// extension normalizes an extension of --add-handler: with a dot, in lower case.
func extension(v string) string {
	v = strings.ToLower(v)
	if !strings.HasPrefix(v, ".") {
		v = "." + v
	}
	return v
}

// resources passes files with an extension of --add-handler to a Python script.
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
		// AddHandler would also apply to files with additional extensions.
		w.add(conf.S("FilesMatch", args(word("(?i)"+regexpText(e)+"$")), conf.D("SetHandler", conf.Key("wsgi-resource"))).From(AddHandler))
	}
}

// HandlerScripts maps extensions to scripts. The last of several scripts for an
// extension is used.
func (i *Instance) HandlerScripts() map[string]string {
	m := map[string]string{}
	for _, h := range AddHandler.In(i) {
		m[extension(h[0])] = i.fromLaunch(h[1])
	}
	return m
}

// docsURL is the URL path of the manual.
const docsURL = "/__wsgi__/docs"

// Manual reports whether the manual is served: with --enable-docs, and together with
// the welcome page.
func (i *Instance) Manual() bool {
	return EnableDocs.In(i) || i.Entry == "" && ApplicationType.In(i) != "static"
}

// ManualDir returns the directory of the manual.
func (i *Instance) ManualDir() string { return filepath.Join(i.Root, "docs") }

func (w *writer) docs() {
	if !w.i.Manual() {
		return
	}
	w.add(conf.D("Alias", word(docsURL), word(w.i.ManualDir())).From(EnableDocs),
		conf.S("Directory", args(conf.Glob(host.Slashed(w.i.ManualDir()))), conf.D("DirectoryIndex", conf.Key("index.html")),
			conf.D("Require", conf.Key("all"), conf.Key("granted"))).From(EnableDocs))
}

// links returns the Options of a directory that files are served from. Without
// FollowSymLinks, httpd checks each component of a path below the directory and refuses
// symbolic links. The directory itself may be one.
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
// followed. mod_rewrite requires FollowSymLinks or SymLinksIfOwnerMatch after the
// sections for URLs have been merged. Links are checked earlier, with the options of
// the directories alone, so setting it for a URL does not weaken that check.
func (w *writer) rewriting() {
	if strings.EqualFold(FollowSymlinks.In(w.i), "none") {
		w.add(conf.S("Location", args(word("/")), conf.D("Options", conf.Key("+FollowSymLinks"))).From(FollowSymlinks))
	}
}

// unlinked returns the path of a served directory or file with symbolic links resolved
// if it is reached through a link in another served directory. The option names the
// path explicitly, and httpd would not follow that link.
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
		// One level is created, as upstream does. The level above must exist.
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
