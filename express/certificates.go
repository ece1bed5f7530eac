package express

import (
	"context"
	"encoding/json"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"modwsgi/express/acme"
	"modwsgi/express/config"
	"modwsgi/express/host"
	"modwsgi/internal/fault"
	"modwsgi/internal/run"
)

// exitCertificates is the exit code of the command certificates if a certificate needs
// attention.
const exitCertificates = 4

// soon is the time before the end of a certificate that was not renewed from which on it
// needs attention.
const soon = 7 * 24 * time.Hour

// listedCertificate is one certificate as the command certificates prints it.
type listedCertificate struct {
	*acme.Status
	Attention bool `json:"attention"` // it is missing, expired or about to be, or was not renewed
}

// certificates is the command certificates: it lists what --https-auto keeps, without a
// running server. doctor uses it.
func certificates(_ context.Context, c *Console, inv *Invocation, s *Server) (int, error) {
	dir := inv.abs(config.ACMEState.In(s))
	if dir == "" {
		dir = acme.DefaultState(func(name string) string { return run.Getenv(inv.Env, name) }, host.AsRoot())
	}
	if dir == "" {
		return 1, fault.New(fault.Usage, "name the directory with --acme-state-directory", "this user has no home directory, where certificates would be")
	}
	dirs := []string{filepath.Clean(dir)}
	if host.AsRoot() && config.ACMEState.In(s) == "" { // those of units, which have a StateDirectory=
		units, _ := filepath.Glob("/var/lib/*/acme")
		for _, d := range units {
			if !slices.Contains(dirs, d) {
				dirs = append(dirs, d)
			}
		}
	}
	var list []*acme.Status
	for _, d := range dirs {
		more, err := acme.List(d)
		if err != nil && d == dirs[0] {
			return 1, err
		}
		list = append(list, more...) // one that another user can change is not trusted
	}
	now, code := time.Now(), 0
	all := []listedCertificate{}
	for _, status := range list {
		one := listedCertificate{status, status.LastError != "" || !status.Issued || status.NotAfter.Sub(now) < soon && status.Renewal.Before(now)}
		if one.Attention {
			code = exitCertificates
		}
		all = append(all, one)
	}
	if optAsJSON.In(s) {
		return code, json.NewEncoder(c.Stdout).Encode(map[string]any{"directory": dir, "certificates": all})
	}
	if len(all) == 0 {
		c.Printf("no certificates in %s\n", dir)
		return 0, nil
	}
	table := tabwriter.NewWriter(c.Stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "NAMES\tVALID UNTIL\tRENEWAL\tAUTHORITY")
	for _, one := range all {
		until, renewal := "none yet", "-"
		if one.Issued {
			until, renewal = one.NotAfter.Format(time.DateTime), one.Renewal.Format(time.DateTime)
		}
		fmt.Fprintf(table, "%s\t%s\t%s\t%s\n", strings.Join(one.Names, ", "), until, renewal, one.Authority)
	}
	if err := table.Flush(); err != nil {
		return 1, err
	}
	for _, one := range all {
		if one.LastError != "" {
			c.Printf("\n%s: %s, %s\n", one.Names[0], one.Failed.Format(time.DateTime), one.LastError)
			if one.Hint != "" {
				c.Printf("  what to do: %s\n", one.Hint)
			}
			how := ", or at a reload"
			if one.Limited {
				how = ", as the authority demands"
			}
			c.Printf("  next try: %s%s\n", one.NextTry.Format(time.DateTime), how)
		}
	}
	return code, nil
}
