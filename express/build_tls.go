package express

import (
	"os"
	"strconv"
	"strings"

	"modwsgi/express/conf"
	"modwsgi/internal/fault"
)

// certificate returns the files of the server's certificate and its key.
func (i *instance) certificate() (cert, key string) {
	if i.Certificate != "" {
		return i.fromLaunch(i.Certificate + ".crt"), i.fromLaunch(i.Certificate + ".key")
	}
	if i.CertificateFile != "" {
		cert = i.fromLaunch(i.CertificateFile)
	}
	if i.CertificateKeyFile != "" {
		key = i.fromLaunch(i.CertificateKeyFile)
	}
	return cert, key
}

// tlsOptions are those that mean nothing without --https-port.
var tlsOptions = []*Option{
	optSSLCertificateFile, optSSLCertificateKeyFile, optSSLCertificate, optSSLCACertificateFile, optSSLVerifyClient,
	optSSLCertificateChainFile, optSSLEnvironment, optHTTPSOnly, optHSTSPolicy,
}

// checkTLS reports TLS options that cannot take effect: a server that was meant
// to be encrypted must not start unencrypted.
func (i *instance) checkTLS() error {
	bad := func(format string, args ...any) error { return usage("start-server", "", format, args...) }
	if !i.Given(optHTTPSPort) {
		for _, o := range tlsOptions {
			if i.Given(o) {
				return bad("option %s needs --https-port", o)
			}
		}
		return nil
	}
	cert, key := i.certificate()
	switch {
	case i.ServerName == "":
		return bad("option --https-port needs --server-name")
	case cert == "" || key == "":
		return bad("option --https-port needs a certificate and its key (--ssl-certificate-file and --ssl-certificate-key-file, or --ssl-certificate)")
	case i.HTTPSPort == i.Port:
		return bad("option --https-port: %d is the port for HTTP", i.Port)
	case len(i.VerifyClient) > 0 && i.CACertificateFile == "":
		return bad("option --ssl-verify-client needs --ssl-ca-certificate-file")
	}
	files := []named{{optSSLCertificateFile, cert}, {optSSLCertificateKeyFile, key}}
	if i.Certificate != "" {
		files = []named{{optSSLCertificate, cert}, {optSSLCertificate, key}}
	}
	files = append(files, named{optSSLCACertificateFile, i.CACertificateFile}, named{optSSLCertificateChainFile, i.CertificateChainFile})
	for _, f := range files {
		if f.path == "" {
			continue
		}
		file, err := os.Open(i.fromLaunch(f.path))
		if err != nil {
			return fault.New(fault.Usage, "give a file in PEM format that this user can read", "option %s: %w", f.option, err)
		}
		_ = file.Close()
	}
	return nil
}

// tls are the directives that each virtual host for HTTPS needs.
func (b *builder) tls() []conf.Node {
	i := b.i
	cert, key := i.certificate()
	nodes := []conf.Node{
		conf.D("SSLEngine", conf.Key("On")).From(optHTTPSPort),
		conf.D("SSLCertificateFile", word(cert)).From(optSSLCertificateFile, optSSLCertificate),
		conf.D("SSLCertificateKeyFile", word(key)).From(optSSLCertificateKeyFile, optSSLCertificate),
	}
	if i.CertificateChainFile != "" {
		nodes = append(nodes, conf.D("SSLCertificateChainFile", word(i.fromLaunch(i.CertificateChainFile))).From(optSSLCertificateChainFile))
	}
	if i.CACertificateFile == "" {
		return nodes
	}
	nodes = append(nodes, conf.D("SSLCACertificateFile", word(i.fromLaunch(i.CACertificateFile))).From(optSSLCACertificateFile))
	demand := conf.Key("require")
	if len(i.VerifyClient) > 0 {
		// Asked for in the handshake: to ask later, for a path, needs a feature of
		// TLS 1.3 that most clients lack, or a renegotiation, which HTTP/2 forbids. A
		// certificate that is not valid ends the handshake, so each one that is there
		// has been verified, in a session that is resumed, too.
		demand = "optional"
	}
	nodes = append(nodes, conf.D("SSLVerifyClient", demand).From(optSSLCACertificateFile, optSSLVerifyClient), conf.D("SSLVerifyDepth", integer(1)).From(optSSLCACertificateFile))
	for _, url := range i.VerifyClient {
		// In a section that httpd applies last, so that no Require replaces it.
		without := conf.S("If", args(word("%{SSL_CLIENT_VERIFY} != 'SUCCESS'")), conf.D("Require", conf.Key("all"), conf.Key("denied")))
		nodes = append(nodes, location(url, without).From(optSSLVerifyClient))
	}
	return nodes
}

// parentDomain is what www. stands before, or "".
func parentDomain(name string) string {
	if len(name) > 4 && strings.EqualFold(name[:4], "www.") {
		return name[4:]
	}
	return ""
}

// origin is a URL without a path; the scheme's own port is left out.
func origin(scheme, name string, port int) string {
	if strings.Contains(name, ":") {
		name = "[" + unbracket(name) + "]"
	}
	if scheme == "http" && port == 80 || scheme == "https" && port == 443 {
		return scheme + "://" + name
	}
	return scheme + "://" + name + ":" + strconv.Itoa(port)
}
