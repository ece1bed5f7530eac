package config

import "modwsgi/express/option"

var (
	Host = option.Text("host", "", "ADDRESS", "Address or name to listen on; by default all addresses.").
		DefaultText("none (all interfaces)").Check(HostName)
	Port = option.Number("port", "8000", "NUMBER", "TCP port to listen on.").
		Check(option.Between(1, 65535))
	HTTP2      = option.Toggle("http2", "Speak HTTP/2 too; the httpd must have mod_http2.")
	ServerName = option.Text("server-name", "", "NAME", "The one host name that is answered; others get 403.").
			Check(HostName)
	ServerAlias = option.Texts("server-alias", "NAME", "A further name of the server; may hold * and ?.").
			Check(hostPattern)
	AllowLocalhost = option.Toggle("allow-localhost", "With a server name: answer requests that this machine makes itself under any name.")
)

var listeningGroup = option.NewGroup("Listening and names",
	Host, Port, HTTP2, ServerName, ServerAlias, AllowLocalhost,
)
