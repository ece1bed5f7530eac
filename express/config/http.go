package config

import (
	"modwsgi/express/conf"
	"modwsgi/express/host"
	"modwsgi/express/option"
)

var (
	CompressResponses = option.Toggle("compress-responses", "Compress textual responses for clients that accept compression.")
	EnableSendfile    = option.Toggle("enable-sendfile", "Send every file with the system's sendfile call, also those of network file systems and of the application. For others it is used anyway.")
	TraceEnable       = option.Text("trace-enable", "off", "WHEN", "Answer TRACE requests, which echo a request with its cookies: on, off or extended (also with a body).").
				Among(true, "on", "off", "extended").With(own)
	AllowConnect = option.Toggle("allow-connect", "Let CONNECT requests reach the application; they are refused otherwise.").With(own)
)

// http controls which methods are allowed, and how responses are sent.
var http = feature{
	options: option.NewGroup("HTTP",
		CompressResponses, EnableSendfile, TraceEnable, AllowConnect,
	),
	defines: func(i *Instance) []define {
		return []define{
			{CompressResponses.In(i), "MOD_WSGI_COMPRESS_RESPONSES"},
			{EnableSendfile.In(i), "MOD_WSGI_ENABLE_SENDFILE"},
		}
	},
	modules: map[load]func(*Instance) []module{
		loadCompression: func(i *Instance) []module {
			return needs(CompressResponses.In(i), by(CompressResponses), "filter", "deflate")
		},
	},
	writes: map[slot]func(*writer){
		slotMethods:   (*writer).methods,
		slotResponses: (*writer).responses,
	},
}

func (w *writer) methods() {
	i := w.i
	w.add(conf.S("Directory", args(word("/")),
		conf.D("AllowOverride", conf.Key("None")), conf.D("Require", conf.Key("all"), conf.Key("denied"))))
	w.add(conf.D("TraceEnable", conf.Key(titled(TraceEnable.In(i)))).From(TraceEnable))
	if !AllowConnect.In(i) {
		// In a section that httpd applies last, so that no Require overrides it. It
		// applies to all virtual hosts and to proxied requests.
		w.add(conf.S("If", args(word("%{REQUEST_METHOD} == 'CONNECT'")), conf.D("Require", conf.Key("all"), conf.Key("denied"))).From(AllowConnect))
	}
}

func (w *writer) responses() {
	i := w.i
	if host.Unix {
		// A process that reads a mapped file beyond its end is killed: a file that is
		// truncated while it is sent would take all connections of that process with it.
		w.add(conf.D("EnableMMAP", conf.Key("Off")))
	}
	if EnableSendfile.In(i) {
		w.add(conf.D("EnableSendfile", conf.Key("On")).From(EnableSendfile))
		if host.DaemonMode {
			w.add(conf.D("WSGIEnableSendfile", conf.Key("On")).From(EnableSendfile))
		}
	}
	if CompressResponses.In(i) {
		d := conf.D("AddOutputFilterByType", conf.Key("DEFLATE")).From(CompressResponses)
		for _, t := range []string{
			"text/plain", "text/html", "text/xml", "text/css", "text/javascript",
			"application/xhtml+xml", "application/javascript", "application/json",
		} {
			d.Args = append(d.Args, conf.Key(t))
		}
		w.add(d)
	}
}
