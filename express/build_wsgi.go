package express

import (
	"net/netip"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"modwsgi/express/conf"
	"modwsgi/express/config"
	"modwsgi/express/host"
	"modwsgi/express/option"
	"modwsgi/express/site"
)

// python adds what concerns the module as a whole.
func (b *builder) python() {
	i := b.i
	if config.VerboseDebugging.In(i) && !site.AtLeastVersion(i.ModuleVersion, "6.0.0") {
		b.add(conf.D("WSGIVerboseDebugging", conf.Key("On")).From(config.VerboseDebugging))
	}
	if host.DaemonMode {
		b.add(conf.D("WSGISocketPrefix", word(filepath.Join(i.socketDir, "wsgi"))).From(i.unless(config.SocketPrefix, i.rootOrigins()...)...))
	}
	if b.knows("WSGISocketRotation") && host.DaemonMode {
		b.add(conf.D("WSGISocketRotation", conf.Key("Off")))
	}
	if config.OrphanInterpreter.In(i) {
		b.add(conf.D("WSGIDestroyInterpreter", conf.Key("Off")).From(config.OrphanInterpreter))
	}
	b.add(
		conf.D("WSGICallableObject", word(config.CallableObject.In(i))).From(config.CallableObject),
		conf.D("WSGIPassAuthorization", conf.Key("On")),
		conf.D("WSGIMapHEADToGET", conf.Key(titled(config.MapHEADToGET.In(i)))).From(config.MapHEADToGET),
	)
	if config.DisableReloading.In(i) || config.EmbeddedMode.In(i) {
		b.add(conf.D("WSGIScriptReloading", conf.Key("Off")).From(config.DisableReloading, config.EmbeddedMode))
	}
	for _, w := range config.PythonWarnings.In(i) {
		b.add(conf.D("WSGIPythonWarnings", word(w)).From(config.PythonWarnings))
	}
	if i.Given(config.SwitchInterval) {
		b.add(conf.D("WSGISwitchInterval", word(decimal(config.SwitchInterval.In(i)))).From(config.SwitchInterval))
	}
	if config.FreeThreading.In(i) {
		b.add(conf.D("WSGIFreeThreading", conf.Key("On")).From(config.FreeThreading))
	}
}

// hasProcessGroups reports whether the module can run processes of its own.
func (b *builder) hasProcessGroups() bool { return host.DaemonMode }

func titled(s string) string { return strings.ToUpper(s[:1]) + strings.ToLower(s[1:]) }

func decimal(f float64) string { return strconv.FormatFloat(f, 'f', -1, 64) }

// daemonProcess adds the group of processes that run the application.
func (b *builder) daemonProcess() {
	i := b.i
	if !i.daemon() {
		return
	}
	if dir := badPathEntry(config.PythonPath.In(i)); dir != "" {
		b.err = usage("start-server", "make a symbolic link without one", "option --python-path: the directory %q holds a colon, which is what separates directories there", dir)
		return
	}
	b.add(conf.D("WSGIRestrictEmbedded", onOff(config.HostAccessScript.In(i) == "" && config.AuthUserScript.In(i) == "")).From(config.HostAccessScript, config.AuthUserScript))
	d := conf.D("WSGIDaemonProcess", word(i.group), conf.Pair{Name: "display-name", Value: "%{GROUP}"}).From(slices.Concat(i.groupOrigins(), i.eggsOrigins(), []conf.Origin{config.WorkingDirectory, config.Processes, config.Threads, config.PythonPath, config.Locale, config.Lang, config.ServerMetrics, config.SwitchInterval})...)
	pair := func(name, value string) { d.Args = append(d.Args, conf.Pair{Name: name, Value: value}) }
	pair("home", i.work)
	if i.Given(config.Processes) {
		pair("processes", strconv.Itoa(max(config.Processes.In(i), 1)))
	}
	pair("threads", strconv.Itoa(config.Threads.In(i)))
	if len(config.PythonPath.In(i)) > 0 {
		pair("python-path", strings.Join(b.pythonPath(), ":"))
	}
	pair("python-eggs", i.eggs)
	pair("lang", i.locale)
	pair("locale", i.locale)
	for _, o := range config.Table().Options() {
		parameter := config.Daemon.Of(o)
		since := site.DaemonSince[parameter]
		if parameter != "" && (since == "" || site.AtLeastVersion(i.ModuleVersion, since)) {
			pair(parameter, strconv.Itoa(option.Handle[int]{Option: o}.In(i)))
			d.Origins = append(d.Origins, o)
		}
	}
	if config.ServerMetrics.In(i) {
		pair("server-metrics", "On")
	}
	if i.Given(config.SwitchInterval) {
		pair("switch-interval", decimal(config.SwitchInterval.In(i)))
	}
	b.add(d)
}

func (b *builder) pythonPath() []string {
	var dirs []string
	for _, d := range config.PythonPath.In(b.i) {
		if !filepath.IsAbs(d) {
			d = filepath.Join(b.i.launchDir, d)
		}
		dirs = append(dirs, d)
	}
	return dirs
}

func badPathEntry(dirs []string) string {
	for _, d := range dirs {
		if strings.Contains(d, ":") {
			return d
		}
	}
	return ""
}

// embedded adds what embedded and debug mode have instead of a group.
func (b *builder) embedded() {
	i := b.i
	if i.daemon() {
		return
	}
	dirs := append([]string{i.work}, b.pythonPath()...)
	if dir := badPathEntry(dirs); dir != "" && filepath.ListSeparator == ':' {
		b.err = usage("start-server", "", "the directory %q holds a colon, which separates the directories of the module path", dir)
		return
	}
	b.add(conf.D("WSGIPythonPath", word(strings.Join(dirs, string(filepath.ListSeparator)))).From(orMode(config.PythonPath, config.WorkingDirectory)...))
	if config.DebugMode.In(i) {
		b.add(conf.D("WSGIRestrictStdin", conf.Key("Off")).From(debugOrigins...))
	}
}

func (b *builder) features() {
	i := b.i
	if config.ServerMetrics.In(i) || config.ServerStatus.In(i) {
		b.add(conf.D("ExtendedStatus", conf.Key("On")).From(config.ServerStatus, config.ServerMetrics))
	}
	if config.ServerMetrics.In(i) {
		b.add(conf.D("WSGIServerMetrics", conf.Key("On")).From(config.ServerMetrics))
	}
	if config.EnableSendfile.In(i) {
		b.add(conf.D("EnableSendfile", conf.Key("On")).From(config.EnableSendfile))
		if host.DaemonMode {
			b.add(conf.D("WSGIEnableSendfile", conf.Key("On")).From(config.EnableSendfile))
		}
	}
	if config.CompressResponses.In(i) {
		d := conf.D("AddOutputFilterByType", conf.Key("DEFLATE")).From(config.CompressResponses)
		for _, t := range []string{
			"text/plain", "text/html", "text/xml", "text/css", "text/javascript",
			"application/xhtml+xml", "application/javascript", "application/json",
		} {
			d.Args = append(d.Args, conf.Key(t))
		}
		b.add(d)
	}
	if config.ChunkedRequest.In(i) {
		b.add(conf.D("WSGIChunkedRequest", conf.Key("On")).From(config.ChunkedRequest))
	}
	for _, h := range config.TrustProxyHeader.In(i) {
		b.add(conf.D("WSGITrustedProxyHeaders", word(h)).From(config.TrustProxyHeader))
	}
	for _, a := range config.TrustProxy.In(i) {
		for _, network := range trusted(a) {
			b.add(conf.D("WSGITrustedProxies", word(network)).From(config.TrustProxy))
		}
	}
	if config.ErrorOverride.In(i) {
		b.add(conf.D("WSGIErrorOverride", conf.Key("On")).From(config.ErrorOverride))
	}
}

// trusted returns an address or a network as the module reads it: in lower case, and
// where it is every address, in two halves, for a mask of no bits is refused.
func trusted(v string) []string {
	switch prefix, err := netip.ParsePrefix(v); {
	case err == nil && prefix.Bits() == 0 && prefix.Addr().Is4():
		return []string{"0.0.0.0/1", "128.0.0.0/1"}
	case err == nil && prefix.Bits() == 0:
		return []string{"::/1", "8000::/1"}
	case err == nil:
		return []string{prefix.String()}
	}
	if address, err := netip.ParseAddr(v); err == nil {
		return []string{address.String()}
	}
	return []string{v}
}

// dynamic tells an application group that each request chooses: nothing can be
// loaded for it in advance.
func dynamic(group string) bool { return strings.Contains(group, "%{") && group != "%{GLOBAL}" }

// handler registers the glue, and loads it when a process starts.
func (b *builder) handler() {
	i := b.i
	script := filepath.Join(i.root, handlerFile)
	process := i.group
	if !i.daemon() {
		process = "%{GLOBAL}"
	}
	origins := append(orMode(config.ApplicationGroup), slices.Concat(i.groupOrigins(), i.rootOrigins())...)
	options := func(d *conf.Directive) *conf.Directive {
		if host.DaemonMode {
			d.Args = append(d.Args, conf.Pair{Name: "process-group", Value: process})
		}
		d.Args = append(d.Args, conf.Pair{Name: "application-group", Value: config.ApplicationGroup.In(i)})
		return d
	}
	b.add(options(conf.D("WSGIHandlerScript", conf.Key("wsgi-handler"), word(script))).From(origins...))
	if !dynamic(config.ApplicationGroup.In(i)) {
		b.add(options(conf.D("WSGIImportScript", word(script))).From(origins...))
	}
	for _, url := range config.IgnoreActivity.In(i) {
		b.add(location(url, conf.D("WSGIIgnoreActivity", conf.Key("On"))).From(config.IgnoreActivity))
	}
}
