package express

import (
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"maps"
	"os"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"time"

	"modwsgi/express/config"
	"modwsgi/express/discover"
	"modwsgi/express/host"
	"modwsgi/express/localca"
	"modwsgi/express/option"
	"modwsgi/internal/distro"
	"modwsgi/internal/fault"
	"modwsgi/internal/quote"
	"modwsgi/internal/run"
)

// served is a project that serve serves, and what its user sees.
type served struct {
	c     *Console
	inv   *Invocation
	s     *Server
	found *discover.Found
	app   *discover.Application
	notes []string
	trust []string // lines about the authority of --https

	said    bool   // the address was printed
	failure string // why the application does not load, as it was printed last
}

const (
	developmentHost  = "127.0.0.1"
	developmentHTTPS = 8443
	mostPorts        = 100 // that are tried
)

// defaults sets the options that are not given.
func (p *served) defaults() error {
	s := p.s
	if s.Given(config.HTTPSAuto) {
		return option.Usage("use start-server, or --https for this machine only; --config none ignores the configuration file",
			"option %s is for a public server, and serve is for development", config.HTTPSAuto)
	}
	giveOnce(s, config.Host, developmentHost)
	if s.Given(config.ServerName) {
		giveOnce(s, config.AllowLocalhost, true)
	}
	if err := p.freePort(config.Port, config.Port.In(s)); err != nil {
		return err
	}
	if host.Unix {
		if !s.Given(config.LogDirectory) {
			giveOnce(s, config.LogToTerminal, true)
		}
		if !config.DebugMode.In(s) && !config.EmbeddedMode.In(s) && !config.DisableReloading.In(s) {
			giveOnce(s, config.ReloadOnChanges, true)
			giveOnce(s, config.WaitReady, true)
			giveOnce(s, config.StartupTimeout, 0) // a process whose application does not load waits for a change
		}
	}
	giveOnce(s, config.AccessLog, true)
	if !optHTTPS.In(s) {
		return nil
	}
	for _, o := range []option.Ref{config.SSLCertificate, config.SSLCertificateFile, config.SSLCertificateKeyFile} {
		if s.Given(o) {
			return option.Usage("omit one of them", "option --https makes a certificate, and %s names one", o)
		}
	}
	if name := config.ServerName.In(s); s.Given(config.ServerName) && name != "localhost" {
		return option.Usage("omit --server-name, or pass a certificate for it", "option --https makes a certificate for localhost, not for %s", name)
	}
	giveOnce(s, config.ServerName, "localhost")
	giveOnce(s, config.AllowLocalhost, true)
	giveOnce(s, config.HTTPSOnly, true)
	return p.freePort(config.HTTPSPort, developmentHTTPS)
}

// freePort chooses a port, unless one is given: the usual one, or the next that is free.
func (p *served) freePort(o option.Handle[int], first int) error {
	if p.s.Given(o) {
		return nil
	}
	var taken error
	for port := first; port < first+mostPorts; port++ {
		if o.Row() != config.Port.Row() && port == config.Port.In(p.s) {
			continue
		}
		err := host.CheckPort(config.Host.In(p.s), port, o.Flag())
		if err == nil {
			o.Give(p.s, port)
			if taken != nil {
				p.notes = append(p.notes, taken.Error()+", so the port is "+strconv.Itoa(port))
			}
			return nil
		}
		if taken == nil {
			taken = err
		}
	}
	return taken
}

// secure makes the certificate for --https.
func (p *served) secure() error {
	if !optHTTPS.In(p.s) {
		return nil
	}
	dir, err := localca.Directory(p.inv.Env)
	if err != nil {
		return err
	}
	made, err := localca.Localhost(dir, time.Now())
	if err != nil {
		return err
	}
	config.SSLCertificateFile.Give(p.s, made.File)
	config.SSLCertificateKeyFile.Give(p.s, made.File)
	if made.WhyNewOne != "" {
		p.notes = append(p.notes, "the local certificate authority is new, because "+made.WhyNewOne)
	}
	if !trusted(made.Root) {
		p.trust = []string{
			"Browsers warn until this system trusts your private authority, which is for localhost only:",
			"    " + localca.TrustCommand(runtime.GOOS, distro.Family(), made.Root),
			"For curl: --cacert " + run.Quote(made.Root),
		}
	}
	return nil
}

// trusted reports whether this system trusts an authority.
func trusted(file string) bool {
	data, err := os.ReadFile(file)
	if err != nil {
		return false
	}
	block, _ := pem.Decode(data)
	if block == nil {
		return false
	}
	cert, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		return false
	}
	pool, err := x509.SystemCertPool()
	if err != nil {
		return false
	}
	_, err = cert.Verify(x509.VerifyOptions{Roots: pool, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageAny}})
	return err == nil
}

// look chooses the form of what is shown: for people on a terminal, JSON elsewhere.
func (p *served) look() {
	if !host.IsTerminal(p.c.Stdout) {
		config.JSON.Set(p.s, true)
	}
	if !config.LogToTerminal.In(p.s) {
		return
	}
	for o, stream := range map[option.Ref]*os.File{config.AccessLogFormat: p.c.Stdout, config.ErrorLogFormat: p.c.Stderr} {
		format := "json"
		if host.IsTerminal(stream) {
			format = "terminal"
		}
		handle := option.Handle[string]{Option: o.Row()}
		giveOnce(p.s, handle, format)
	}
}

// begins prints what is about to be served.
func (p *served) begins(d *deployment) error {
	if config.JSON.In(p.s) {
		for _, note := range p.notes {
			p.c.Note(note)
		}
		if len(p.trust) > 0 {
			p.c.Note(strings.Join(p.trust, "\n"))
		}
		if err := json.NewEncoder(p.c.Stdout).Encode(map[string]any{"event": "application", "application": p.app}); err != nil {
			return err
		}
		return d.jsonBanner(p.c.Stdout)
	}
	_, err := io.WriteString(p.c.Stdout, p.summary())
	return err
}

// summary describes the application and why it is the one.
func (p *served) summary() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s, in %s\n", p.app.Name, p.app.Directory)
	for _, why := range append(slices.Clone(p.app.Why), p.notes...) {
		fmt.Fprintf(&b, "  - %s\n", why)
	}
	return b.String()
}

// address returns the URL to open.
func (p *served) address(d *deployment) string {
	if d.Given(config.HTTPSPort) {
		return d.secureURL()
	}
	if name := d.name(); name == "0.0.0.0" || name == "::" {
		return d.atMount(config.Origin("http", "localhost", config.Port.In(d)))
	}
	return d.mountURL()
}

// loads tells that the application is ready, or why it is not.
func (p *served) loads(d *deployment, failure string) {
	if config.JSON.In(p.s) {
		event := map[string]any{"event": "ready", "url": p.address(d)}
		if failure != "" {
			event = map[string]any{"event": "failed", "error": failure}
		}
		_ = json.NewEncoder(p.c.Stdout).Encode(event)
		return
	}
	switch {
	case failure != "" && failure != p.failure:
		p.c.Fail(fault.New(fault.Environment, "correct it: the server waits for the change, and loads the application again", "the application does not load: %s", failure))
	case failure == "" && p.said && p.failure != "":
		p.c.Printf("%s  ready again: %s\n", time.Now().Format(time.TimeOnly), p.address(d))
	case failure == "" && !p.said:
		p.said = true
		p.c.Printf("\n  Ready: %s\n", p.address(d))
		if config.ReloadOnChanges.In(p.s) {
			p.c.Printf("  Changes of its Python files take effect within seconds. Ctrl-C ends the server.\n")
		}
		for _, line := range p.trust {
			p.c.Printf("  %s\n", line)
		}
		p.c.Printf("\n")
	}
	p.failure = failure
}

// command returns the equivalent command line of start-server. What configuration files
// and variables set stays there.
func (p *served) command() []string {
	words := []string{p.program(), "start-server"}
	words = append(words, p.s.Positional...)
	for _, o := range config.Table().Options() {
		if p.s.Given(o) && p.s.Origin(o) == "" && o != config.JSON.Row() && o != config.EntryPoint.Row() {
			words = append(words, p.s.Again(o)...)
		}
	}
	if p.s.ConfigFile != "" && p.inv.projectDirectory(nil) != p.found.Directory && !p.s.Given(config.Config) {
		words = append(words, config.Config.Flag()+"="+p.s.ConfigFile)
	}
	return words
}

func (p *served) program() string {
	if python, err := p.inv.python(); err == nil {
		return python.Launcher
	}
	return p.inv.Executable
}

// explanation is what --explain prints.
func (p *served) explanation() string {
	var b strings.Builder
	b.WriteString(p.summary())
	b.WriteString("\nIt is served like this:\n\n")
	for _, name := range slices.Sorted(maps.Keys(p.app.Environment)) {
		fmt.Fprintf(&b, "    %s=%s \\\n", name, quote.Shell(p.app.Environment[name]))
	}
	words := p.command()
	fmt.Fprintf(&b, "    %s", shellWords(words[:min(len(words), 2+len(p.s.Positional))]))
	for _, word := range words[min(len(words), 2+len(p.s.Positional)):] {
		if strings.HasPrefix(word, "--") {
			b.WriteString(" \\\n       ")
		}
		b.WriteString(" " + quote.Shell(word))
	}
	b.WriteString("\n")
	if optHTTPS.In(p.s) {
		b.WriteString("\nThe certificate of --https is made when the server starts.\n")
	}
	if len(p.found.Passed) > 0 {
		b.WriteString("\nPassed over:\n")
		for _, passed := range p.found.Passed {
			fmt.Fprintf(&b, "  - %s: %s\n", passed.File, passed.Why)
		}
	}
	return b.String()
}

// explainJSON prints the explanation as one JSON object.
func explainJSON(w io.Writer, found *discover.Found, app *discover.Application, command []string) error {
	return json.NewEncoder(w).Encode(struct {
		*discover.Found

		Chosen  *discover.Application `json:"chosen"`
		Command []string              `json:"command,omitempty"`
	}{found, app, command})
}
