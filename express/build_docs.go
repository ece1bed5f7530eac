package express

import (
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"modwsgi/express/conf"
	"modwsgi/express/config"
	"modwsgi/express/host"
	"modwsgi/express/option"
)

// logPaths tells where the logs are, as people find them; with rotation, the
// names that rotatelogs makes.
func (i *instance) logPaths() {
	path := func(name string, rotated bool) string {
		p := filepath.Join(i.logs, name)
		if rotated && config.RotateLogs.In(i) {
			p += ".YYYY-mm-dd-HH_MM_SS"
		}
		return p
	}
	i.errorLog, i.accessLog, i.startLog = path(config.ErrorLogName.In(i), true), path(config.AccessLogName.In(i), true), path(config.StartupLogName.In(i), false)
	if config.LogToTerminal.In(i) {
		i.errorLog, i.accessLog, i.startLog = "/dev/stderr", "/dev/stdout", "/dev/stderr"
	}
}

// logTarget is the argument of ErrorLog and CustomLog: a file, a stream of our
// own, or the command line of a piped log.
func (b *builder) logTarget(name, stream string, option option.Ref) conf.Word {
	i := b.i
	if config.LogToTerminal.In(i) {
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
	return slices.Concat(own, []conf.Origin{config.LogToTerminal, config.RotateLogs, config.MaxLogSize, config.RotatelogsExecutable}, i.unless(config.LogDirectory, i.rootOrigins()...))
}

// fileTarget is logTarget for what never goes to the terminal.
func (b *builder) fileTarget(name string, option option.Ref) conf.Word {
	i := b.i
	if config.RotateLogs.In(i) {
		// rotatelogs takes its name as a pattern of strftime.
		pattern := strings.ReplaceAll(filepath.Join(i.logs, name), "%", "%%") + ".%Y-%m-%d-%H_%M_%S"
		return b.pipe(option, i.rotatelogs, pattern, strconv.Itoa(config.MaxLogSize.In(i))+"M")
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

func (b *builder) pipe(option option.Ref, argv ...string) conf.Word {
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
	b.add(conf.D("ErrorLog", b.logTarget(config.ErrorLogName.In(i), "stderr", config.ErrorLogName)).From(i.logOrigins(config.ErrorLogName)...))
	level := conf.D("LogLevel").From(config.LogLevel)
	for _, w := range strings.Fields(config.LogLevel.In(i)) {
		level.Args = append(level.Args, word(w))
	}
	b.add(level)
	if config.ErrorLogFormat.In(i) != "" {
		b.add(conf.D("ErrorLogFormat", word(config.ErrorLogFormat.In(i))).From(config.ErrorLogFormat))
	}
	if !config.AccessLog.In(i) {
		return
	}
	format := config.AccessLogFormat.In(i)
	switch format {
	case "common":
		format = `%h %l %u %t "%r" %>s %b`
	case "combined":
		format = `%h %l %u %t "%r" %>s %b "%{Referer}i" "%{User-agent}i"`
	}
	b.add(conf.D("CustomLog", b.logTarget(config.AccessLogName.In(i), "stdout", config.AccessLogName), word(format)).From(i.logOrigins(config.AccessLogFormat, config.AccessLog, config.AccessLogName)...))
}

// documents adds the document root and the rule that gives the application what
// is not a file there.
func (b *builder) documents() {
	i := b.i
	docs := i.unlinked(i.docs)
	b.add(conf.D("DocumentRoot", word(docs)).From(i.docsOrigins()...), conf.D("AccessFileName", conf.Key(".htaccess")))
	body := append([]conf.Node{b.override()}, b.links()...)
	if config.DirectoryIndex.In(i) != "" {
		d := conf.D("DirectoryIndex").From(config.DirectoryIndex)
		for _, name := range strings.Fields(config.DirectoryIndex.In(i)) {
			d.Args = append(d.Args, word(name))
		}
		body = append(body, d)
	}
	if config.DirectoryListing.In(i) {
		body = append(body, conf.D("Options", conf.Key("+Indexes")).From(config.DirectoryListing),
			conf.D("IndexIgnore", conf.Key(".??*")).From(config.DirectoryListing))
	}
	if config.WithCGI.In(i) {
		body = append(body, conf.D("Options", conf.Key("+ExecCGI")).From(config.WithCGI),
			conf.D("AddHandler", conf.Key("cgi-script"), conf.Key(".cgi")).From(config.WithCGI))
	}
	body = append(body, conf.D("RewriteEngine", conf.Key("On")), conf.D("RewriteOptions", conf.Key("InheritDownBefore")))
	if config.RewriteRules.In(i) != "" {
		body = append(body, conf.D("Include", conf.GlobEach(host.Slashed(i.rewriteRules()))).From(config.RewriteRules))
	}
	if config.ApplicationType.In(i) != "static" {
		body = append(body, b.fallback()...)
	}
	body = append(body, conf.D("Require", conf.Key("all"), conf.Key("granted")))
	body = append(body, i.privateRules(i.docs, docs)...)
	b.add(conf.S("Directory", args(conf.Glob(host.Slashed(docs))), body...).From(i.docsOrigins()...))
	b.rewriting()
}

func (i *instance) rewriteRules() string {
	if filepath.IsAbs(config.RewriteRules.In(i)) {
		return config.RewriteRules.In(i)
	}
	return filepath.Join(i.launchDir, config.RewriteRules.In(i))
}

func (b *builder) override() conf.Node {
	d := conf.D("AllowOverride").From(config.AllowOverride)
	for _, w := range config.AllowOverride.In(b.i) {
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
			conf.D("RewriteCond", uri, "^"+conf.Regexp(i.mount)+"$").From(config.MountPoint),
			conf.D("RewriteRule", conf.Key("^"), conf.Key("%{REQUEST_URI}/"), conf.Key("[R=301,L]")).From(config.MountPoint))
	}
	file := conf.Key("%{REQUEST_FILENAME}")
	rules = append(rules, conf.D("RewriteCond", file, conf.Key("!-f")))
	if config.DirectoryIndex.In(i) != "" {
		rules = append(rules, conf.D("RewriteCond", file, conf.Key("!-d")).From(config.DirectoryIndex))
	}
	if config.ServerStatus.In(i) {
		rules = append(rules, conf.D("RewriteCond", uri, conf.Key("!=/server-status")).From(config.ServerStatus))
	}
	if i.mount != "/" {
		rules = append(rules, conf.D("RewriteCond", uri, "^"+conf.Regexp(i.mount)+"/").From(config.MountPoint))
	}
	return append(rules, conf.D("RewriteRule", conf.Key("^"), conf.Key("-"), conf.Key("[H=wsgi-handler]")))
}

// access adds what decides who may come in.
func (b *builder) access() {
	i := b.i
	root := args(word("/"))
	if config.HostAccessScript.In(i) != "" {
		b.add(conf.S("Location", root, conf.D("WSGIAccessScript", word(i.fromLaunch(config.HostAccessScript.In(i))))).From(config.HostAccessScript))
	}
	if config.AuthUserScript.In(i) == "" {
		return
	}
	kind := titled(config.AuthType.In(i))
	body := []conf.Node{
		conf.D("AuthType", conf.Key(kind)).From(i.unless(config.AuthType, config.AuthUserScript)...),
		conf.D("AuthName", word(groupName(config.Host.In(i), config.Port.In(i)))).From(config.AuthUserScript, config.Host, config.Port),
		conf.D("Auth"+kind+"Provider", conf.Key("wsgi")).From(config.AuthUserScript, config.AuthType),
		conf.D("WSGIAuthUserScript", word(i.fromLaunch(config.AuthUserScript.In(i)))).From(config.AuthUserScript),
	}
	require := []conf.Node{conf.D("Require", conf.Key("valid-user"))}
	if config.AuthGroupScript.In(i) != "" {
		body = append(body, conf.D("WSGIAuthGroupScript", word(i.fromLaunch(config.AuthGroupScript.In(i)))).From(config.AuthGroupScript))
		require = append(require, conf.D("Require", conf.Key("wsgi-group"), word(config.AuthGroup.In(i))).From(config.AuthGroupScript, config.AuthGroup))
	}
	body = append(body, conf.S("RequireAll", nil, require...))
	b.add(conf.S("Location", root, body...).From(config.AuthUserScript, config.AuthGroupScript))
}

// status adds the page with the state of httpd. It comes after the access rules of
// the whole server, for of several sections that fit the last one counts.
func (b *builder) status() {
	if config.ServerStatus.In(b.i) {
		b.add(conf.S("Location", args(word("/server-status")), conf.D("SetHandler", conf.Key("server-status"))).From(config.ServerStatus), b.statusAccess())
	}
}

// aliases adds files and directories outside of the document root, the longest
// URL first, for httpd takes the first that fits.
func (b *builder) aliases() {
	i := b.i
	list := slices.Clone(config.URLAlias.In(i))
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
		b.add(conf.D("Alias", word(slash(a[0])), word(shown)).From(config.URLAlias))
		if file {
			access := conf.Key("granted")
			if i.secretFile(target) != "" {
				access = "denied"
			}
			b.add(conf.S("Directory", args(conf.Glob(host.Slashed(filepath.Dir(target)))),
				conf.S("Files", args(conf.Glob(filepath.Base(target))), conf.D("Require", conf.Key("all"), access))).From(config.URLAlias))
			continue
		}
		if err != nil {
			b.add(missing(target))
		}
		body := append([]conf.Node{b.override()}, b.links()...)
		body = append(body, conf.D("RewriteEngine", conf.Key("On")), conf.D("Require", conf.Key("all"), conf.Key("granted")))
		body = append(body, i.privateRules(named, target)...)
		b.add(conf.S("Directory", args(conf.Glob(host.Slashed(target))), body...).From(config.URLAlias))
	}
	for _, e := range config.ErrorDocument.In(i) {
		document := e[1]
		if strings.HasPrefix(document, "/") {
			// A URL path, which httpd would take for a text if it held a blank.
			document = strings.ReplaceAll(document, " ", "%20")
		}
		b.add(conf.D("ErrorDocument", word(e[0]), word(literalText(document))).From(config.ErrorDocument))
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
	return conf.S("DirectoryMatch", args(conf.Word("^(?:"+strings.Join(parts, "|")+")/?$")), conf.D("Require", conf.Key("all"), conf.Key("granted"))).From(config.URLAlias)
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
