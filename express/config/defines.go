package config

import (
	"slices"

	"modwsgi/express/conf"
)

// define is a name that included files may test with <IfDefine>.
type define struct {
	on   bool
	name string
}

// defined are the names that upstream's launcher defines on httpd's command line, in
// the same order.
var defined = []string{
	"EMBEDDED_MODE", "MOD_WSGI_WITH_LISTENER_HOST", "MOD_WSGI_VIRTUAL_HOST", "MOD_WSGI_SERVER_ALIAS", "MOD_WSGI_WITH_PROXY",
	"MOD_WSGI_WITH_HTTPS", "MOD_WSGI_HTTPS_ONLY", "MOD_WSGI_ALLOW_LOCALHOST", "MOD_WSGI_MULTIPROCESS", "MOD_WSGI_ACCESS_LOG",
	"MOD_WSGI_KEEP_ALIVE", "MOD_WSGI_COMPRESS_RESPONSES", "MOD_WSGI_SERVER_STATUS", "MOD_WSGI_SERVER_METRICS",
	"MOD_WSGI_DIRECTORY_INDEX", "MOD_WSGI_DIRECTORY_LISTING", "MOD_WSGI_ERROR_OVERRIDE", "MOD_WSGI_ROTATE_LOGS",
	"MOD_WSGI_WITH_HTTP2", "MOD_WSGI_STATIC_ONLY", "MOD_WSGI_DISABLE_RELOADING", "MOD_WSGI_MPM_ENABLE_EVENT_MODULE",
	"MOD_WSGI_MPM_ENABLE_WORKER_MODULE", "MOD_WSGI_MPM_ENABLE_PREFORK_MODULE", "MOD_WSGI_MPM_ENABLE_WINNT_MODULE",
	"ORPHAN_INTERPRETER", "MOD_WSGI_CHUNKED_REQUEST", "MOD_WSGI_ENABLE_SENDFILE", "MOD_WSGI_ERROR_LOG_FORMAT",
	"MOD_WSGI_HOST_ACCESS", "MOD_WSGI_AUTH_USER", "MOD_WSGI_AUTH_GROUP", "MOD_WSGI_CERTIFICATE_CHAIN", "MOD_WSGI_VERIFY_CLIENT",
	"MOD_WSGI_SSL_ENVIRONMENT", "MOD_WSGI_HSTS_POLICY", "MOD_WSGI_REDIRECT_WWW", "MOD_WSGI_WITH_PROXY_HEADERS",
	"MOD_WSGI_WITH_TRUSTED_PROXIES", "MOD_WSGI_WITH_PYTHON_PATH", "MOD_WSGI_WITH_SOCKET_PREFIX", "MOD_WSGI_IMPORT_HANDLER_SCRIPT",
	"MOD_WSGI_CGID_SCRIPT", "MOD_WSGI_CGI_SCRIPT", "MOD_WSGI_TELEMETRY_SERVICE", "MOD_WSGI_TELEMETRY_OPTIONS",
	"MOD_WSGI_SLOW_REQUESTS", "MOD_WSGI_SWITCH_INTERVAL", "MOD_WSGI_FREE_THREADING", "MOD_WSGI_MPM_EXISTS_EVENT_MODULE",
	"MOD_WSGI_MPM_EXISTS_WORKER_MODULE", "MOD_WSGI_MPM_EXISTS_PREFORK_MODULE",
}

// reads reports whether httpd reads files written by the user, who may have written
// them for upstream's launcher.
func (i *Instance) reads() bool {
	return len(IncludeFile.In(i)) > 0 || RewriteRules.In(i) != "" || len(AllowOverride.In(i)) > 0
}

// writeDefines adds the names that the features define.
func writeDefines(w *writer) {
	if !w.i.reads() {
		return
	}
	all := all(w.i, func(f *feature) func(*Instance) []define { return f.defines })
	for _, name := range defined {
		if slices.ContainsFunc(all, func(d define) bool { return d.on && d.name == name }) {
			w.add(conf.D("Define", conf.Key(name)))
		}
	}
}
