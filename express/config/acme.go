package config

import (
	"fmt"
	"net/netip"
	"net/url"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"modwsgi/express/acme"
	"modwsgi/express/conf"
	"modwsgi/express/host"
	"modwsgi/express/option"
	"modwsgi/internal/fault"
	"modwsgi/internal/run"
)

var (
	HTTPSAuto = option.Texts("https-auto", "NAME", "Obtain a certificate for this name from an authority (ACME), and renew it; implies --server-name, --server-alias, --https-only and the ports 80 and 443. Agrees to the authority's terms.").
			Check(certificateNames).With(unixOnly, own)
	ACMEEmail = option.Text("acme-email", "", "ADDRESS", "E-mail address for the account at the authority.").
			Check(mailAddress).With(unixOnly, own)
	ACMEDirectory = option.Text("acme-directory", "", "URL", "ACME directory of the authority.").
			DefaultText("that of Let's Encrypt").Check(directoryURL).With(unixOnly, own)
	ACMEStaging   = option.Toggle("acme-staging", "Use the authority that Let's Encrypt has for trials; browsers do not trust its certificates.").With(unixOnly, own)
	ACMECA        = option.Text("acme-ca", "", "FILE", "Certificates that the authority's own must be signed by.").DefaultText("those that this machine trusts").With(unixOnly, own)
	ACMEAccount   = option.Text("acme-external-account", "", "FILE", "File with the key identifier and the key that the authority gave for the account.").With(unixOnly, own)
	ACMEChallenge = option.Text("acme-challenge", acme.HTTP01, "WHICH", "How the authority checks the names: http-01 (port 80), tls-alpn-01 (port 443) or dns-01.").
			Among(true, acme.HTTP01, acme.TLSALPN01, acme.DNS01).With(unixOnly, own)
	ACMECommand = option.Text("acme-dns-command", "", "PROGRAM", "Program for dns-01, run as PROGRAM setup NAME TEXT and PROGRAM teardown NAME TEXT.").With(unixOnly, own)
	ACMEState   = option.Text("acme-state-directory", "", "DIRECTORY", "Directory for the certificates and the account.").
			DefaultText("/var/lib/mod_wsgi-express/acme, or below ~/.local/state").With(unixOnly, own)
)

// automatic is HTTPS with certificates that are obtained and renewed. mod_handover answers
// the authority, and the process that supervises httpd does the rest, so httpd.conf has
// only the paths.
var automatic = feature{
	options: option.NewGroup("Automatic HTTPS",
		HTTPSAuto, ACMEEmail, ACMEDirectory, ACMEStaging, ACMECA, ACMEAccount, ACMEChallenge, ACMECommand, ACMEState,
	),
	imply:     func(s *Server) { ImplyHTTPS(s) },
	conflicts: checkACME,
	useless: func(s *Server) []useless {
		return []useless{{len(HTTPSAuto.In(s)) == 0, "without --https-auto", by(ACMEEmail, ACMEDirectory, ACMEStaging, ACMECA, ACMEAccount, ACMEChallenge, ACMECommand, ACMEState)}}
	},
	warnings: func(s *Server) (list []string) {
		if names := HTTPSAuto.In(s); len(names) > 0 && ACMEChallenge.In(s) == acme.HTTP01 && Port.In(s) != 80 {
			list = append(list, fmt.Sprintf("the authority asks at port 80 of %s, which must lead to port %d of this server", names[0], Port.In(s)))
		}
		if names := HTTPSAuto.In(s); len(names) > 0 && ACMEChallenge.In(s) == acme.TLSALPN01 && HTTPSPort.In(s) != 443 {
			list = append(list, fmt.Sprintf("the authority asks at port 443 of %s, which must lead to port %d of this server", names[0], HTTPSPort.In(s)))
		}
		return list
	},
	files: func(i *Instance) []named { return []named{{ACMECA, ACMECA.In(i)}, {ACMEAccount, ACMEAccount.In(i)}} },
	check: (*Instance).checkAuthority,
	modules: map[load]func(*Instance) []module{
		loadTLS: func(i *Instance) []module {
			return needs(len(HTTPSAuto.In(i)) > 0 && i.staples(), by(HTTPSAuto), "socache_shmcb")
		},
	},
	writes: map[slot]func(*writer){
		slotHosts: func(w *writer) {
			if a := w.i.ACME(); a != nil && w.i.staples() {
				w.add(conf.D("SSLStaplingCache", word("shmcb:"+host.Slashed(filepath.Join(w.i.Root, "stapling"))+"(65536)")).From(HTTPSAuto))
			}
		},
	},
	private: func(i *Instance) []privateFile {
		return i.filesOf(ACMECA, ACMEAccount)
	},
}

var (
	dnsName     = regexp.MustCompile(`^(\*\.)?([a-z0-9]([a-z0-9_-]{0,61}[a-z0-9])?\.)*[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$`)
	mailWord    = regexp.MustCompile(`^[^@\s<>,;:]+@[A-Za-z0-9.-]+$`)
	nameDivider = regexp.MustCompile(`[,\s]+`)
)

func certificateNames(v string) error {
	for _, name := range nameDivider.Split(strings.TrimSpace(v), -1) {
		name = strings.ToLower(strings.TrimSuffix(name, "."))
		if _, err := netip.ParseAddr(Unbracket(name)); err == nil {
			return fmt.Errorf("%q is an address; certificates are for names", name)
		}
		if !dnsName.MatchString(name) || len(name) > 253 {
			return fmt.Errorf("%q is not a host name; write one with other letters in its ASCII form (xn--...)", name)
		}
	}
	return nil
}

func mailAddress(v string) error {
	if !mailWord.MatchString(v) {
		return fmt.Errorf("%q is not an e-mail address", v)
	}
	return nil
}

func directoryURL(v string) error {
	u, err := url.Parse(v)
	if err != nil || u.Scheme != "https" || u.Host == "" {
		return fmt.Errorf("%q is not the URL of an ACME directory, such as %s", v, acme.LetsEncrypt)
	}
	return nil
}

// ImplyHTTPS sets what --https-auto implies. Calling it again changes nothing.
func ImplyHTTPS(s *Server) {
	if len(HTTPSAuto.In(s)) == 0 {
		return
	}
	var names []string
	for _, v := range HTTPSAuto.In(s) {
		for _, name := range nameDivider.Split(strings.TrimSpace(v), -1) {
			if name = strings.ToLower(strings.TrimSuffix(name, ".")); !slices.Contains(names, name) {
				names = append(names, name)
			}
		}
	}
	HTTPSAuto.Set(s, names)
	ACMEChallenge.Set(s, strings.ToLower(ACMEChallenge.In(s)))
	if ServerName.In(s) == "" && !strings.HasPrefix(names[0], "*") {
		ServerName.Imply(s, names[0], HTTPSAuto)
	}
	known := func(name string) bool {
		return strings.EqualFold(name, ServerName.In(s)) || strings.EqualFold(name, parentDomain(ServerName.In(s))) ||
			slices.ContainsFunc(ServerAlias.In(s), func(a string) bool { return strings.EqualFold(a, name) }) ||
			slices.ContainsFunc(ProxyVirtualHost.In(s), func(p [2]string) bool { return strings.EqualFold(p[0], name) })
	}
	for _, name := range names {
		if !known(name) {
			ServerAlias.Imply(s, append(slices.Clone(ServerAlias.In(s)), name), HTTPSAuto)
		}
	}
	if !s.Given(HTTPSPort) {
		HTTPSPort.Imply(s, 443, HTTPSAuto)
	}
	if !s.Given(Port) {
		Port.Imply(s, 80, HTTPSAuto)
	}
	if !HTTPSOnly.In(s) {
		HTTPSOnly.Imply(s, true, HTTPSAuto)
	}
}

// checkACME reports options that contradict --https-auto.
func checkACME(s *Server) error {
	names := HTTPSAuto.In(s)
	if len(names) == 0 {
		return nil
	}
	bad := func(format string, args ...any) error { return option.Usage("", format, args...) }
	for _, o := range []option.Ref{SSLCertificate, SSLCertificateFile, SSLCertificateKeyFile, SSLCertificateChainFile} {
		if s.Given(o) {
			return bad("option --https-auto obtains a certificate, and option %s names one: omit one of them", o)
		}
	}
	switch challenge := ACMEChallenge.In(s); {
	case DebugMode.In(s):
		return bad("option --https-auto does not work with --debug-mode or the options that imply it")
	case ServerName.In(s) == "":
		return bad("option --https-auto: %s is a pattern, so --server-name is needed too", names[0])
	case ACMEStaging.In(s) && s.Given(ACMEDirectory):
		return bad("options --acme-staging and --acme-directory both name an authority: omit one of them")
	case challenge == acme.DNS01 && ACMECommand.In(s) == "":
		return bad("option --acme-challenge dns-01 needs --acme-dns-command")
	case challenge != acme.DNS01 && s.Given(ACMECommand):
		return bad("option --acme-dns-command needs --acme-challenge dns-01")
	case challenge != acme.DNS01 && slices.ContainsFunc(names, func(n string) bool { return strings.HasPrefix(n, "*") }):
		return bad("option --https-auto: an authority issues certificates for *.NAME only with --acme-challenge dns-01")
	}
	return nil
}

// checkAuthority checks the files of --https-auto.
func (i *Instance) checkAuthority() error {
	a := i.ACME()
	if a == nil {
		return nil
	}
	if a.State == "" {
		return option.Usage("", "option --https-auto: this user has no home directory for the certificates: name one with --acme-state-directory")
	}
	if a.Command != "" {
		if _, err := run.LookPath(a.Command, i.Env); err != nil {
			return fault.New(fault.Usage, "name the path of a program", "option --acme-dns-command: %w", err)
		}
	}
	if a.External != "" {
		if err := acme.CheckBinding(a.External); err != nil {
			return fault.Wrap(fault.Usage, "", err)
		}
	}
	return nil
}

// ACME returns the settings of --https-auto, nil without it.
func (i *Instance) ACME() *acme.Settings {
	if len(HTTPSAuto.In(i)) == 0 {
		return nil
	}
	file := func(o option.Handle[string]) string {
		if o.In(i) == "" {
			return ""
		}
		return i.fromLaunch(o.In(i))
	}
	command := ACMECommand.In(i)
	if strings.Contains(command, "/") {
		command = file(ACMECommand)
	} else if command != "" { // like a command of a shell
		if found, err := run.LookPath(command, i.Env); err == nil {
			command = found
		}
	}
	a := &acme.Settings{
		Names: HTTPSAuto.In(i), Directory: ACMEDirectory.In(i), Email: ACMEEmail.In(i), Challenge: ACMEChallenge.In(i), Port: Port.In(i),
		CA: file(ACMECA), External: file(ACMEAccount), Command: command, State: file(ACMEState),
	}
	if a.Directory == "" {
		a.Directory = acme.LetsEncrypt
		if ACMEStaging.In(i) {
			a.Directory = acme.LetsEncryptStaging
		}
	}
	if a.Challenge == acme.TLSALPN01 {
		a.Port = HTTPSPort.In(i)
	}
	if a.State == "" {
		a.State = acme.DefaultState(func(name string) string { return run.Getenv(i.Env, name) }, host.AsRoot())
	}
	if a.State != "" {
		a.State = filepath.Clean(a.State)
	}
	return a
}

// onceIssued returns sections of which one applies: when the authority has issued the
// certificate, and until then. httpd reads that at each start.
func (w *writer) onceIssued(write func(w *writer) []conf.Node) []conf.Node {
	a := w.i.ACME()
	if a == nil {
		return write(w)
	}
	file := host.Slashed(a.CurrentFile(acme.IssuedFile))
	section := func(file conf.Arg, issued bool) conf.Node {
		now := *w
		now.unissued = !issued
		return conf.S("IfFile", args(file), write(&now)...).From(HTTPSAuto)
	}
	return []conf.Node{section(word(file), true), section(conf.Not(file), false)}
}

// onlySecure reports whether plain HTTP is redirected.
func (w *writer) onlySecure() bool { return HTTPSOnly.In(w.i) && !w.unissued }
