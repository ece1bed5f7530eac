package express

import (
	"net/netip"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"modwsgi/express/conf"
	"modwsgi/express/host"
)

// python adds what concerns the module as a whole.
func (b *builder) python() {
	i := b.i
	if i.VerboseDebugging && !atLeastVersion(i.moduleVersion, "6.0.0") {
		b.add(conf.D("WSGIVerboseDebugging", conf.Key("On")).From(optVerboseDebugging))
	}
	if host.DaemonMode {
		b.add(conf.D("WSGISocketPrefix", word(filepath.Join(i.socketDir, "wsgi"))).From(i.unless(optSocketPrefix, i.rootOrigins()...)...))
	}
	if b.knows("WSGISocketRotation") && host.DaemonMode {
		b.add(conf.D("WSGISocketRotation", conf.Key("Off")))
	}
	if i.OrphanInterpreter {
		b.add(conf.D("WSGIDestroyInterpreter", conf.Key("Off")).From(optOrphanInterpreter))
	}
	b.add(
		conf.D("WSGICallableObject", word(i.CallableObject)).From(optCallableObject),
		conf.D("WSGIPassAuthorization", conf.Key("On")),
		conf.D("WSGIMapHEADToGET", conf.Key(titled(i.MapHEADToGET))).From(optMapHEADToGET),
	)
	if i.DisableReloading || i.EmbeddedMode {
		b.add(conf.D("WSGIScriptReloading", conf.Key("Off")).From(optDisableReloading, optEmbeddedMode))
	}
	for _, w := range i.PythonWarnings {
		b.add(conf.D("WSGIPythonWarnings", word(w)).From(optPythonWarnings))
	}
	if i.Given(optSwitchInterval) {
		b.add(conf.D("WSGISwitchInterval", word(decimal(i.SwitchInterval))).From(optSwitchInterval))
	}
	if i.FreeThreading {
		b.add(conf.D("WSGIFreeThreading", conf.Key("On")).From(optFreeThreading))
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
	if dir := badPathEntry(i.PythonPath); dir != "" {
		b.err = usage("start-server", "make a symbolic link without one", "option --python-path: the directory %q holds a colon, which is what separates directories there", dir)
		return
	}
	b.add(conf.D("WSGIRestrictEmbedded", onOff(i.HostAccessScript == "" && i.AuthUserScript == "")).From(optHostAccessScript, optAuthUserScript))
	d := conf.D("WSGIDaemonProcess", word(i.group), conf.Pair{Name: "display-name", Value: "%{GROUP}"}).From(slices.Concat(i.groupOrigins(), i.eggsOrigins(), []conf.Origin{optWorkingDirectory, optProcesses, optThreads, optPythonPath, optLocale, optLang, optServerMetrics, optSwitchInterval})...)
	pair := func(name, value string) { d.Args = append(d.Args, conf.Pair{Name: name, Value: value}) }
	pair("home", i.work)
	if i.Given(optProcesses) {
		pair("processes", strconv.Itoa(max(i.Processes, 1)))
	}
	pair("threads", strconv.Itoa(i.Threads))
	if len(i.PythonPath) > 0 {
		pair("python-path", strings.Join(b.pythonPath(), ":"))
	}
	pair("python-eggs", i.eggs)
	pair("lang", i.locale)
	pair("locale", i.locale)
	for _, o := range Options() {
		since := daemonSince[o.Daemon]
		if n, ok := daemonValue(o, i.Server); ok && (since == "" || atLeastVersion(i.moduleVersion, since)) {
			pair(o.Daemon, n)
			d.Origins = append(d.Origins, o)
		}
	}
	if i.ServerMetrics {
		pair("server-metrics", "On")
	}
	if i.Given(optSwitchInterval) {
		pair("switch-interval", decimal(i.SwitchInterval))
	}
	b.add(d)
}

// daemonValue returns the value of an option that is a parameter of
// WSGIDaemonProcess as it is.
func daemonValue(o *Option, s *Server) (string, bool) {
	if o.Daemon == "" || o.field == nil {
		return "", false
	}
	n, ok := o.field(s).(*int)
	if !ok {
		return "", false
	}
	return strconv.Itoa(*n), true
}

func (b *builder) pythonPath() []string {
	var dirs []string
	for _, d := range b.i.PythonPath {
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
	b.add(conf.D("WSGIPythonPath", word(strings.Join(dirs, string(filepath.ListSeparator)))).From(orMode(optPythonPath, optWorkingDirectory)...))
	if i.DebugMode {
		b.add(conf.D("WSGIRestrictStdin", conf.Key("Off")).From(debugOrigins...))
	}
}

func (b *builder) features() {
	i := b.i
	if i.ServerMetrics || i.ServerStatus {
		b.add(conf.D("ExtendedStatus", conf.Key("On")).From(optServerStatus, optServerMetrics))
	}
	if i.ServerMetrics {
		b.add(conf.D("WSGIServerMetrics", conf.Key("On")).From(optServerMetrics))
	}
	if i.EnableSendfile {
		b.add(conf.D("EnableSendfile", conf.Key("On")).From(optEnableSendfile))
		if host.DaemonMode {
			b.add(conf.D("WSGIEnableSendfile", conf.Key("On")).From(optEnableSendfile))
		}
	}
	if i.CompressResponses {
		d := conf.D("AddOutputFilterByType", conf.Key("DEFLATE")).From(optCompressResponses)
		for _, t := range []string{
			"text/plain", "text/html", "text/xml", "text/css", "text/javascript",
			"application/xhtml+xml", "application/javascript", "application/json",
		} {
			d.Args = append(d.Args, conf.Key(t))
		}
		b.add(d)
	}
	if i.ChunkedRequest {
		b.add(conf.D("WSGIChunkedRequest", conf.Key("On")).From(optChunkedRequest))
	}
	for _, h := range i.TrustProxyHeaders {
		b.add(conf.D("WSGITrustedProxyHeaders", word(h)).From(optTrustProxyHeader))
	}
	for _, a := range i.TrustProxies {
		for _, network := range trusted(a) {
			b.add(conf.D("WSGITrustedProxies", word(network)).From(optTrustProxy))
		}
	}
	if i.ErrorOverride {
		b.add(conf.D("WSGIErrorOverride", conf.Key("On")).From(optErrorOverride))
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
	origins := append(orMode(optApplicationGroup), slices.Concat(i.groupOrigins(), i.rootOrigins())...)
	options := func(d *conf.Directive) *conf.Directive {
		if host.DaemonMode {
			d.Args = append(d.Args, conf.Pair{Name: "process-group", Value: process})
		}
		d.Args = append(d.Args, conf.Pair{Name: "application-group", Value: i.ApplicationGroup})
		return d
	}
	b.add(options(conf.D("WSGIHandlerScript", conf.Key("wsgi-handler"), word(script))).From(origins...))
	if !dynamic(i.ApplicationGroup) {
		b.add(options(conf.D("WSGIImportScript", word(script))).From(origins...))
	}
	for _, url := range i.IgnoreActivity {
		b.add(location(url, conf.D("WSGIIgnoreActivity", conf.Key("On"))).From(optIgnoreActivity))
	}
}
