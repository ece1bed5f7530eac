package express

import (
	"fmt"
	"slices"
	"strings"

	"modwsgi/express/host"
	"modwsgi/express/site"

	"modwsgi/express/config"
	"modwsgi/express/option"
)

// ineffective lists, as warnings, the options that were given and that change
// nothing with the others: upstream's launcher takes them in silence, and their
// user believes that they work.
func ineffective(s *Server, daemon bool) []string {
	warnings := append(contradicted(s), unknownHeaders(s)...)
	mode := "embedded"
	if config.DebugMode.In(s) {
		mode = "debug"
	}
	note := func(option option.Ref, why string) {
		warnings = append(warnings, fmt.Sprintf("%s has no effect %s", option, why))
	}
	for _, r := range []struct {
		useless bool
		why     string
		options []option.Ref
	}{
		{config.AuthUserScript.In(s) == "", "without --auth-user-script", []option.Ref{config.AuthType}},
		{config.AuthGroupScript.In(s) == "", "without --auth-group-script", []option.Ref{config.AuthGroup}},
		{!config.RotateLogs.In(s), "without --rotate-logs", []option.Ref{config.MaxLogSize, config.RotatelogsExecutable}},
		{!config.AccessLog.In(s), "without --access-log", []option.Ref{config.AccessLogFormat, config.AccessLogName}},
		{!config.StartupLog.In(s), "without --startup-log", []option.Ref{config.StartupLogName}},
		{config.InactivityTimeout.In(s) == 0, "without --inactivity-timeout", []option.Ref{config.IgnoreActivity}},
		{config.HeaderTimeout.In(s) == 0, "with --header-timeout 0", []option.Ref{config.HeaderMaxTimeout, config.HeaderMinRate}},
		{config.BodyTimeout.In(s) == 0, "with --body-timeout 0", []option.Ref{config.BodyMaxTimeout, config.BodyMinRate}},
		{config.HeaderMinRate.In(s) == 0, "with --header-min-rate 0", []option.Ref{config.HeaderMaxTimeout}},
		{config.BodyMinRate.In(s) == 0, "with --body-min-rate 0", []option.Ref{config.BodyMaxTimeout}},
		{config.ApplicationType.In(s) == "paste" || config.ApplicationType.In(s) == "static", "with --application-type " + config.ApplicationType.In(s), []option.Ref{config.CallableObject}},
		{config.Locale.In(s) != "", "with --locale", []option.Ref{config.Lang}},
		{!daemon, "in " + mode + " mode", []option.Ref{
			config.ProcessGroup, config.PythonEggs, config.ErrorOverride, config.InitialWorkers, config.MinimumSpareWorkers, config.MaximumSpareWorkers, config.IgnoreActivity,
		}},
		// On Windows it is the number of threads of the one process.
		{!daemon && host.DaemonMode, "in " + mode + " mode", []option.Ref{config.MaxClients}},
		{config.DebugMode.In(s), "in debug mode, which has one process and one thread", []option.Ref{config.Processes, config.Threads, config.MaximumRequests}},
	} {
		for _, o := range r.options {
			if r.useless && s.Given(o) {
				note(o, r.why)
			}
		}
	}
	if config.EntryPoint.In(s) != "" && len(s.Positional) > 0 && s.Positional[0] != config.EntryPoint.In(s) {
		warnings = append(warnings, fmt.Sprintf("--entry-point is stronger than the argument %q", s.Positional[0]))
	}
	if daemon {
		return warnings
	}
	// What a group of processes is told.
	for _, o := range config.Table().Options() {
		if config.Daemon.Of(o) != "" && s.Given(o) && o != config.MaximumRequests.Option && o != config.SocketTimeout.Option {
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
	for _, h := range config.TrustProxyHeader.In(s) {
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
	if len(config.TrustProxyHeader.In(s)) > 0 && len(config.TrustProxy.In(s)) == 0 {
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
		{config.AllowLocalhost.In(s) && config.ServerName.In(s) == "", "--allow-localhost has no effect without --server-name"},
		{len(config.ServerAlias.In(s)) > 0 && config.ServerName.In(s) == "", "--server-alias has no effect on requests without --server-name"},
		{len(config.TrustProxy.In(s)) > 0 && len(config.TrustProxyHeader.In(s)) == 0, "--trust-proxy has no effect without --trust-proxy-header"},
		{
			config.ReloadOnChanges.In(s) && (config.EmbeddedMode.In(s) || config.DebugMode.In(s) || config.DisableReloading.In(s)),
			"--reload-on-changes has no effect in embedded mode, in debug mode and with --disable-reloading",
		},
		{
			config.SSLCACertificateFile.In(s) != "" && !config.HTTPSOnly.In(s),
			fmt.Sprintf("--ssl-ca-certificate-file protects HTTPS; port %d answers without a certificate (see --https-only)", config.Port.In(s)),
		},
		{config.LogToTerminal.In(s) && config.LogDirectory.In(s) != "", "--log-to-terminal has no effect with --log-directory"},
		{config.LogToTerminal.In(s) && config.RotateLogs.In(s) && config.LogDirectory.In(s) == "", "--rotate-logs has no effect with --log-to-terminal"},
		{s.Given(config.ProxyTimeout) && len(config.ProxyMountPoint.In(s))+len(config.ProxyVirtualHost.In(s)) == 0, "--proxy-timeout has no effect without a proxy"},
		{config.VerboseDebugging.In(s) && site.AtLeastVersion(s.ModuleVersion, "6.0.0"), "--verbose-debugging has no effect since mod_wsgi 6.0.0"},
		{config.ShellExecutable.In(s) != "" && config.EnvvarsScript.In(s) == "", "--shell-executable has no effect without --envvars-script: nothing else here runs through a shell"},
	} {
		if w.when {
			warnings = append(warnings, w.text)
		}
	}
	return warnings
}
