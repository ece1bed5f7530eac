package config

import (
	"slices"
	"strings"
	"testing"

	"modwsgi/express/acme"
	"modwsgi/express/option"
)

// automaticServer is a server with these options, as far as they can be understood.
func automaticServer(args ...string) (*Server, error) {
	line, err := option.Parse("mod_wsgi-express", &option.Command{Table: Table()}, args)
	if err != nil {
		return nil, err
	}
	s := &Server{Values: line.Values}
	ImplyHTTPS(s)
	ImplyHTTPS(s) // changes nothing
	return s, checkACME(s)
}

// TestImpliedByAutomaticHTTPS: names and ports follow from --https-auto, unless other
// options give them.
func TestImpliedByAutomaticHTTPS(t *testing.T) {
	for _, c := range []struct {
		args                string
		names               string
		name, alias         string
		port, secure        int
		authority, checksBy string
	}{
		{"--https-auto a.example", "a.example", "a.example", "", 80, 443, "Let's Encrypt", "http-01"},
		{"--https-auto A.Example. --https-auto b.example,c.example --https-auto a.example", "a.example b.example c.example", "a.example", "b.example c.example", 80, 443, "Let's Encrypt", "http-01"},
		{"--https-auto www.a.example,a.example", "www.a.example a.example", "www.a.example", "", 80, 443, "Let's Encrypt", "http-01"}, // the parent's host redirects
		{"--https-auto a.example --server-name b.example --server-alias A.example", "a.example", "b.example", "A.example", 80, 443, "Let's Encrypt", "http-01"},
		{"--https-auto a.example --port 8000 --https-port 8443 --acme-staging", "a.example", "a.example", "", 8000, 8443, "Let's Encrypt (staging)", "http-01"},
		{"--https-auto *.a.example --server-name www.a.example --acme-challenge DNS-01 --acme-dns-command /bin/x --acme-directory https://ca.example:9000/acme/dir", "*.a.example", "www.a.example", "*.a.example", 80, 443, "ca.example:9000", "dns-01"},
		{"--https-auto a.example,p.example --proxy-virtual-host p.example http://127.0.0.1:1", "a.example p.example", "a.example", "", 80, 443, "Let's Encrypt", "http-01"},
	} {
		s, err := automaticServer(strings.Fields(c.args)...)
		if err != nil {
			t.Errorf("%s: %v", c.args, err)
			continue
		}
		a := (&Instance{Server: s, LaunchDir: "/w", Env: []string{"HOME=/home/x"}}).ACME()
		if got := strings.Join(HTTPSAuto.In(s), " "); got != c.names || ServerName.In(s) != c.name || strings.Join(ServerAlias.In(s), " ") != c.alias {
			t.Errorf("%s: names %q, server %q, aliases %q", c.args, got, ServerName.In(s), ServerAlias.In(s))
		}
		if Port.In(s) != c.port || HTTPSPort.In(s) != c.secure || !HTTPSOnly.In(s) || !s.Given(HTTPSPort) || !s.Given(ServerName) {
			t.Errorf("%s: ports %d and %d", c.args, Port.In(s), HTTPSPort.In(s))
		}
		if a.Authority() != c.authority || a.Challenge != c.checksBy || !slices.Equal(a.Names, HTTPSAuto.In(s)) {
			t.Errorf("%s: %+v", c.args, a)
		}
	}
	if s, err := automaticServer("--acme-email", "a@example.org"); err != nil || s.Given(HTTPSPort) || Port.In(s) != 8000 {
		t.Errorf("without --https-auto: %v", err)
	}
}

// TestRefusedAutomaticHTTPS: what cannot work is refused before anything is started.
func TestRefusedAutomaticHTTPS(t *testing.T) {
	for _, c := range []struct{ args, want string }{
		{"--https-auto 192.0.2.1", "is an address"},
		{"--https-auto [::1]", "is an address"},
		{"--https-auto bücher.example", "xn--"},
		{"--https-auto a..example", "is not a host name"},
		{"--https-auto http://a.example/", "is not a host name"},
		{"--https-auto a.*.example", "is not a host name"},
		{"--https-auto *.a.example", "--server-name is needed too"},
		{"--https-auto *.a.example --server-name a.example", "only with --acme-challenge dns-01"},
		{"--https-auto a.example --acme-challenge dns-01", "needs --acme-dns-command"},
		{"--https-auto a.example --acme-dns-command /bin/x", "needs --acme-challenge dns-01"},
		{"--https-auto a.example --acme-challenge dns-02", "http-01"},
		{"--https-auto a.example --ssl-certificate x", "--ssl-certificate names one"},
		{"--https-auto a.example --ssl-certificate-file x", "--ssl-certificate-file names one"},
		{"--https-auto a.example --debug-mode", "--debug-mode"},
		{"--https-auto a.example --acme-staging --acme-directory https://ca.example/dir", "omit one of them"},
		{"--https-auto a.example --acme-directory http://ca.example/dir", "is not the URL of an ACME directory"},
		{"--https-auto a.example --acme-directory ca.example", "is not the URL of an ACME directory"},
		{"--https-auto a.example --acme-email someone", "is not an e-mail address"},
	} {
		if _, err := automaticServer(strings.Fields(c.args)...); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: want %q: %v", c.args, c.want, err)
		}
	}
}

// TestDefaultState: where certificates are kept unless an option tells it.
func TestDefaultState(t *testing.T) {
	for _, c := range []struct {
		env  map[string]string
		root bool
		want string
	}{
		{nil, true, "/var/lib/mod_wsgi-express/acme"},
		{map[string]string{"STATE_DIRECTORY": "/var/lib/shop:/var/lib/other"}, true, "/var/lib/shop/acme"},
		{map[string]string{"HOME": "/home/x"}, false, "/home/x/.local/state/mod_wsgi-express/acme"},
		{map[string]string{"HOME": "/home/x", "XDG_STATE_HOME": "/state"}, false, "/state/mod_wsgi-express/acme"},
		{map[string]string{"HOME": "x"}, false, ""},
	} {
		if got := acme.DefaultState(func(name string) string { return c.env[name] }, c.root); got != c.want {
			t.Errorf("%v: %q, want %q", c.env, got, c.want)
		}
	}
}
