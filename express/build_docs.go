package express

import (
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"modwsgi/express/conf"
	"modwsgi/express/host"
)

// logPaths tells where the logs are, as people find them; with rotation, the
// names that rotatelogs makes.
func (i *instance) logPaths() {
	path := func(name string, rotated bool) string {
		p := filepath.Join(i.logs, name)
		if rotated && i.RotateLogs {
			p += ".YYYY-mm-dd-HH_MM_SS"
		}
		return p
	}
	i.errorLog, i.accessLog, i.startLog = path(i.ErrorLogName, true), path(i.AccessLogName, true), path(i.StartupLogName, false)
	if i.LogToTerminal {
		i.errorLog, i.accessLog, i.startLog = "/dev/stderr", "/dev/stdout", "/dev/stderr"
	}
}

// logTarget is the argument of ErrorLog and CustomLog: a file, a stream of our
// own, or the command line of a piped log.
func (b *builder) logTarget(name, stream string, option *Option) conf.Word {
	i := b.i
	if i.LogToTerminal {
		if opens("/dev/" + stream) {
			return word("/dev/" + stream)
		}
		// A socket, or another user's terminal: it cannot be opened by name, but
		// a child of httpd inherits it.
		return b.pipe(option, i.launcher, "copy-log", stream)
	}
	return b.fileTarget(name, option)
}

// logOrigins are the options that a log's target comes from.
func (i *instance) logOrigins(own ...conf.Origin) []conf.Origin {
	return slices.Concat(own, []conf.Origin{optLogToTerminal, optRotateLogs, optMaxLogSize, optRotatelogsExecutable}, i.unless(optLogDirectory, i.rootOrigins()...))
}

// fileTarget is logTarget for what never goes to the terminal.
func (b *builder) fileTarget(name string, option *Option) conf.Word {
	i := b.i
	if i.RotateLogs {
		// rotatelogs takes its name as a pattern of strftime.
		pattern := strings.ReplaceAll(filepath.Join(i.logs, name), "%", "%%") + ".%Y-%m-%d-%H_%M_%S"
		return b.pipe(option, i.rotatelogs, pattern, strconv.Itoa(i.MaxLogSize)+"M")
	}
	return word(filepath.Join(i.logs, name))
}

// opens reports whether a stream can be opened by name.
func opens(name string) bool {
	f, err := os.OpenFile(name, os.O_WRONLY|os.O_APPEND, 0)
	if err != nil {
		return false
	}
	return f.Close() == nil
}

func (b *builder) pipe(option *Option, argv ...string) conf.Word {
	words := make([]string, len(argv))
	for k, a := range argv {
		var err error
		if words[k], err = conf.PipeWord(a); err != nil {
			b.err = usage("start-server", "", "option %s: %w", option, err)
		}
	}
	return word("|" + strings.Join(words, " "))
}

func (b *builder) logging() {
	i := b.i
	b.add(conf.D("ErrorLog", b.logTarget(i.ErrorLogName, "stderr", optErrorLogName)).From(i.logOrigins(optErrorLogName)...))
	level := conf.D("LogLevel").From(optLogLevel)
	for _, w := range strings.Fields(i.LogLevel) {
		level.Args = append(level.Args, word(w))
	}
	b.add(level)
	if i.ErrorLogFormat != "" {
		b.add(conf.D("ErrorLogFormat", word(i.ErrorLogFormat)).From(optErrorLogFormat))
	}
	if !i.AccessLog {
		return
	}
	format := i.AccessLogFormat
	switch format {
	case "common":
		format = `%h %l %u %t "%r" %>s %b`
	case "combined":
		format = `%h %l %u %t "%r" %>s %b "%{Referer}i" "%{User-agent}i"`
	}
	b.add(conf.D("CustomLog", b.logTarget(i.AccessLogName, "stdout", optAccessLogName), word(format)).From(i.logOrigins(optAccessLogFormat, optAccessLog, optAccessLogName)...))
}

// documents adds the document root and the rule that gives the application what
// is not a file there.
func (b *builder) documents() {
	i := b.i
	docs := i.unlinked(i.docs)
	b.add(conf.D("DocumentRoot", word(docs)).From(i.docsOrigins()...), conf.D("AccessFileName", conf.Key(".htaccess")))
	body := append([]conf.Node{b.override()}, b.links()...)
	if i.DirectoryIndex != "" {
		d := conf.D("DirectoryIndex").From(optDirectoryIndex)
		for _, name := range strings.Fields(i.DirectoryIndex) {
			d.Args = append(d.Args, word(name))
		}
		body = append(body, d)
	}
	if i.DirectoryListing {
		body = append(body, conf.D("Options", conf.Key("+Indexes")).From(optDirectoryListing),
			conf.D("IndexIgnore", conf.Key(".??*")).From(optDirectoryListing))
	}
	if i.WithCGI {
		body = append(body, conf.D("Options", conf.Key("+ExecCGI")).From(optWithCGI),
			conf.D("AddHandler", conf.Key("cgi-script"), conf.Key(".cgi")).From(optWithCGI))
	}
	body = append(body, conf.D("RewriteEngine", conf.Key("On")), conf.D("RewriteOptions", conf.Key("InheritDownBefore")))
	if i.RewriteRules != "" {
		body = append(body, conf.D("Include", conf.GlobEach(host.Slashed(i.rewriteRules()))).From(optRewriteRules))
	}
	if i.ApplicationType != "static" {
		body = append(body, b.fallback()...)
	}
	body = append(body, conf.D("Require", conf.Key("all"), conf.Key("granted")))
	body = append(body, i.privateRules(i.docs, docs)...)
	b.add(conf.S("Directory", args(conf.Glob(host.Slashed(docs))), body...).From(i.docsOrigins()...))
	b.rewriting()
}

func (i *instance) rewriteRules() string {
	if filepath.IsAbs(i.RewriteRules) {
		return i.RewriteRules
	}
	return filepath.Join(i.launchDir, i.RewriteRules)
}

func (b *builder) override() conf.Node {
	d := conf.D("AllowOverride").From(optAllowOverride)
	for _, w := range b.i.AllowOverride {
		d.Args = append(d.Args, word(w))
	}
	if len(d.Args) == 0 {
		d.Args = args(conf.Key("None"))
	}
	return d
}

// fallback gives the application every path below its mount point that is not
// a file of the document root.
func (b *builder) fallback() []conf.Node {
	i := b.i
	uri := conf.Key("%{REQUEST_URI}")
	var rules []conf.Node
	if i.mount != "/" {
		// As for a directory, the mount point itself is asked for with a slash.
		rules = append(rules,
			conf.D("RewriteCond", uri, "^"+conf.Regexp(i.mount)+"$").From(optMountPoint),
			conf.D("RewriteRule", conf.Key("^"), conf.Key("%{REQUEST_URI}/"), conf.Key("[R=301,L]")).From(optMountPoint))
	}
	file := conf.Key("%{REQUEST_FILENAME}")
	rules = append(rules, conf.D("RewriteCond", file, conf.Key("!-f")))
	if i.DirectoryIndex != "" {
		rules = append(rules, conf.D("RewriteCond", file, conf.Key("!-d")).From(optDirectoryIndex))
	}
	if i.ServerStatus {
		rules = append(rules, conf.D("RewriteCond", uri, conf.Key("!=/server-status")).From(optServerStatus))
	}
	if i.mount != "/" {
		rules = append(rules, conf.D("RewriteCond", uri, "^"+conf.Regexp(i.mount)+"/").From(optMountPoint))
	}
	return append(rules, conf.D("RewriteRule", conf.Key("^"), conf.Key("-"), conf.Key("[H=wsgi-handler]")))
}

// access adds what decides who may come in.
func (b *builder) access() {
	i := b.i
	root := args(word("/"))
	if i.HostAccessScript != "" {
		b.add(conf.S("Location", root, conf.D("WSGIAccessScript", word(i.fromLaunch(i.HostAccessScript)))).From(optHostAccessScript))
	}
	if i.AuthUserScript == "" {
		return
	}
	kind := titled(i.AuthType)
	body := []conf.Node{
		conf.D("AuthType", conf.Key(kind)).From(i.unless(optAuthType, optAuthUserScript)...),
		conf.D("AuthName", word(groupName(i.Host, i.Port))).From(optAuthUserScript, optHost, optPort),
		conf.D("Auth"+kind+"Provider", conf.Key("wsgi")).From(optAuthUserScript, optAuthType),
		conf.D("WSGIAuthUserScript", word(i.fromLaunch(i.AuthUserScript))).From(optAuthUserScript),
	}
	require := []conf.Node{conf.D("Require", conf.Key("valid-user"))}
	if i.AuthGroupScript != "" {
		body = append(body, conf.D("WSGIAuthGroupScript", word(i.fromLaunch(i.AuthGroupScript))).From(optAuthGroupScript))
		require = append(require, conf.D("Require", conf.Key("wsgi-group"), word(i.AuthGroup)).From(optAuthGroupScript, optAuthGroup))
	}
	body = append(body, conf.S("RequireAll", nil, require...))
	b.add(conf.S("Location", root, body...).From(optAuthUserScript, optAuthGroupScript))
}

// status adds the page with the state of httpd. It comes after the access rules of
// the whole server, for of several sections that fit the last one counts.
func (b *builder) status() {
	if b.i.ServerStatus {
		b.add(conf.S("Location", args(word("/server-status")), conf.D("SetHandler", conf.Key("server-status"))).From(optServerStatus), b.statusAccess())
	}
}

// aliases adds files and directories outside of the document root, the longest
// URL first, for httpd takes the first that fits.
func (b *builder) aliases() {
	i := b.i
	list := slices.Clone(i.URLAliases)
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
		b.add(conf.D("Alias", word(slash(a[0])), word(shown)).From(optURLAlias))
		if file {
			access := conf.Key("granted")
			if i.secretFile(target) != "" {
				access = "denied"
			}
			b.add(conf.S("Directory", args(conf.Glob(host.Slashed(filepath.Dir(target)))),
				conf.S("Files", args(conf.Glob(filepath.Base(target))), conf.D("Require", conf.Key("all"), access))).From(optURLAlias))
			continue
		}
		if err != nil {
			b.add(missing(target))
		}
		body := append([]conf.Node{b.override()}, b.links()...)
		body = append(body, conf.D("RewriteEngine", conf.Key("On")), conf.D("Require", conf.Key("all"), conf.Key("granted")))
		body = append(body, i.privateRules(named, target)...)
		b.add(conf.S("Directory", args(conf.Glob(host.Slashed(target))), body...).From(optURLAlias))
	}
	for _, e := range i.ErrorDocuments {
		document := e[1]
		if strings.HasPrefix(document, "/") {
			// A URL path, which httpd would take for a text if it held a blank.
			document = strings.ReplaceAll(document, " ", "%20")
		}
		b.add(conf.D("ErrorDocument", word(e[0]), word(literalText(document))).From(optErrorDocument))
	}
}

// missing lets clients learn that what an alias names is not there: httpd applies the
// sections of directories to what there is, so below a missing one it refuses what it
// cannot find. The pattern is that of the first part of the path that is missing,
// which is all that httpd knows of it; when it has been made, the alias's own section
// holds for what is in it.
func missing(path string) conf.Node {
	var parts []string
	for up := path; !exists(up) && filepath.Dir(up) != up; up = filepath.Dir(up) {
		parts = append(parts, regexpText(strings.TrimSuffix(host.Slashed(up), "/")))
	}
	return conf.S("DirectoryMatch", args(conf.Word("^(?:"+strings.Join(parts, "|")+")/?$")), conf.D("Require", conf.Key("all"), conf.Key("granted"))).From(optURLAlias)
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

// fromLaunch makes a path of the command line absolute.
func (i *instance) fromLaunch(path string) string {
	if !filepath.IsAbs(path) {
		path = filepath.Join(i.launchDir, path)
	}
	return filepath.Clean(path)
}
