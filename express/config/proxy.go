package config

import "modwsgi/express/option"

var (
	ProxyMountPoint = option.Pairs("proxy-mount-point", "URL-PATH URL", "Pass requests below a path on to another server.").
			Alias("proxy-url-alias")
	ProxyVirtualHost = option.Pairs("proxy-virtual-host", "NAME URL", "Pass requests for a host name on to another server.")
	TrustProxyHeader = option.Texts("trust-proxy-header", "NAME", "Header of a proxy in front of us that is believed; needs --trust-proxy.").
				Check(oneWord).With(since("4.4.9"))
	TrustProxy = option.Texts("trust-proxy", "ADDRESS", "Address or network of a proxy in front of us.").
			Check(network).With(since("4.4.10"))
)

var proxiesGroup = option.NewGroup("Proxies",
	ProxyMountPoint, ProxyVirtualHost, TrustProxyHeader, TrustProxy,
)
