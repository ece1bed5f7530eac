package config

import (
	"strconv"

	"modwsgi/express/conf"
	"modwsgi/express/option"
)

var (
	StartupTimeout = option.Number("startup-timeout", "15", "SECONDS", "Replace a process whose application does not load within this time; 0 disables it.").
			With(since("4.5.6"), daemon("startup-timeout"))
	ShutdownTimeout = option.Number("shutdown-timeout", "", "SECONDS", "How long a process that takes no more requests may take to complete those that it has.").
			DefaultText("none (graceful-timeout, at least 5)").With(daemon("shutdown-timeout"))
	RestartInterval = option.Number("restart-interval", "0", "SECONDS", "Replace each process after this time; 0 disables it.").
			With(since("4.5.12"), daemon("restart-interval"))
	CPUTimeLimit = option.Number("cpu-time-limit", "0", "SECONDS", "Replace a process after this much CPU time; 0 disables it.").
			With(daemon("cpu-time-limit"))
	GracefulTimeout = option.Number("graceful-timeout", "15", "SECONDS", "How long requests may continue in a process that is about to be replaced.").
			With(daemon("graceful-timeout"))
	EvictionTimeout = option.Number("eviction-timeout", "0", "SECONDS", "The same for a process that received SIGUSR1; 0 means the graceful timeout.").
			With(since("4.4.7"), daemon("eviction-timeout"))
	DeadlockTimeout = option.Number("deadlock-timeout", "60", "SECONDS", "Replace a process whose interpreter has not responded for this long.").
			With(daemon("deadlock-timeout"))
	InactivityTimeout = option.Number("inactivity-timeout", "0", "SECONDS", "Replace a process that has been idle for this long; 0 disables it.").
				With(daemon("inactivity-timeout"))
	IgnoreActivity = option.Texts("ignore-activity", "URL-PATH", "Requests at or below this path do not count as activity.").
			Check(urlPath).With(unixOnly, since("4.5.8"))
	RequestTimeout = option.Number("request-timeout", "60", "SECONDS", "Replace a process that is stuck in requests; 0 disables it.").
			With(daemon("request-timeout"))
	InterruptTimeout = option.Number("interrupt-timeout", "0", "SECONDS", "Before replacing a stuck process, raise an exception in the request; 0 disables it.").
				With(since("6.0.0"), daemon("interrupt-timeout"))
	ConnectTimeout = option.Number("connect-timeout", "15", "SECONDS", "How long httpd tries to connect to a daemon process.").
			With(daemon("connect-timeout"))
	SocketTimeout = option.Number("socket-timeout", "60", "SECONDS", "Longest pause of a client or a daemon process while data is transferred.").
			Check(option.AtLeast(1)).With(daemonAnywhere("socket-timeout"))
	ProxyTimeout = option.Number("proxy-timeout", "", "SECONDS", "The same for servers that requests are passed on to.").
			DefaultText("none (socket-timeout)").Check(option.AtLeast(1))
	QueueTimeout = option.Number("queue-timeout", "45", "SECONDS", "Answer requests that have waited longer than this with 504.").
			With(daemonAnywhere("queue-timeout"))
	HeaderTimeout         = option.Number("header-timeout", "15", "SECONDS", "Time limit for receiving the headers of a request; 0 means no limit.")
	HeaderMaxTimeout      = option.Number("header-max-timeout", "30", "SECONDS", "Maximum that the time limit for headers is extended to; 0 means no maximum.")
	HeaderMinRate         = option.Number("header-min-rate", "500", "BYTES", "Number of received bytes that extend the time limit for headers by one second.")
	BodyTimeout           = option.Number("body-timeout", "15", "SECONDS", "Time limit for receiving the body of a request; 0 means no limit.")
	BodyMaxTimeout        = option.Number("body-max-timeout", "0", "SECONDS", "Maximum that the time limit for a body is extended to; 0 means no maximum.")
	BodyMinRate           = option.Number("body-min-rate", "500", "BYTES", "Number of received bytes that extend the time limit for a body by one second.")
	ResponseSocketTimeout = option.Number("response-socket-timeout", "0", "SECONDS", "Longest pause of a client while it reads a response; 0 means the socket timeout.").
				With(since("4.5.13"), daemon("response-socket-timeout"))
	ResponseFlushDelay = option.Number("response-flush-delay", "5", "MILLISECONDS", "How long to wait for more data before sending part of a response.").
				With(since("6.0.2"), daemon("response-flush-delay"))
	KeepAliveTimeout = option.Number("keep-alive-timeout", "2", "SECONDS", "How long an idle connection stays open; 0 closes it after each response.")
)

// timeouts is the time limits of processes, requests and connections.
var timeouts = feature{
	options: option.NewGroup("Timeouts",
		StartupTimeout, ShutdownTimeout, RestartInterval, CPUTimeLimit, GracefulTimeout, EvictionTimeout, DeadlockTimeout,
		InactivityTimeout, IgnoreActivity, RequestTimeout, InterruptTimeout, ConnectTimeout, SocketTimeout, ProxyTimeout,
		QueueTimeout, HeaderTimeout, HeaderMaxTimeout, HeaderMinRate, BodyTimeout, BodyMaxTimeout, BodyMinRate,
		ResponseSocketTimeout, ResponseFlushDelay, KeepAliveTimeout,
	),
	imply: func(s *Server) { // a process whose script has changed has only this time
		if !s.Given(ShutdownTimeout) {
			ShutdownTimeout.Set(s, max(5, GracefulTimeout.In(s)))
		}
	},
	useless: func(s *Server) []useless {
		return []useless{
			{InactivityTimeout.In(s) == 0, "without --inactivity-timeout", by(IgnoreActivity)},
			{HeaderTimeout.In(s) == 0, "with --header-timeout 0", by(HeaderMaxTimeout, HeaderMinRate)},
			{BodyTimeout.In(s) == 0, "with --body-timeout 0", by(BodyMaxTimeout, BodyMinRate)},
			{HeaderMinRate.In(s) == 0, "with --header-min-rate 0", by(HeaderMaxTimeout)},
			{BodyMinRate.In(s) == 0, "with --body-min-rate 0", by(BodyMaxTimeout)},
			{!s.Daemon(), "in " + s.mode() + " mode", by(IgnoreActivity)},
		}
	},
	warnings: func(s *Server) (list []string) {
		if s.Given(ProxyTimeout) && !s.proxied() {
			list = append(list, "--proxy-timeout has no effect without a proxy")
		}
		return list
	},
	defines: func(i *Instance) []define { return []define{{KeepAliveTimeout.In(i) != 0, "MOD_WSGI_KEEP_ALIVE"}} },
	writes: map[slot]func(*writer){
		slotPauses: func(w *writer) {
			w.add(conf.D("Timeout", integer(SocketTimeout.In(w.i))).From(SocketTimeout))
		},
		slotReading:   (*writer).reading,
		slotKeepAlive: (*writer).keepAlive,
		slotHandler: func(w *writer) {
			for _, url := range IgnoreActivity.In(w.i) {
				w.add(location(url, conf.D("WSGIIgnoreActivity", conf.Key("On"))).From(IgnoreActivity))
			}
		},
		slotProxyTime: func(w *writer) {
			if w.i.proxied() && w.i.Given(ProxyTimeout) {
				w.add(conf.D("ProxyTimeout", integer(ProxyTimeout.In(w.i))).From(ProxyTimeout))
			}
		},
	},
}

// reading adds the time limits for receiving requests. It always sets both, because
// mod_reqtimeout has defaults.
func (w *writer) reading() {
	i := w.i
	w.add(conf.D("RequestReadTimeout",
		conf.Key("header="+readTimeout(HeaderTimeout.In(i), HeaderMaxTimeout.In(i), HeaderMinRate.In(i))),
		conf.Key("body="+readTimeout(BodyTimeout.In(i), BodyMaxTimeout.In(i), BodyMinRate.In(i)))).
		From(HeaderTimeout, HeaderMaxTimeout, HeaderMinRate, BodyTimeout, BodyMaxTimeout, BodyMinRate))
}

func (w *writer) keepAlive() {
	seconds := KeepAliveTimeout.In(w.i)
	w.add(conf.D("KeepAlive", onOff(seconds > 0)).From(KeepAliveTimeout))
	if seconds > 0 {
		w.add(conf.D("KeepAliveTimeout", integer(seconds)).From(KeepAliveTimeout))
	}
}

// readTimeout returns the argument of RequestReadTimeout for headers or bodies.
func readTimeout(first, most, rate int) string {
	if first == 0 {
		return "0"
	}
	s := strconv.Itoa(first)
	if rate == 0 || most > 0 && most <= first {
		return s // no rate to extend it
	}
	if most > 0 {
		s += "-" + strconv.Itoa(most)
	}
	return s + ",MinRate=" + strconv.Itoa(rate)
}
