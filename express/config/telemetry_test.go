package config

import (
	"strings"
	"testing"
)

// TestTelemetry checks the directives for modules since 6.0.0.
func TestTelemetry(t *testing.T) {
	for _, c := range []struct {
		line string
		want string // the directives, or the error
	}{
		{
			"--telemetry-service unix:/run/t.sock --telemetry-interval 2.5 --slow-requests 0 --telemetry-options +CaptureUserAgent --telemetry-options None",
			"WSGITelemetryService \"unix:/run/t.sock\" \"interval=2.5\"\nWSGISlowRequests \"0\"\nWSGITelemetryOptions \"+CaptureUserAgent\"\nWSGITelemetryOptions \"None\"\n",
		},
		{"--enable-telemetry", "WSGITelemetryService \"unix:/r/telemetry/collector\" \"interval=1\"\n"},
		{"", ""},
		{"--enable-telemetry --telemetry-service unix:/x", "cannot be combined"},
		{"--slow-requests 1", "needs --telemetry-service"},
		{"--telemetry-ui-port 99 --telemetry-service unix:/x", "needs --enable-telemetry"},
		{"--enable-telemetry --service-script telemetry x", "is reserved for --enable-telemetry"},
	} {
		in, err := parseLine(strings.Fields(c.line)...)
		if err != nil {
			t.Fatal(err)
		}
		if err := telemetryConflicts(in); err != nil {
			if !strings.Contains(err.Error(), c.want) || c.want == "" {
				t.Errorf("%s: %v", c.line, err)
			}
			continue
		}
		if err := checkVersions(in, "6.0.2"); err != nil {
			t.Errorf("%s: %v", c.line, err)
		}
		w := &writer{i: &Instance{Server: in, Root: "/r"}}
		w.telemetry()
		text, err := w.file.Text()
		if _, rest, _ := strings.Cut(text, "\"$\"\n"); err != nil || !strings.HasSuffix(text, c.want) || c.want == "" && strings.Contains(rest, "WSGI") {
			t.Errorf("%s: %v\n%s", c.line, err, text)
		}
	}
}
