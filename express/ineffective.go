package express

import (
	"fmt"
	"modwsgi/express/host"
	"slices"
	"strings"
)

// ineffective lists, as warnings, the options that were given and that change
// nothing with the others: upstream's launcher takes them in silence, and their
// user believes that they work.
func ineffective(s *Server, daemon bool) []string {
	warnings := append(contradicted(s), unknownHeaders(s)...)
	mode := "embedded"
	if s.DebugMode {
		mode = "debug"
	}
	note := func(option *Option, why string) {
		warnings = append(warnings, fmt.Sprintf("%s has no effect %s", option, why))
	}
	for _, r := range []struct {
		useless bool
		why     string
		options []*Option
	}{
		{s.AuthUserScript == "", "without --auth-user-script", []*Option{optAuthType}},
		{s.AuthGroupScript == "", "without --auth-group-script", []*Option{optAuthGroup}},
		{!s.RotateLogs, "without --rotate-logs", []*Option{optMaxLogSize, optRotatelogsExecutable}},
		{!s.AccessLog, "without --access-log", []*Option{optAccessLogFormat, optAccessLogName}},
		{!s.StartupLog, "without --startup-log", []*Option{optStartupLogName}},
		{s.InactivityTimeout == 0, "without --inactivity-timeout", []*Option{optIgnoreActivity}},
		{s.HeaderTimeout == 0, "with --header-timeout 0", []*Option{optHeaderMaxTimeout, optHeaderMinRate}},
		{s.BodyTimeout == 0, "with --body-timeout 0", []*Option{optBodyMaxTimeout, optBodyMinRate}},
		{s.HeaderMinRate == 0, "with --header-min-rate 0", []*Option{optHeaderMaxTimeout}},
		{s.BodyMinRate == 0, "with --body-min-rate 0", []*Option{optBodyMaxTimeout}},
		{s.ApplicationType == "paste" || s.ApplicationType == "static", "with --application-type " + s.ApplicationType, []*Option{optCallableObject}},
		{s.Locale != "", "with --locale", []*Option{optLang}},
		{!daemon, "in " + mode + " mode", []*Option{
			optProcessGroup, optPythonEggs, optErrorOverride, optInitialWorkers, optMinimumSpareWorkers, optMaximumSpareWorkers, optIgnoreActivity,
		}},
		// On Windows it is the number of threads of the one process.
		{!daemon && host.DaemonMode, "in " + mode + " mode", []*Option{optMaxClients}},
		{s.DebugMode, "in debug mode, which has one process and one thread", []*Option{optProcesses, optThreads, optMaximumRequests}},
	} {
		for _, o := range r.options {
			if r.useless && s.Given(o) {
				note(o, r.why)
			}
		}
	}
	if s.EntryPoint != "" && len(s.positional) > 0 && s.positional[0] != s.EntryPoint {
		warnings = append(warnings, fmt.Sprintf("--entry-point is stronger than the argument %q", s.positional[0]))
	}
	if daemon {
		return warnings
	}
	// What a group of processes is told.
	for _, o := range Options() {
		if o.Daemon != "" && s.Given(o) && !slices.Contains([]*Option{optMaximumRequests, optSocketTimeout}, o) {
			note(o, "in "+mode+" mode")
		}
	}
	return warnings
}

// proxyHeaders are those of --trust-proxy-header that the module knows.
var proxyHeaders = strings.Fields("X-Forwarded-For X-Client-IP X-Real-IP X-Forwarded-Proto X-Forwarded-Scheme X-Forwarded-HTTPS X-Forwarded-SSL " +
	"X-Scheme X-HTTPS X-Forwarded-Host X-Host X-Forwarded-Port X-Forwarded-Server X-Script-Name X-Forwarded-Script-Name")

// unknownHeaders warns about headers that the module would not look at.
func unknownHeaders(s *Server) (warnings []string) {
	for _, h := range s.TrustProxyHeaders {
		for _, name := range strings.Fields(h) {
			if !slices.ContainsFunc(proxyHeaders, func(k string) bool { return strings.EqualFold(k, name) }) {
				warnings = append(warnings, fmt.Sprintf("--trust-proxy-header %s has no effect: mod_wsgi knows %s", name, strings.Join(proxyHeaders, ", ")))
			}
		}
	}
	return warnings
}

// trustConflicts reports headers that would be believed whoever sends them.
func trustConflicts(s *Server) error {
	if len(s.TrustProxyHeaders) > 0 && len(s.TrustProxies) == 0 {
		return usage("start-server", "name the address of the proxy with --trust-proxy, such as 127.0.0.1; --trust-proxy 0.0.0.0/0 --trust-proxy ::/0 trusts every client",
			"option --trust-proxy-header needs --trust-proxy: without an address, every client can claim another address, host and scheme")
	}
	return nil
}

// contradicted are the warnings with a text of their own.
func contradicted(s *Server) []string {
	var warnings []string
	for _, w := range []struct {
		when bool
		text string
	}{
		{s.AllowLocalhost && s.ServerName == "", "--allow-localhost has no effect without --server-name"},
		{len(s.ServerAliases) > 0 && s.ServerName == "", "--server-alias has no effect on requests without --server-name"},
		{len(s.TrustProxies) > 0 && len(s.TrustProxyHeaders) == 0, "--trust-proxy has no effect without --trust-proxy-header"},
		{
			s.ReloadOnChanges && (s.EmbeddedMode || s.DebugMode || s.DisableReloading),
			"--reload-on-changes has no effect in embedded mode, in debug mode and with --disable-reloading",
		},
		{
			s.CACertificateFile != "" && !s.HTTPSOnly,
			fmt.Sprintf("--ssl-ca-certificate-file protects HTTPS; port %d answers without a certificate (see --https-only)", s.Port),
		},
		{s.LogToTerminal && s.LogDirectory != "", "--log-to-terminal has no effect with --log-directory"},
		{s.LogToTerminal && s.RotateLogs && s.LogDirectory == "", "--rotate-logs has no effect with --log-to-terminal"},
		{s.Given(optProxyTimeout) && len(s.ProxyMountPoints)+len(s.ProxyVirtualHosts) == 0, "--proxy-timeout has no effect without a proxy"},
		{s.VerboseDebugging && atLeastVersion(s.moduleVersion, "6.0.0"), "--verbose-debugging has no effect since mod_wsgi 6.0.0"},
		{s.Shell != "" && s.EnvVarsScript == "", "--shell-executable has no effect without --envvars-script: nothing else here runs through a shell"},
	} {
		if w.when {
			warnings = append(warnings, w.text)
		}
	}
	return warnings
}
