package config

import "modwsgi/express/option"

var (
	CompressResponses = option.Toggle("compress-responses", "Compress textual responses for clients that can take them.")
	EnableSendfile    = option.Toggle("enable-sendfile", "Send files with the system's sendfile call.")
	TraceEnable       = option.Text("trace-enable", "off", "WHEN", "Answer TRACE requests, which echo a request with its cookies: on, off or extended (also with a body).").
				Among(true, "on", "off", "extended")
	AllowConnect = option.Toggle("allow-connect", "Let CONNECT requests reach the application; without it they are refused.")
)

var httpGroup = option.NewGroup("HTTP",
	CompressResponses, EnableSendfile, TraceEnable, AllowConnect,
)
