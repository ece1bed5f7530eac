package config

import (
	"modwsgi/express/conf"
	"modwsgi/express/option"
)

var (
	LimitRequestBody = option.Number("limit-request-body", "10485760", "BYTES", "Maximum size of a request body; 0 means no limit.")
	ServerBacklog    = option.Number("server-backlog", "500", "NUMBER", "Maximum number of connections that wait for httpd.").
				Check(option.AtLeast(1))
	DaemonBacklog = option.Number("daemon-backlog", "100", "NUMBER", "Maximum number of requests that wait for a daemon process.").
			With(daemon("listen-backlog"))
	SendBufferSize = option.Number("send-buffer-size", "0", "BYTES", "Size of the socket buffer from daemon process to httpd; 0 means the system default.").
			Check(option.ZeroOr(512)).With(daemon("send-buffer-size"))
	ReceiveBufferSize = option.Number("receive-buffer-size", "0", "BYTES", "Size of the socket buffer from httpd to daemon process; 0 means the system default.").
				Check(option.ZeroOr(512)).With(daemon("receive-buffer-size"))
	HeaderBufferSize = option.Number("header-buffer-size", "0", "BYTES", "Maximum size of a response header; 0 means the module's default.").
				Check(option.ZeroOr(8192)).With(daemon("header-buffer-size"))
	ResponseBufferSize = option.Number("response-buffer-size", "0", "BYTES", "How much of a response is buffered; 0 means the module's default.").
				Check(option.ZeroOr(65536)).With(since("4.4.7"), daemon("response-buffer-size"))
)

// buffers is the size of queues and buffers.
var buffers = feature{
	options: option.NewGroup("Sizes",
		LimitRequestBody, ServerBacklog, DaemonBacklog, SendBufferSize, ReceiveBufferSize, HeaderBufferSize, ResponseBufferSize,
	),
	writes: map[slot]func(*writer){
		slotBacklog: func(w *writer) {
			w.add(conf.D("ListenBackLog", integer(ServerBacklog.In(w.i))).From(ServerBacklog))
		},
		slotBodies: func(w *writer) {
			w.add(conf.D("LimitRequestBody", integer(LimitRequestBody.In(w.i))).From(LimitRequestBody))
		},
	},
}
