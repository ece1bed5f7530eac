package express

import (
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"modwsgi/express/conf"
	"modwsgi/express/config"
	"modwsgi/express/option"
)

// proxies passes paths and host names on to other servers.
func (b *builder) proxies() {
	i := b.i
	if len(config.ProxyMountPoint.In(i))+len(config.ProxyVirtualHost.In(i)) == 0 {
		return
	}
	if i.Given(config.ProxyTimeout) {
		b.add(conf.D("ProxyTimeout", integer(config.ProxyTimeout.In(i))).From(config.ProxyTimeout))
	}
	if tls := i.proxiedTLS(); len(tls) > 0 {
		b.add(conf.D("SSLProxyEngine", conf.Key("On")).From(tls...))
	}
	var locations []conf.Node // the other way round: of those that fit, the last one counts
	list := slices.Clone(config.ProxyMountPoint.In(i))
	slices.SortStableFunc(list, func(x, y [2]string) int { return strings.Compare(slash(y[0]), slash(x[0])) })
	for _, m := range list {
		path, url := slash(m[0]), m[1]
		if !strings.HasSuffix(path, "/") {
			// Without a scheme in the target httpd takes the request's own.
			target := strings.NewReplacer(`\`, `\\`, "$", `\$`).Replace(path)
			// In a section, where it follows after the question who may come in.
			exactly := conf.Word("^" + regexpText(path) + "$")
			b.add(conf.S("LocationMatch", args(exactly), conf.D("RedirectMatch", conf.Key("302"), exactly, conf.Word(target+"/"))).From(config.ProxyMountPoint))
			path, url = path+"/", strings.TrimRight(url, "/")+"/"
		} else if _, server, _ := strings.Cut(url, "://"); !strings.Contains(server, "/") {
			url += "/" // or the client's path would become part of the server's name
		}
		location := location(path, b.forwarded()...).From(config.ProxyMountPoint)
		if prefix := strings.TrimSuffix(path, "/"); prefix != "" {
			location.Body = append(location.Body, conf.D("RequestHeader", conf.Key("set"), conf.Key("X-Forwarded-Prefix"), word(headerText(prefix))))
		}
		b.add(pass(path, url, config.ProxyMountPoint)...)
		locations = append(locations, location)
	}
	slices.Reverse(locations)
	b.add(locations...)
}

// forwarded tells the server behind us how the client reached us. A scheme that
// a proxy in front of us has said is passed on, unless we speak TLS ourselves.
func (b *builder) forwarded() []conf.Node {
	set := func(name, value string, when ...conf.Arg) conf.Node {
		return conf.D("RequestHeader", append(args(conf.Key("set"), conf.Key(name), word(value)), when...)...)
	}
	http, https := strconv.Itoa(config.Port.In(b.i)), strconv.Itoa(config.HTTPSPort.In(b.i))
	if !b.i.Given(config.HTTPSPort) {
		return []conf.Node{set("X-Forwarded-Port", http)}
	}
	encrypted := word("expr=%{HTTPS} == 'on'")
	return []conf.Node{
		set("X-Forwarded-Port", http, word("expr=%{HTTPS} != 'on'")), set("X-Forwarded-Port", https, encrypted), set("X-Forwarded-Scheme", "https", encrypted),
	}
}

// headerText is a text for mod_headers as it stands: there %X is replaced, and
// \n is a line break. A text that starts with expr= would be an expression in any
// case; no option lets one through.
func headerText(s string) string { return strings.NewReplacer(`\`, `\\`, "%", "%%").Replace(s) }

// location is the section for what lies at and below a URL path. <Location> takes
// a path for a pattern of the whole URL where it looks like one; what is below it
// would not be protected then.
func location(url string, body ...conf.Node) *conf.Section {
	url = slash(url)
	if !strings.ContainsAny(url, "*?[") {
		return conf.S("Location", args(conf.Word(url)), body...)
	}
	below := "(/|$)"
	if strings.HasSuffix(url, "/") {
		below = ""
	}
	return conf.S("LocationMatch", args(conf.Word("^"+regexpText(url)+below)), body...)
}

// regexpText is a literal for the regular expressions of directives that are
// split in httpd's own way.
func regexpText(s string) string { return string(conf.Regexp(s)) }

func pass(path, url string, option option.Ref) []conf.Node {
	return []conf.Node{
		conf.D("ProxyPass", word(path), word(url), conf.Key("upgrade=websocket")).From(option),
		conf.D("ProxyPassReverse", word(path), word(url)).From(option),
	}
}

// serviceScripts are the scripts that run in processes of their own.
func (i *instance) serviceScripts() [][2]string {
	scripts := slices.Clone(config.ServiceScript.In(i))
	if config.EnableTelemetry.In(i) {
		scripts = append(scripts, [2]string{telemetryService, filepath.Join(i.root, telemetryFile)})
	}
	return scripts
}

// services adds the scripts without a log of their own; the others are in virtual
// hosts.
func (b *builder) services() {
	for _, s := range b.i.serviceScripts() {
		if lastOf(config.ServiceLogFile.In(b.i), s[0]) == "" {
			b.add(b.service(s)...)
		}
	}
}

// service has httpd start the process of a script.
func (b *builder) service(s [2]string) []conf.Node {
	i := b.i
	name, group := s[0], "service:"+s[0]
	var by conf.Origin = config.ServiceScript
	if name == telemetryService && config.EnableTelemetry.In(i) {
		by = config.EnableTelemetry
	}
	d := conf.D("WSGIDaemonProcess", word(group), conf.Pair{Name: "display-name", Value: "%{GROUP}"}).From(append([]conf.Origin{
		by, config.ServiceUser, config.ServiceGroup, config.WorkingDirectory,
		config.PythonPath, config.Locale, config.Lang, config.ServerMetrics,
	}, i.eggsOrigins()...)...)
	pair := func(name, value string) {
		if value != "" {
			d.Args = append(d.Args, conf.Pair{Name: name, Value: value})
		}
	}
	pair("user", lastOf(config.ServiceUser.In(i), name))
	pair("group", lastOf(config.ServiceGroup.In(i), name))
	pair("home", i.work)
	pair("threads", "0")
	pair("python-path", strings.Join(b.pythonPath(), ":"))
	pair("python-eggs", i.eggs)
	pair("lang", i.locale)
	pair("locale", i.locale)
	if config.ServerMetrics.In(i) {
		pair("server-metrics", "On")
	}
	return []conf.Node{d, conf.D("WSGIImportScript", word(i.serviceRunner()), conf.Pair{Name: "process-group", Value: group},
		conf.Pair{Name: "application-group", Value: "%{GLOBAL}"}).From(by)}
}

// serviceRunner is the script that runs those of services: not in the server root,
// which the user of a service may not be let into.
func (i *instance) serviceRunner() string {
	return filepath.Join(i.in.Packages, "mod_wsgi", "express", "service.py")
}

// servicesDir is where it keeps how often they have ended.
func (i *instance) servicesDir() string { return filepath.Join(i.root, "services") }

// lastOf returns the last value that was given for a name, or "".
func lastOf(list [][2]string, name string) string {
	for _, p := range slices.Backward(list) {
		if p[0] == name {
			return p[1]
		}
	}
	return ""
}

// serviceConflicts reports names of services that cannot be, and options for
// services that are not there.
func serviceConflicts(s *Server) error {
	known := map[string]bool{}
	for _, v := range config.ServiceScript.In(s) {
		switch {
		case !levelWords.MatchString(strings.ReplaceAll(v[0], "-", "_")) || strings.Contains(v[0], ":"):
			return usage("start-server", "letters, digits, dots, dashes and underscores", "option --service-script: %q is not a name for a service", v[0])
		case known[v[0]]:
			return usage("start-server", "", "option --service-script: there are two services %q", v[0])
		}
		known[v[0]] = true
	}
	for _, given := range []struct {
		option option.Ref
		list   [][2]string
	}{{config.ServiceUser, config.ServiceUser.In(s)}, {config.ServiceGroup, config.ServiceGroup.In(s)}, {config.ServiceLogFile, config.ServiceLogFile.In(s)}} {
		for _, v := range given.list {
			if !known[v[0]] {
				return usage("start-server", "", "option %s: there is no service %q (see --service-script)", given.option, v[0])
			}
		}
	}
	for _, v := range config.ServiceLogFile.In(s) {
		if v[1] == "" || strings.HasPrefix(v[1], "|") || filepath.Base(v[1]) != v[1] {
			return usage("start-server", "it lies in the log directory", "option --service-log-file: %q is not the name of a file", v[1])
		}
	}
	return nil
}
