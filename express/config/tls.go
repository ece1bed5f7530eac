package config

import "modwsgi/express/option"

var (
	HTTPSPort = option.Number("https-port", "", "NUMBER", "TCP port for HTTPS.").
			Alias("ssl-port").Check(option.Between(1, 65535))
	SSLCertificateFile      = option.Text("ssl-certificate-file", "", "FILE", "The server's certificate.")
	SSLCertificateKeyFile   = option.Text("ssl-certificate-key-file", "", "FILE", "The certificate's key.")
	SSLCertificate          = option.Text("ssl-certificate", "", "STEM", "Both at once: STEM.crt and STEM.key.")
	SSLCACertificateFile    = option.Text("ssl-ca-certificate-file", "", "FILE", "Demand client certificates signed by these, for all names.")
	SSLVerifyClient         = option.Texts("ssl-verify-client", "URL-PATH", "Demand client certificates only here.")
	SSLCertificateChainFile = option.Text("ssl-certificate-chain-file", "", "FILE", "Intermediate certificates.")
	SSLEnvironment          = option.Toggle("ssl-environment", "Pass the TLS variables to the application.")
	HTTPSOnly               = option.Toggle("https-only", "Redirect plain HTTP to HTTPS, also for proxies.")
	HSTSPolicy              = option.Text("hsts-policy", "", "POLICY", "Value of the Strict-Transport-Security header.").
				Check(headerValue)
)

var httpsGroup = option.NewGroup("HTTPS",
	HTTPSPort, SSLCertificateFile, SSLCertificateKeyFile, SSLCertificate, SSLCACertificateFile, SSLVerifyClient,
	SSLCertificateChainFile, SSLEnvironment, HTTPSOnly, HSTSPolicy,
)
