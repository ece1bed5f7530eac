package express

import (
	"context"
	"fmt"
	"io"
	"path/filepath"
	"strings"
	"unicode"

	"modwsgi/express/config"
	"modwsgi/express/host"
	"modwsgi/internal/fault"
)

// systemdWord writes a value as one word of a unit's command line
// (systemd.service(5), systemd.unit(5)): % and $ are doubled.
func systemdWord(s string) (string, error) {
	if reason := config.NotUTF8(s); reason != "" {
		return "", fmt.Errorf("the value %q %s, which a unit cannot carry", s, reason)
	}
	for _, r := range s {
		if unicode.IsControl(r) && r != '\t' {
			return "", fmt.Errorf("the value %q holds a control character, which a unit cannot carry", s)
		}
	}
	s = strings.NewReplacer(`\`, `\\`, `"`, `\"`, "%", "%%", "$", "$$", "\t", `\t`).Replace(s)
	return `"` + s + `"`, nil
}

// systemdPath writes a path as the value of a setting.
func systemdPath(s string) string { return strings.ReplaceAll(s, "%", "%%") }

// hardening are the settings that take from the service what no server needs.
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

// systemdUnit prints a unit for an instance. systemd makes it the right user, so
// that nothing runs as root; only services of other users need root.
func systemdUnit(ctx context.Context, p *Program, c *parsed) (int, error) {
	s := c.server
	if !host.Systemd {
		return 1, fault.New(fault.Usage, "", "systemd-unit is only for Linux")
	}
	if config.User.In(s) == "" {
		return exitUsage, usage("systemd-unit", "the account that the application runs as", "systemd-unit needs --user")
	}
	asRoot := len(config.ServiceUser.In(s))+len(config.ServiceGroup.In(s)) > 0
	s.ForUnit = !asRoot
	i, err := p.resolve(ctx, s)
	if err != nil {
		return 1, err
	}
	name := "mod_wsgi-" + strings.NewReplacer(":", "-", "/", "-", " ", "-", "%", "-").Replace(i.Group)
	root := i.Root
	if config.ServerRoot.In(s) == "" {
		root = "/run/" + name
	}
	command, err := p.unitCommand(i, root, asRoot)
	if err != nil {
		return 1, usage("systemd-unit", "", "%w", err)
	}
	launcher, err := systemdWord(i.Launcher)
	if err != nil {
		return 1, err
	}
	rootWord, err := systemdWord(root)
	if err != nil {
		return 1, err
	}
	var b strings.Builder
	fmt.Fprintf(&b, "# For /etc/systemd/system/%s.service\n[Unit]\nDescription=WSGI application at %s (mod_wsgi-express)\nAfter=network.target\n\n[Service]\nType=notify\nNotifyAccess=main\n", name, strings.ReplaceAll(i.url(), "%", "%%"))
	fmt.Fprintf(&b, "ExecStart=%s\nExecReload=%s reload --server-root %s\nWorkingDirectory=%s\n", command, launcher, rootWord, systemdPath(i.LaunchDir))
	if !asRoot {
		fmt.Fprintf(&b, "User=%s\n", strings.TrimPrefix(config.User.In(s), "#"))
		if config.Group.In(s) != "" {
			fmt.Fprintf(&b, "Group=%s\n", strings.TrimPrefix(config.Group.In(s), "#"))
		}
	}
	if config.ServerRoot.In(s) == "" {
		fmt.Fprintf(&b, "RuntimeDirectory=%s\nRuntimeDirectoryMode=%s\n", name, map[bool]string{false: "0700", true: "0711"}[asRoot])
	} else {
		fmt.Fprintf(&b, "ReadWritePaths=%s\n", systemdPath(filepath.Dir(root)))
	}
	if config.LogDirectory.In(s) != "" {
		fmt.Fprintf(&b, "ReadWritePaths=%s\n", systemdPath(i.Logs))
	}
	b.WriteString("# What the application itself writes to:\n# ReadWritePaths=/var/lib/...\n")
	fmt.Fprintf(&b, "KillMode=mixed\nTimeoutStopSec=%d\nRestart=on-failure\n", max(config.GracefulTimeout.In(i), 1)+config.ShutdownTimeout.In(i)+20)
	capabilities := ""
	switch {
	case asRoot:
		capabilities = "CAP_SETUID CAP_SETGID CAP_CHOWN CAP_KILL CAP_DAC_OVERRIDE CAP_FOWNER CAP_NET_BIND_SERVICE"
	case config.Port.In(s) < 1024 || s.Given(config.HTTPSPort) && config.HTTPSPort.In(s) < 1024:
		capabilities = "CAP_NET_BIND_SERVICE"
		fmt.Fprintf(&b, "AmbientCapabilities=%s\n", capabilities)
	}
	fmt.Fprintf(&b, "CapabilityBoundingSet=%s\n%s\n[Install]\nWantedBy=multi-user.target\n", capabilities, hardening)
	if len(config.Setenv.In(s)) > 0 {
		p.warn("the values of --setenv stand in the unit, which systemctl shows to everybody: keep secrets in a file that the application reads")
	}
	_, err = io.WriteString(p.Stdout, b.String())
	return 0, err
}

// unitCommand is the command line of the unit: what we were given, with what
// belongs to the unit changed.
func (p *Program) unitCommand(i *resolved, root string, asRoot bool) (string, error) {
	argv := []string{i.Launcher, "start-server"}
	for _, o := range config.Table().Options() {
		switch o {
		case config.ServerRoot.Option, config.WaitReady.Option, config.WorkingDirectory.Option:
			continue
		case config.User.Option, config.Group.Option:
			if !asRoot {
				continue
			}
		}
		if i.Given(o) {
			argv = append(argv, i.Again(o)...)
		}
	}
	argv = append(argv, "--wait-ready", "--working-directory="+i.Work, "--server-root="+root)
	if config.LogDirectory.In(i) == "" && !config.LogToTerminal.In(i) {
		argv = append(argv, "--log-to-terminal")
	}
	for _, word := range i.Positional {
		if config.ApplicationType.In(i) == "static" || config.ApplicationType.In(i) != "module" {
			word = p.abs(word)
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
