package express

import (
	"strings"
	"syscall"

	"modwsgi/express/config"
	"modwsgi/express/host"
	"modwsgi/express/option"
	"modwsgi/internal/fault"
)

// checkCollector checks the recipient of telemetry reports. The module stays silent if
// nothing receives them, and only logs a warning if it cannot send at all.
func (d *deployment) checkCollector() error {
	if !host.DaemonMode {
		return nil // the options for telemetry are refused
	}
	if config.EnableTelemetry.In(d) && !d.HasDistribution("mod_wsgi_telemetry") {
		return fault.New(fault.Environment, "install it into this environment: pip install mod_wsgi-telemetry",
			"option --enable-telemetry: the package mod_wsgi-telemetry is not in this environment")
	}
	path := strings.TrimPrefix(d.TelemetryTarget(), "unix:")
	if limit := len(syscall.RawSockaddrUnix{}.Path) - 1; len(path) > limit {
		if config.EnableTelemetry.In(d) {
			return fault.New(fault.Environment, "give a shorter --server-root", "option --enable-telemetry: the path of its socket, %s, has %d characters, and the system allows %d", path, len(path), limit)
		}
		return option.Usage("", "option --telemetry-service: the path of the socket has %d characters, and the system allows %d", len(path), limit)
	}
	if config.TelemetryService.In(d) == "" {
		return nil
	}
	why := host.SocketProblem(d.account, path)
	if why == "" {
		return nil
	}
	d.Warn("option --telemetry-service: " + why + "; all reports are lost silently until a collector receives them there (pip install mod_wsgi-telemetry, mod_wsgi-telemetry serve --listen)")
	return nil
}
