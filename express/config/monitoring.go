package config

import (
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"modwsgi/express/option"
)

var (
	HealthPath = option.Text("health-path", "", "URL-PATH", "Answer requests for this path with ready, or with 503 while the application cannot serve or the server is about to end; for PATH/live, always with 200.").
			Check(healthPath).With(unixOnly, own)
	MetricsListen = option.Text("metrics-listen", "", "[HOST:]PORT", "Show metrics for Prometheus at http://HOST:PORT/metrics; HOST is 127.0.0.1 unless given.").
			Check(metricsListen).With(unixOnly, own)
	Dashboard = option.Text("dashboard", "", "[ADDRESS:]PORT", "Show a page with what the server does at http://ADDRESS:PORT/, to this machine only; ADDRESS is 127.0.0.1 unless given.").
			Check(dashboardListen).With(unixOnly, own)
	DashboardPath = option.Text("dashboard-path", "", "URL-PATH", "Show the page of --dashboard at this path of the site as well, to those whom --auth-user-script or --host-access-script admits.").
			Check(dashboardPath).With(unixOnly, own)
)

// monitoring is what other programs ask a running server for. mod_handover and the
// process that supervises httpd answer, so nothing of it is in httpd.conf, except that httpd
// passes requests for --dashboard-path on to that process (proxy.go).
var monitoring = feature{
	options: option.NewGroup("Monitoring", HealthPath, MetricsListen, Dashboard, DashboardPath),
	conflicts: func(s *Server) error {
		switch {
		case DashboardPath.In(s) == "":
			return nil
		case Dashboard.In(s) == "":
			return option.Usage("add --dashboard PORT with a port of this machine that is free", "option --dashboard-path needs --dashboard")
		case AuthUserScript.In(s) == "" && HostAccessScript.In(s) == "":
			return option.Usage("add --auth-user-script or --host-access-script; --dashboard alone shows the page to this machine only",
				"option --dashboard-path needs an access restriction: the page shows the paths of requests")
		case slices.ContainsFunc(ProxyMountPoint.In(s), func(m [2]string) bool { return strings.TrimSuffix(slash(m[0]), "/") == DashboardPath.In(s) }):
			return option.Usage("", "options --dashboard-path and --proxy-mount-point have the same path")
		case DashboardPath.In(s) == HealthPath.In(s):
			return option.Usage("", "options --dashboard-path and --health-path have the same path")
		}
		return nil
	},
	useless: func(s *Server) []useless {
		return []useless{{DebugMode.In(s), "with --debug-mode", by(HealthPath, MetricsListen, Dashboard, DashboardPath)}}
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

// dashboardListen accepts addresses of this machine alone: the page has no access control.
func dashboardListen(v string) error {
	if err := metricsListen(v); err != nil {
		return err
	}
	host, _ := metricsAddress(v)
	if a, err := netip.ParseAddr(host); host != "localhost" && (err != nil || !a.IsLoopback()) {
		return fmt.Errorf("%q can be reached from other machines, and the page has no access control; use 127.0.0.1 with a tunnel (ssh -L), or --dashboard-path", host)
	}
	return nil
}

func dashboardPath(v string) error {
	if healthPath(v) != nil || strings.ContainsAny(v, `\"'<>*?[]{}|^`+"`") || strings.Contains(v, "/.") {
		return fmt.Errorf("%q is not a path such as /-/dashboard", v)
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

// DashboardAddress returns the address of --dashboard, "" for none.
func (i *Instance) DashboardAddress() string {
	if Dashboard.In(i) == "" || DebugMode.In(i) {
		return ""
	}
	return net.JoinHostPort(metricsAddress(Dashboard.In(i)))
}

// passesDashboard reports whether httpd passes requests for --dashboard-path on.
func (s *Server) passesDashboard() bool {
	return DashboardPath.In(s) != "" && Dashboard.In(s) != "" && !DebugMode.In(s)
}
