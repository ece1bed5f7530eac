package express

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"path/filepath"
	"slices"
	"strings"
	"unicode"

	"modwsgi/express/config"
	"modwsgi/express/host"
	"modwsgi/express/option"
	"modwsgi/express/sources"
	"modwsgi/internal/fault"
)

// systemdWord quotes a value as one word of a unit's command line
// (systemd.service(5), systemd.unit(5)): % and $ are doubled.
func systemdWord(s string) (string, error) {
	if reason := config.NotUTF8(s); reason != "" {
		return "", fmt.Errorf("the value %q %s, which is not allowed in a unit", s, reason)
	}
	for _, r := range s {
		if unicode.IsControl(r) && r != '\t' {
			return "", fmt.Errorf("the value %q contains a control character, which is not allowed in a unit", s)
		}
	}
	s = strings.NewReplacer(`\`, `\\`, `"`, `\"`, "%", "%%", "$", "$$", "\t", `\t`).Replace(s)
	return `"` + s + `"`, nil
}

// systemdPath writes a path as the value of a setting.
func systemdPath(s string) string { return strings.ReplaceAll(s, "%", "%%") }

// hardening denies the service what no server needs.
const hardening = `NoNewPrivileges=yes
PrivateTmp=yes
PrivateDevices=yes
ProtectSystem=strict
ProtectHome=read-only
ProtectClock=yes
ProtectControlGroups=yes
ProtectHostname=yes
ProtectKernelLogs=yes
ProtectKernelModules=yes
ProtectKernelTunables=yes
RestrictAddressFamilies=AF_UNIX AF_INET AF_INET6
RestrictNamespaces=yes
RestrictRealtime=yes
RestrictSUIDSGID=yes
LockPersonality=yes
SystemCallArchitectures=native
UMask=0027
`

// unit is a systemd unit that serves a deployment.
type unit struct {
	*deployment

	name   string // without .service
	root   string // the server root
	asRoot bool   // httpd starts as root, for services of other users
}

// systemdUnit is the command systemd-unit. systemd starts the launcher as the right user,
// so nothing runs as root, except for services of other users.
func systemdUnit(ctx context.Context, c *Console, inv *Invocation, s *Server) (int, error) {
	if !host.Systemd {
		return 1, fault.New(fault.Usage, "", "systemd-unit is only for Linux")
	}
	if config.User.In(s) == "" {
		return exitUsage, option.Usage("the account that the application runs as", "systemd-unit needs --user")
	}
	if optSocketUnit.In(s) && optSocketActivation.In(s) {
		return exitUsage, option.Usage("print the service with --socket-activation, and its socket unit with --socket-unit", "--socket-unit and --socket-activation cannot be combined")
	}
	u := &unit{asRoot: len(config.ServiceUser.In(s))+len(config.ServiceGroup.In(s)) > 0}
	s.ForUnit = !u.asRoot
	var err error
	if u.deployment, err = resolve(ctx, c, inv, s); err != nil {
		return 1, err
	}
	u.name = "mod_wsgi-" + strings.NewReplacer(":", "-", "/", "-", " ", "-", "%", "-").Replace(u.Group)
	u.root = u.Root
	if config.ServerRoot.In(s) == "" {
		u.root = "/run/" + u.name
	}
	write := u.text
	if optSocketUnit.In(s) {
		write = u.socket
	}
	text, err := write()
	if err != nil {
		return 1, err
	}
	if !optSocketUnit.In(s) && len(config.Setenv.In(s)) > 0 && !u.fromFile(config.Setenv) {
		c.Warn("the unit contains the values of --setenv, and systemctl shows it to every user: keep secrets in a file that the application reads")
	}
	_, err = io.WriteString(c.Stdout, text)
	return 0, err
}

// text returns the unit.
func (u *unit) text() (string, error) {
	command, err := u.command()
	if err != nil {
		return "", option.Usage("", "%w", err)
	}
	launcher, err1 := systemdWord(u.Launcher)
	root, err2 := systemdWord(u.root)
	if err := errors.Join(err1, err2); err != nil {
		return "", err
	}
	var b strings.Builder
	fmt.Fprintf(&b, "# For /etc/systemd/system/%s.service\n[Unit]\nDescription=WSGI application at %s (mod_wsgi-express)\nAfter=network.target\n", u.name, strings.ReplaceAll(u.url(), "%", "%%"))
	also := ""
	if optSocketActivation.In(u) { // %N is the name under which this unit is saved
		b.WriteString("Requires=%N.socket\nAfter=%N.socket\n")
		also = "Also=%N.socket\n"
	}
	b.WriteString("\n[Service]\nType=notify\nNotifyAccess=main\n")
	fmt.Fprintf(&b, "ExecStart=%s\nExecReload=%s reload --server-root %s\nWorkingDirectory=%s\n", command, launcher, root, systemdPath(u.LaunchDir))
	u.writeAccount(&b)
	for _, name := range u.Credentials {
		fmt.Fprintf(&b, "LoadCredential=%s\n", strings.ReplaceAll(name, "%", "%%"))
	}
	u.writePaths(&b)
	fmt.Fprintf(&b, "KillMode=mixed\nTimeoutStopSec=%d\nRestart=on-failure\n", max(config.GracefulTimeout.In(u), 1)+config.ShutdownTimeout.In(u)+20)
	u.writeCapabilities(&b)
	fmt.Fprintf(&b, "%s\n[Install]\nWantedBy=multi-user.target\n%s", hardening, also)
	return b.String(), nil
}

// socket returns the socket unit. Its sockets have the options of those that httpd opens.
func (u *unit) socket() (string, error) {
	address := config.Unbracket(config.Host.In(u))
	if _, err := netip.ParseAddr(address); address != "" && err != nil {
		return "", option.Usage("give an address of this machine", "--socket-unit: systemd listens on addresses only, and --host is the name %s", address)
	}
	var b strings.Builder
	fmt.Fprintf(&b, "# For /etc/systemd/system/%s.socket\n[Unit]\nDescription=Sockets of the WSGI application at %s (mod_wsgi-express)\n\n[Socket]\n", u.name, strings.ReplaceAll(u.url(), "%", "%%"))
	for _, p := range servedPorts(u.Server) {
		fmt.Fprintf(&b, "ListenStream=%s\n", config.ListenAddress(address, p.port))
	}
	if address != "" {
		b.WriteString("# Also while this machine does not have the address yet:\nFreeBind=yes\n")
	}
	fmt.Fprintf(&b, "BindIPv6Only=both\nBacklog=%d\nKeepAlive=yes\nNoDelay=yes\n\n[Install]\nWantedBy=sockets.target\n", config.ServerBacklog.In(u))
	return b.String(), nil
}

func (u *unit) writeAccount(b *strings.Builder) {
	if u.asRoot {
		return
	}
	fmt.Fprintf(b, "User=%s\n", strings.TrimPrefix(config.User.In(u), "#"))
	if config.Group.In(u) != "" {
		fmt.Fprintf(b, "Group=%s\n", strings.TrimPrefix(config.Group.In(u), "#"))
	}
}

// writePaths writes the directories that the service creates or may write to.
func (u *unit) writePaths(b *strings.Builder) {
	if config.ServerRoot.In(u) == "" {
		fmt.Fprintf(b, "RuntimeDirectory=%s\nRuntimeDirectoryMode=%s\n", u.name, map[bool]string{false: "0700", true: "0711"}[u.asRoot])
	} else {
		fmt.Fprintf(b, "ReadWritePaths=%s\n", systemdPath(filepath.Dir(u.root)))
	}
	if a := u.ACME(); a != nil && config.ACMEState.In(u) == "" {
		fmt.Fprintf(b, "# For the certificates; they outlive the server root:\nStateDirectory=%s\nStateDirectoryMode=%s\n", u.name, map[bool]string{false: "0700", true: "0711"}[u.asRoot])
	} else if a != nil {
		fmt.Fprintf(b, "# For the certificates; it must exist, and belong to the user of this service:\nReadWritePaths=%s\n", systemdPath(a.State))
	}
	if config.LogDirectory.In(u) != "" {
		fmt.Fprintf(b, "ReadWritePaths=%s\n", systemdPath(u.Logs))
	}
	b.WriteString("# Directories that the application itself writes to:\n# ReadWritePaths=/var/lib/...\n")
}

func (u *unit) writeCapabilities(b *strings.Builder) {
	capabilities := ""
	switch {
	case u.asRoot:
		capabilities = "CAP_SETUID CAP_SETGID CAP_CHOWN CAP_KILL CAP_DAC_OVERRIDE CAP_FOWNER"
		if !optSocketActivation.In(u) {
			capabilities += " CAP_NET_BIND_SERVICE"
		}
	case optSocketActivation.In(u):
	case slices.ContainsFunc(servedPorts(u.Server), func(p servedPort) bool { return p.port < 1024 }):
		capabilities = "CAP_NET_BIND_SERVICE"
		fmt.Fprintf(b, "AmbientCapabilities=%s\n", capabilities)
	}
	fmt.Fprintf(b, "CapabilityBoundingSet=%s\n", capabilities)
}

// fromFile reports whether the value comes from the configuration file, which the service
// reads, too.
func (u *unit) fromFile(o option.Ref) bool {
	origin := u.Origin(o)
	return origin != "" && !strings.HasPrefix(origin, sources.Prefix)
}

// command returns the command line of the unit: the given options, except those that
// the unit itself sets.
func (u *unit) command() (string, error) {
	argv := []string{u.Launcher, "start-server"}
	switch {
	case u.ConfigFile != "":
		argv = append(argv, config.Config.Flag()+"="+u.ConfigFile)
	case u.ConfigNone:
		argv = append(argv, config.Config.Flag()+"=none")
	}
	for _, o := range config.Table().Options() {
		switch o {
		case config.ServerRoot.Option, config.WaitReady.Option, config.WorkingDirectory.Option, config.Config.Option:
			continue
		case config.User.Option, config.Group.Option:
			if !u.asRoot {
				continue
			}
		}
		if u.Given(o) && !u.fromFile(o) {
			argv = append(argv, u.Again(o)...)
		}
	}
	argv = append(argv, "--wait-ready", "--working-directory="+u.Work, "--server-root="+u.root)
	if config.LogDirectory.In(u) == "" && !config.LogToTerminal.In(u) {
		argv = append(argv, "--log-to-terminal")
	}
	for _, word := range u.Positional {
		if config.ApplicationType.In(u) == "static" || config.ApplicationType.In(u) != "module" {
			word = u.abs(word)
		}
		argv = append(argv, "--", word)
	}
	words := make([]string, len(argv))
	for k, a := range argv {
		var err error
		if words[k], err = systemdWord(a); err != nil {
			return "", err
		}
	}
	return strings.Join(words, " "), nil
}
