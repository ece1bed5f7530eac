package config

import (
	"strconv"
	"strings"

	"modwsgi/internal/fault"
)

// directiveSince is the same for directives.
var directiveSince = map[string]string{
	"WSGISocketRotation": "4.6.0", "WSGIDestroyInterpreter": "4.9.1", "WSGISwitchInterval": "6.0.0", "WSGIFreeThreading": "6.0.0",
	"WSGIIgnoreActivity": "4.5.8", "WSGITrustedProxyHeaders": "4.4.9", "WSGITrustedProxies": "4.4.10",
	"WSGITelemetryService": "6.0.0", "WSGISlowRequests": "6.0.0", "WSGITelemetryOptions": "6.0.0",
}

// atLeastVersion compares versions of mod_wsgi ("4.9.10"); what follows the
// digits of a part ("6.0.0rc1") does not count.
func atLeastVersion(have, want string) bool {
	h, w := strings.Split(have, "."), strings.Split(want, ".")
	for k := range w {
		a, b := 0, leadingNumber(w[k])
		if k < len(h) {
			a = leadingNumber(h[k])
		}
		if a != b {
			return a > b
		}
	}
	return true
}

func leadingNumber(s string) int {
	end := 0
	for end < len(s) && s[end] >= '0' && s[end] <= '9' {
		end++
	}
	n, _ := strconv.Atoi(s[:end])
	return n
}

func orUnknown(version string) string {
	if version == "" {
		return "of an unknown version"
	}
	return version
}

// OldestModule is the first mod_wsgi that this launcher starts. Older ones fail
// requests with many headers in daemon mode where the system takes few buffers
// in one writev call, and know no service scripts.
const OldestModule = "4.4.11"

// checkVersions refuses a module that is too old, and options that were given
// and that the installed module does not know.
func checkVersions(s *Server, module string) error {
	if !atLeastVersion(module, OldestModule) {
		return fault.New(fault.Environment, "install a newer one: modwsgi install --mod-wsgi-version '>= "+OldestModule+"'",
			"the installed mod_wsgi is %s; this launcher needs %s or newer, for older ones fail requests with many headers", orUnknown(module), OldestModule)
	}
	for _, o := range Table().Options() {
		if s.Given(o) && !atLeastVersion(module, Since(o)) {
			return fault.New(fault.Usage, "install a newer one: modwsgi install --mod-wsgi-version '>= "+Since(o)+"'",
				"option %s needs mod_wsgi %s or newer; the installed one is %s", o, Since(o), module)
		}
	}
	return carried(s, Table().Options())
}
