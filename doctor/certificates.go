package doctor

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"time"

	"modwsgi/internal/owned"
	"modwsgi/internal/run"
)

// exitCertificates is the exit code of the launcher's command certificates if one of them
// needs attention.
const exitCertificates = 4

// certificates has the launcher list the certificates that it keeps for this user.
func (e *exam) certificates(ctx context.Context) {
	if e.py == nil || e.receipt == nil || !e.System.Serves() {
		return
	}
	launcher := filepath.Join(e.py.Scripts, "mod_wsgi-express")
	if owned.Check(launcher) != nil {
		return // another user can change it, or it does not exist: other checks tell that
	}
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	out, err := e.Runner.Output(ctx, run.Cmd{Argv: []string{launcher, "certificates", "--json"}, Dir: "/", Env: e.Env})
	var failed *run.Error
	if err != nil && (!errors.As(err, &failed) || failed.ExitCode != exitCertificates) {
		return // a launcher of before this command, or no home directory
	}
	var list struct {
		Directory    string
		Certificates []struct {
			Names     []string
			Issued    bool
			Attention bool
			NotAfter  time.Time `json:"not_after"`
			LastError string    `json:"last_error"`
			Hint      string
			NextTry   time.Time `json:"next_try"`
		}
	}
	if json.Unmarshal(out, &list) != nil {
		return
	}
	good := 0
	for _, c := range list.Certificates {
		if !c.Attention {
			good++
			continue
		}
		what := "no authority has issued a certificate for " + strings.Join(c.Names, ", ")
		switch {
		case c.Issued && c.NotAfter.Before(time.Now()):
			what = fmt.Sprintf("the certificate for %s expired %s", strings.Join(c.Names, ", "), c.NotAfter.Format(time.DateOnly))
		case c.Issued:
			what = fmt.Sprintf("the certificate for %s is valid until %s, and was not renewed", strings.Join(c.Names, ", "), c.NotAfter.Format(time.DateOnly))
		}
		fix := c.Hint
		if c.LastError != "" {
			what += ": " + c.LastError
		} else {
			fix = "start the server that has --https-auto for it, or remove its directory below " + list.Directory
		}
		e.find(Warning, fix, "%s", what).because("state", "certificates", list.Directory)
	}
	if good > 0 {
		e.find(OK, "", "%d certificates are valid and renewed in time", good).because("state", "certificates", list.Directory)
	}
}
