package config

import (
	"path/filepath"
	"strings"

	"modwsgi/express/conf"
	"modwsgi/express/host"
	"modwsgi/express/option"
)

var (
	TelemetryService = option.Text("telemetry-service", "", "TARGET", "Report to a collector at unix:PATH.").
				Check(unixTarget).With(since("6.0.0"))
	EnableTelemetry = option.Toggle("enable-telemetry", "Collect telemetry and show it, on this machine only.").
			With(unixOnly, since("6.0.0"))
	TelemetryUIPort = option.Number("telemetry-ui-port", "8888", "NUMBER", "Port of the page that shows the telemetry.").
			Check(option.Between(1, 65535)).With(unixOnly, since("6.0.0"))
	TelemetryInterval = option.Fraction("telemetry-interval", "1.0", "SECONDS", "Time between reports, at least 0.5.").
				Check(option.AtLeastFraction(0.5)).With(since("6.0.0"))
	SlowRequests = option.Fraction("slow-requests", "", "SECONDS", "Report requests that take longer than this; 0 disables it.").
			Check(option.AtLeastFraction(0)).With(since("6.0.0"))
	TelemetryOptions = option.Texts("telemetry-options", "OPTIONS", "What else to capture: None, All, or names such as +CaptureUserAgent.").
				Check(telemetryWords).With(since("6.0.0"))
)

// telemetry is the reports of the module, and their collector.
var telemetry = feature{
	options: option.NewGroup("Telemetry",
		TelemetryService, EnableTelemetry, TelemetryUIPort, TelemetryInterval, SlowRequests, TelemetryOptions,
	),
	conflicts: telemetryConflicts,
	defines: func(i *Instance) []define {
		return []define{
			{EnableTelemetry.In(i) || TelemetryService.In(i) != "", "MOD_WSGI_TELEMETRY_SERVICE"},
			{len(TelemetryOptions.In(i)) > 0, "MOD_WSGI_TELEMETRY_OPTIONS"},
			{i.Given(SlowRequests), "MOD_WSGI_SLOW_REQUESTS"},
		}
	},
	writes: map[slot]func(*writer){slotTelemetry: (*writer).telemetry},
}

// telemetryService is the name of the service that --enable-telemetry adds.
const telemetryService = "telemetry"

func telemetryConflicts(s *Server) error {
	bad := func(format string, args ...any) error { return option.Usage("", format, args...) }
	if EnableTelemetry.In(s) && TelemetryService.In(s) != "" {
		return bad("--enable-telemetry and --telemetry-service cannot be combined")
	}
	if TelemetryService.In(s) != "" && !host.DaemonMode {
		return bad("option --telemetry-service: mod_wsgi does not support telemetry on Windows")
	}
	for _, v := range ServiceScript.In(s) {
		if EnableTelemetry.In(s) && v[0] == telemetryService {
			return bad("option --service-script: the name %q is reserved for --enable-telemetry", v[0])
		}
	}
	target := EnableTelemetry.In(s) || TelemetryService.In(s) != ""
	for _, o := range []option.Ref{SlowRequests, TelemetryInterval, TelemetryOptions} {
		if s.Given(o) && !target {
			return bad("option %s needs --telemetry-service or --enable-telemetry", o)
		}
	}
	if s.Given(TelemetryUIPort) && !EnableTelemetry.In(s) {
		return bad("option --telemetry-ui-port needs --enable-telemetry")
	}
	return nil
}

// TelemetryFile is the script of that service, in the server root.
const TelemetryFile = "telemetry-service.py"

// TelemetryDir returns the directory for the socket of the collector that the launcher
// starts. It belongs to the application's account, unlike the server root.
func (i *Instance) TelemetryDir() string { return filepath.Join(i.Root, "telemetry") }

// TelemetryTarget returns the target that the processes report to, or "".
func (i *Instance) TelemetryTarget() string {
	if EnableTelemetry.In(i) {
		return "unix:" + filepath.Join(i.TelemetryDir(), "collector")
	}
	return TelemetryService.In(i)
}

// telemetry adds the directives for telemetry.
func (w *writer) telemetry() {
	i := w.i
	target := i.TelemetryTarget()
	if target == "" {
		return
	}
	w.add(conf.D("WSGITelemetryService", word(target), word("interval="+decimal(TelemetryInterval.In(i)))).From(TelemetryService, EnableTelemetry, TelemetryInterval))
	if i.Given(SlowRequests) {
		w.add(conf.D("WSGISlowRequests", word(decimal(SlowRequests.In(i)))).From(SlowRequests))
	}
	for _, o := range TelemetryOptions.In(i) {
		d := conf.D("WSGITelemetryOptions").From(TelemetryOptions)
		for _, w := range strings.Fields(o) {
			d.Args = append(d.Args, word(w))
		}
		w.add(d)
	}
}
