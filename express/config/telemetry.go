package config

import "modwsgi/express/option"

var (
	TelemetryService = option.Text("telemetry-service", "", "TARGET", "Report to a collector at unix:PATH.").
				Check(unixTarget).With(since("6.0.0"))
	EnableTelemetry = option.Toggle("enable-telemetry", "Collect telemetry and show it, on this machine only.").
			With(unixOnly, since("6.0.0"))
	TelemetryUIPort = option.Number("telemetry-ui-port", "8888", "NUMBER", "Port on which it is shown.").
			Check(option.Between(1, 65535)).With(unixOnly, since("6.0.0"))
	TelemetryInterval = option.Fraction("telemetry-interval", "1.0", "SECONDS", "Time between reports, 0.5 or more.").
				Check(option.AtLeastFraction(0.5)).With(since("6.0.0"))
	SlowRequests = option.Fraction("slow-requests", "", "SECONDS", "Report requests that take longer; 0 is off.").
			Check(option.AtLeastFraction(0)).With(since("6.0.0"))
	TelemetryOptions = option.Texts("telemetry-options", "OPTIONS", "What else is captured: None, All, or names such as +CaptureUserAgent.").
				Check(telemetryWords).With(since("6.0.0"))
)

var telemetryGroup = option.NewGroup("Telemetry",
	TelemetryService, EnableTelemetry, TelemetryUIPort, TelemetryInterval, SlowRequests, TelemetryOptions,
)
