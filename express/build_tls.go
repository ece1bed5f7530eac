package express

import (
	"os"
	"strconv"
	"strings"

	"modwsgi/express/conf"
	"modwsgi/express/config"
	"modwsgi/express/option"
	"modwsgi/internal/fault"
)

// certificate returns the files of the server's certificate and its key.
func (i *instance) certificate() (cert, key string) {
	if config.SSLCertificate.In(i) != "" {
		return i.fromLaunch(config.SSLCertificate.In(i) + ".crt"), i.fromLaunch(config.SSLCertificate.In(i) + ".key")
	}
	if config.SSLCertificateFile.In(i) != "" {
		cert = i.fromLaunch(config.SSLCertificateFile.In(i))
	}
	if config.SSLCertificateKeyFile.In(i) != "" {
		key = i.fromLaunch(config.SSLCertificateKeyFile.In(i))
	}
	return cert, key
}

// tlsOptions are those that mean nothing without --https-port.
var tlsOptions = []option.Ref{
	config.SSLCertificateFile, config.SSLCertificateKeyFile, config.SSLCertificate, config.SSLCACertificateFile, config.SSLVerifyClient,
	config.SSLCertificateChainFile, config.SSLEnvironment, config.HTTPSOnly, config.HSTSPolicy,
}

// checkTLS reports TLS options that cannot take effect: a server that was meant
// to be encrypted must not start unencrypted.
func (i *instance) checkTLS() error {
	bad := func(format string, args ...any) error { return usage("start-server", "", format, args...) }
	if !i.Given(config.HTTPSPort) {
		for _, o := range tlsOptions {
			if i.Given(o) {
				return bad("option %s needs --https-port", o)
			}
		}
		return nil
	}
	cert, key := i.certificate()
	switch {
	case config.ServerName.In(i) == "":
		return bad("option --https-port needs --server-name")
	case cert == "" || key == "":
		return bad("option --https-port needs a certificate and its key (--ssl-certificate-file and --ssl-certificate-key-file, or --ssl-certificate)")
	case config.HTTPSPort.In(i) == config.Port.In(i):
		return bad("option --https-port: %d is the port for HTTP", config.Port.In(i))
	case len(config.SSLVerifyClient.In(i)) > 0 && config.SSLCACertificateFile.In(i) == "":
		return bad("option --ssl-verify-client needs --ssl-ca-certificate-file")
	}
	files := []named{{config.SSLCertificateFile, cert}, {config.SSLCertificateKeyFile, key}}
	if config.SSLCertificate.In(i) != "" {
		files = []named{{config.SSLCertificate, cert}, {config.SSLCertificate, key}}
	}
	files = append(files, named{config.SSLCACertificateFile, config.SSLCACertificateFile.In(i)}, named{config.SSLCertificateChainFile, config.SSLCertificateChainFile.In(i)})
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
		conf.D("SSLEngine", conf.Key("On")).From(config.HTTPSPort),
		conf.D("SSLCertificateFile", word(cert)).From(config.SSLCertificateFile, config.SSLCertificate),
		conf.D("SSLCertificateKeyFile", word(key)).From(config.SSLCertificateKeyFile, config.SSLCertificate),
	}
	if config.SSLCertificateChainFile.In(i) != "" {
		nodes = append(nodes, conf.D("SSLCertificateChainFile", word(i.fromLaunch(config.SSLCertificateChainFile.In(i)))).From(config.SSLCertificateChainFile))
	}
	if config.SSLCACertificateFile.In(i) == "" {
		return nodes
	}
	nodes = append(nodes, conf.D("SSLCACertificateFile", word(i.fromLaunch(config.SSLCACertificateFile.In(i)))).From(config.SSLCACertificateFile))
	demand := conf.Key("require")
	if len(config.SSLVerifyClient.In(i)) > 0 {
		// Asked for in the handshake: to ask later, for a path, needs a feature of
		// TLS 1.3 that most clients lack, or a renegotiation, which HTTP/2 forbids. A
		// certificate that is not valid ends the handshake, so each one that is there
		// has been verified, in a session that is resumed, too.
		demand = "optional"
	}
	nodes = append(nodes, conf.D("SSLVerifyClient", demand).From(config.SSLCACertificateFile, config.SSLVerifyClient), conf.D("SSLVerifyDepth", integer(1)).From(config.SSLCACertificateFile))
	for _, url := range config.SSLVerifyClient.In(i) {
		// In a section that httpd applies last, so that no Require replaces it.
		without := conf.S("If", args(word("%{SSL_CLIENT_VERIFY} != 'SUCCESS'")), conf.D("Require", conf.Key("all"), conf.Key("denied")))
		nodes = append(nodes, location(url, without).From(config.SSLVerifyClient))
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
