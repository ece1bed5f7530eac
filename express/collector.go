package express

import (
	"strings"
	"syscall"

	"modwsgi/express/config"
	"modwsgi/express/host"
	"modwsgi/internal/fault"
)

// collector finds what takes the reports of telemetry. The module says nothing
// when nobody does, and only warns in a log when it cannot send at all.
func (p *Program) collector(i *resolved) error {
	if !host.DaemonMode {
		return nil // the options for telemetry are refused
	}
	if config.EnableTelemetry.In(i) && !i.HasDistribution("mod_wsgi_telemetry") {
		return fault.New(fault.Environment, "install it into this environment: pip install mod_wsgi-telemetry",
			"option --enable-telemetry: the package mod_wsgi-telemetry is not in this environment")
	}
	path := strings.TrimPrefix(i.TelemetryTarget(), "unix:")
	if limit := len(syscall.RawSockaddrUnix{}.Path) - 1; len(path) > limit {
		if config.EnableTelemetry.In(i) {
			return fault.New(fault.Environment, "give a shorter --server-root", "option --enable-telemetry: the path of its socket, %s, has %d characters, and the system allows %d", path, len(path), limit)
		}
		return usage("start-server", "", "option --telemetry-service: the path of the socket has %d characters, and the system allows %d", len(path), limit)
	}
	if config.TelemetryService.In(i) == "" {
		return nil
	}
	why := host.SocketProblem(i.account, path)
	if why == "" {
		return nil
	}
	p.warn("option --telemetry-service: " + why + "; all reports are lost without a word until a collector takes them there (pip install mod_wsgi-telemetry, mod_wsgi-telemetry serve --listen)")
	return nil
}
