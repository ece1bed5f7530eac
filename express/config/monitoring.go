package config

import (
	"fmt"
	"net"
	"strconv"
	"strings"

	"modwsgi/express/option"
)

var (
	HealthPath = option.Text("health-path", "", "URL-PATH", "Answer requests for this path with ready, or with 503 while the application cannot serve or the server is about to end; for PATH/live, always with 200.").
			Check(healthPath).With(unixOnly, own)
	MetricsListen = option.Text("metrics-listen", "", "[HOST:]PORT", "Show metrics for Prometheus at http://HOST:PORT/metrics; HOST is 127.0.0.1 unless given.").
			Check(metricsListen).With(unixOnly, own)
)

// monitoring is what other programs ask a running server for. mod_handover and the
// process that supervises httpd answer, so nothing of it is in httpd.conf.
var monitoring = feature{
	options: option.NewGroup("Monitoring", HealthPath, MetricsListen),
	useless: func(s *Server) []useless {
		return []useless{{DebugMode.In(s), "with --debug-mode", by(HealthPath, MetricsListen)}}
	},
}

func healthPath(v string) error {
	switch {
	case !strings.HasPrefix(v, "/") || v == "/" || strings.HasSuffix(v, "/") || strings.ContainsAny(v, "?#% ") || strings.Contains(v, "//"):
		return fmt.Errorf("%q is not a path such as /healthz", v)
	case len(v) > 200:
		return fmt.Errorf("the path %.20q... is longer than 200 bytes", v)
	}
	return nil
}

func metricsListen(v string) error {
	host, port := metricsAddress(v)
	if n, err := strconv.Atoi(port); err != nil || n < 1 || n > 65535 || host == "" || strings.ContainsAny(host, " /[]") {
		return fmt.Errorf("%q is neither PORT nor HOST:PORT", v)
	}
	return nil
}

func metricsAddress(v string) (host, port string) {
	if host, port, err := net.SplitHostPort(v); err == nil {
		return host, port
	}
	return "127.0.0.1", v
}

// MetricsAddress returns the address of --metrics-listen, "" for none.
func (i *Instance) MetricsAddress() string {
	if MetricsListen.In(i) == "" || DebugMode.In(i) {
		return ""
	}
	return net.JoinHostPort(metricsAddress(MetricsListen.In(i)))
}
