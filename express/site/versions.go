package site

import (
	"strconv"
	"strings"
)

// DaemonSince is the first mod_wsgi that knows a parameter of WSGIDaemonProcess;
// those that are not here are older than any module that we support.
var DaemonSince = map[string]string{
	"startup-timeout": "4.5.6", "restart-interval": "4.5.12", "eviction-timeout": "4.4.7", "interrupt-timeout": "6.0.0",
	"response-buffer-size": "4.4.7", "response-socket-timeout": "4.5.13", "response-flush-delay": "6.0.2",
	"switch-interval": "6.0.0",
}

// DirectiveSince is the same for directives.
var DirectiveSince = map[string]string{
	"WSGISocketRotation": "4.6.0", "WSGIDestroyInterpreter": "4.9.1", "WSGISwitchInterval": "6.0.0", "WSGIFreeThreading": "6.0.0",
	"WSGIIgnoreActivity": "4.5.8", "WSGITrustedProxyHeaders": "4.4.9", "WSGITrustedProxies": "4.4.10",
	"WSGITelemetryService": "6.0.0", "WSGISlowRequests": "6.0.0", "WSGITelemetryOptions": "6.0.0",
}

// AtLeastVersion compares versions of mod_wsgi ("4.9.10"); what follows the
// digits of a part ("6.0.0rc1") does not count.
func AtLeastVersion(have, want string) bool {
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

// OrUnknown is a version for messages.
func OrUnknown(version string) string {
	if version == "" {
		return "of an unknown version"
	}
	return version
}

func leadingNumber(s string) int {
	end := 0
	for end < len(s) && s[end] >= '0' && s[end] <= '9' {
		end++
	}
	n, _ := strconv.Atoi(s[:end])
	return n
}

// OldestModule is the first mod_wsgi that this launcher starts. Older ones fail
// requests with many headers in daemon mode where the system takes few buffers
// in one writev call, and know no service scripts.
const OldestModule = "4.4.11"
