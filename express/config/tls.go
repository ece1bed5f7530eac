package config

import (
	"fmt"
	"os"

	"modwsgi/express/acme"
	"modwsgi/express/conf"
	"modwsgi/express/host"
	"modwsgi/express/option"
	"modwsgi/internal/fault"
)

var (
	HTTPSPort = option.Number("https-port", "", "NUMBER", "TCP port for HTTPS.").
			Alias("ssl-port").Check(option.Between(1, 65535))
	SSLCertificateFile      = option.Text("ssl-certificate-file", "", "FILE", "The server's certificate.")
	SSLCertificateKeyFile   = option.Text("ssl-certificate-key-file", "", "FILE", "The certificate's key.")
	SSLCertificate          = option.Text("ssl-certificate", "", "STEM", "Certificate and key in one option: STEM.crt and STEM.key.")
	SSLCACertificateFile    = option.Text("ssl-ca-certificate-file", "", "FILE", "CA certificates that client certificates must be signed by, for all names.")
	SSLVerifyClient         = option.Texts("ssl-verify-client", "URL-PATH", "Require client certificates only at or below this path.")
	SSLCertificateChainFile = option.Text("ssl-certificate-chain-file", "", "FILE", "Intermediate certificates.")
	SSLEnvironment          = option.Toggle("ssl-environment", "Pass the TLS variables to the application.")
	HTTPSOnly               = option.Toggle("https-only", "Redirect plain HTTP to HTTPS, including proxied requests.")
	HSTSPolicy              = option.Text("hsts-policy", "", "POLICY", "Value of the Strict-Transport-Security header.").
				Check(headerValue)
)

// tls is HTTPS: certificates, and the use of plain HTTP in addition to it.
var tls = feature{
	options: option.NewGroup("HTTPS",
		HTTPSPort, SSLCertificateFile, SSLCertificateKeyFile, SSLCertificate, SSLCACertificateFile, SSLVerifyClient,
		SSLCertificateChainFile, SSLEnvironment, HTTPSOnly, HSTSPolicy,
	),
	warnings: func(s *Server) (list []string) {
		if SSLCACertificateFile.In(s) != "" && !HTTPSOnly.In(s) {
			list = append(list, fmt.Sprintf("--ssl-ca-certificate-file protects HTTPS only; port %d answers clients without a certificate (see --https-only)", Port.In(s)))
		}
		return list
	},
	check: (*Instance).checkTLS,
	private: func(i *Instance) []privateFile {
		cert, key := i.Certificate()
		list := []privateFile{{what: "the private key", path: key}, {what: "the certificate", path: cert}}
		return append(list, i.filesOf(SSLCACertificateFile, SSLCertificateChainFile)...)
	},
	defines: func(i *Instance) []define {
		return []define{
			{i.Given(HTTPSPort), "MOD_WSGI_WITH_HTTPS"},
			{HTTPSOnly.In(i), "MOD_WSGI_HTTPS_ONLY"},
			{SSLCertificateChainFile.In(i) != "", "MOD_WSGI_CERTIFICATE_CHAIN"},
			{SSLCACertificateFile.In(i) != "", "MOD_WSGI_VERIFY_CLIENT"},
			{SSLEnvironment.In(i), "MOD_WSGI_SSL_ENVIRONMENT"},
			{HSTSPolicy.In(i) != "", "MOD_WSGI_HSTS_POLICY"},
		}
	},
	modules: map[load]func(*Instance) []module{
		loadTLS: func(i *Instance) []module {
			return append(needs(i.Given(HTTPSPort), by(HTTPSPort), "ssl"), needs(HSTSPolicy.In(i) != "", by(HSTSPolicy), "headers")...)
		},
	},
}

// secureRedirect returns the directives of a virtual host for plain HTTP that only
// redirects to HTTPS. It returns nil for virtual hosts that serve requests.
func (w *writer) secureRedirect(scheme, name string) []conf.Node {
	if scheme != "http" || !w.onlySecure() {
		return nil
	}
	return w.redirect(Origin("https", name, HTTPSPort.In(w.i)), HTTPSOnly)
}

// localRedirect is the same for requests that originate on this machine. The page with
// httpd's status is not redirected.
func (w *writer) localRedirect(scheme string) []conf.Node {
	i := w.i
	if scheme != "http" || !w.onlySecure() {
		return nil
	}
	paths := "^/"
	if ServerStatus.In(i) {
		paths = "^/(?!server-status(?:/|$))"
	}
	return append(w.passNothing(HTTPSOnly), conf.S("LocationMatch", args(conf.Word(paths)),
		conf.D("Redirect", conf.Key("permanent"), word("/"), word(Origin("https", ServerName.In(i), HTTPSPort.In(i))+"/"))).From(HTTPSOnly))
}

// reachedAt returns the origin at which a host finally answers, and the options that
// determine it. It skips plain HTTP if that only redirects.
func (w *writer) reachedAt(scheme, name string) (origin string, by []conf.Origin) {
	i := w.i
	if scheme == "https" || w.onlySecure() {
		return Origin("https", name, HTTPSPort.In(i)), []conf.Origin{HTTPSOnly}
	}
	return Origin(scheme, name, Port.In(i)), []conf.Origin{HTTPSOnly}
}

// secured returns the additional directives of the server itself over HTTPS.
func (w *writer) secured() []conf.Node {
	body := w.hsts()
	if SSLEnvironment.In(w.i) {
		body = append(body, conf.D("SSLOptions", conf.Key("+StdEnvVars")).From(SSLEnvironment))
	}
	return body
}

// hsts returns the header that makes browsers use only HTTPS in the future.
func (w *writer) hsts() []conf.Node {
	if HSTSPolicy.In(w.i) == "" {
		return nil
	}
	return []conf.Node{conf.D("Header", conf.Key("always"), conf.Key("set"), conf.Key("Strict-Transport-Security"), word(headerText(HSTSPolicy.In(w.i)))).From(HSTSPolicy)}
}

// Certificate returns the paths of the server's certificate and its key.
func (i *Instance) Certificate() (cert, key string) {
	if a := i.ACME(); a != nil {
		return a.CurrentFile(acme.ChainFile), a.CurrentFile(acme.KeyFile)
	}
	if SSLCertificate.In(i) != "" {
		return i.fromLaunch(SSLCertificate.In(i) + ".crt"), i.fromLaunch(SSLCertificate.In(i) + ".key")
	}
	if SSLCertificateFile.In(i) != "" {
		cert = i.fromLaunch(SSLCertificateFile.In(i))
	}
	if SSLCertificateKeyFile.In(i) != "" {
		key = i.fromLaunch(SSLCertificateKeyFile.In(i))
	}
	return cert, key
}

// checkTLS reports TLS options that cannot take effect. A server that was meant to be
// encrypted must not start unencrypted.
func (i *Instance) checkTLS() error {
	bad := func(format string, args ...any) error { return option.Usage("", format, args...) }
	if !i.Given(HTTPSPort) {
		for _, o := range tlsOptions {
			if i.Given(o) {
				return bad("option %s needs --https-port", o)
			}
		}
		return nil
	}
	cert, key := i.Certificate()
	switch {
	case ServerName.In(i) == "":
		return bad("option --https-port needs --server-name")
	case cert == "" || key == "":
		return bad("option --https-port needs a certificate and its key (--ssl-certificate-file and --ssl-certificate-key-file, or --ssl-certificate)")
	case HTTPSPort.In(i) == Port.In(i):
		return bad("option --https-port: %d is already the port for HTTP", Port.In(i))
	case len(SSLVerifyClient.In(i)) > 0 && SSLCACertificateFile.In(i) == "":
		return bad("option --ssl-verify-client needs --ssl-ca-certificate-file")
	}
	files := []named{{SSLCertificateFile, cert}, {SSLCertificateKeyFile, key}}
	if i.ACME() != nil { // it is made before httpd starts
		files = nil
	}
	if SSLCertificate.In(i) != "" {
		files = []named{{SSLCertificate, cert}, {SSLCertificate, key}}
	}
	files = append(files, named{SSLCACertificateFile, SSLCACertificateFile.In(i)}, named{SSLCertificateChainFile, SSLCertificateChainFile.In(i)})
	for _, f := range files {
		if f.path == "" {
			continue
		}
		file, err := os.Open(i.fromLaunch(f.path))
		if err != nil {
			return fault.New(fault.Usage, "use a file in PEM format that the current user can read", "option %s: %w", f.option, err)
		}
		_ = file.Close()
	}
	return nil
}

// staples reports whether httpd can send proofs that a certificate is not revoked.
func (i *Instance) staples() bool { return Exists(i.moduleFile("socache_shmcb")) }

// tls returns the directives that each virtual host for HTTPS needs.
func (w *writer) tls() []conf.Node {
	i := w.i
	cert, key := i.Certificate()
	nodes := []conf.Node{
		conf.D("SSLEngine", conf.Key("On")).From(HTTPSPort),
		conf.D("SSLCertificateFile", word(cert)).From(SSLCertificateFile, SSLCertificate, HTTPSAuto),
		conf.D("SSLCertificateKeyFile", word(key)).From(SSLCertificateKeyFile, SSLCertificate, HTTPSAuto),
	}
	if a := i.ACME(); a != nil && i.staples() {
		nodes = append(nodes, conf.S("IfFile", args(word(host.Slashed(a.CurrentFile(acme.OCSPFile)))),
			conf.D("SSLUseStapling", conf.Key("On")),
			// A responder that is down must neither delay clients nor make them refuse the
			// certificate.
			conf.D("SSLStaplingResponderTimeout", integer(3)), conf.D("SSLStaplingReturnResponderErrors", conf.Key("Off")), conf.D("SSLStaplingFakeTryLater", conf.Key("Off")),
		).From(HTTPSAuto))
	}
	if SSLCertificateChainFile.In(i) != "" {
		nodes = append(nodes, conf.D("SSLCertificateChainFile", word(i.fromLaunch(SSLCertificateChainFile.In(i)))).From(SSLCertificateChainFile))
	}
	if SSLCACertificateFile.In(i) == "" {
		return nodes
	}
	nodes = append(nodes, conf.D("SSLCACertificateFile", word(i.fromLaunch(SSLCACertificateFile.In(i)))).From(SSLCACertificateFile))
	demand := conf.Key("require")
	if len(SSLVerifyClient.In(i)) > 0 {
		// Request certificates in the handshake. Requesting them later, for a path,
		// needs a feature of TLS 1.3 that most clients lack, or a renegotiation, which
		// HTTP/2 forbids. An invalid certificate ends the handshake, so any
		// certificate present has been verified, even in a resumed session.
		demand = "optional"
	}
	nodes = append(nodes, conf.D("SSLVerifyClient", demand).From(SSLCACertificateFile, SSLVerifyClient), conf.D("SSLVerifyDepth", integer(1)).From(SSLCACertificateFile))
	for _, url := range SSLVerifyClient.In(i) {
		// In a section that httpd applies last, so that no Require overrides it.
		without := conf.S("If", args(word("%{SSL_CLIENT_VERIFY} != 'SUCCESS'")), conf.D("Require", conf.Key("all"), conf.Key("denied")))
		nodes = append(nodes, location(url, without).From(SSLVerifyClient))
	}
	return nodes
}

// tlsOptions are the options that have no effect without --https-port.
var tlsOptions = []option.Ref{
	SSLCertificateFile, SSLCertificateKeyFile, SSLCertificate, SSLCACertificateFile, SSLVerifyClient,
	SSLCertificateChainFile, SSLEnvironment, HTTPSOnly, HSTSPolicy,
}
