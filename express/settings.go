package express

import (
	"strings"

	"modwsgi/express/config"
)

// settingsFile is read by the Python part, glue.py.
const settingsFile = "settings.json"

// settings is read by the Python part in the application's processes. It contains no
// secrets, because the application's account can read it.
type settings struct {
	ApplicationType string            `json:"application_type"`
	EntryPoint      string            `json:"entry_point"`
	CallableObject  string            `json:"callable_object"`
	MountPoint      string            `json:"mount_point"`
	Reloading       bool              `json:"reloading"`
	Monitor         bool              `json:"monitor"`
	MaximumRequests int               `json:"maximum_requests,omitempty"` // of one process; 0 for no limit
	Environ         map[string]string `json:"environ"`
	Tools           map[string]any    `json:"tools,omitempty"`
	Handlers        map[string]string `json:"handlers,omitempty"`
	Telemetry       *collector        `json:"telemetry,omitempty"`
}

// collector is read by the service of --enable-telemetry.
type collector struct {
	Listen string `json:"listen"`
	Port   int    `json:"port"`
}

// settings returns the settings of the deployment.
func (d *deployment) settings() settings {
	s := settings{
		ApplicationType: config.ApplicationType.In(d), EntryPoint: d.Entry, CallableObject: config.CallableObject.In(d), MountPoint: d.Mount,
		Reloading: !config.DisableReloading.In(d) && !config.DebugMode.In(d),
		Monitor:   config.ReloadOnChanges.In(d) && !config.DisableReloading.In(d) && d.Daemon(), MaximumRequests: config.MaximumRequests.In(d),
		Environ: map[string]string{
			"MOD_WSGI_EXPRESS": "true", "MOD_WSGI_SERVER_NAME": d.name(),
			"MOD_WSGI_SERVER_ALIASES": strings.Join(config.ServerAlias.In(d), " "),
		},
	}
	for name, on := range map[string]bool{
		"RELOADER": config.ReloadOnChanges.In(d), "DEBUGGER": config.EnableDebugger.In(d), "COVERAGE": config.EnableCoverage.In(d),
		"PROFILER": config.EnableProfiler.In(d), "RECORDER": config.EnableRecorder.In(d), "GDB": config.EnableGDB.In(d),
	} {
		if on {
			s.Environ["MOD_WSGI_"+name+"_ENABLED"] = "true"
		}
	}
	if config.DebugMode.In(d) {
		s.Environ["MOD_WSGI_DEBUG_MODE"] = "true"
	}
	s.Tools, s.Handlers = d.ToolSettings(), d.HandlerScripts()
	if config.EnableTelemetry.In(d) {
		s.Telemetry = &collector{d.TelemetryTarget(), config.TelemetryUIPort.In(d)}
	}
	return s
}
