package instance

import (
	"errors"
	"fmt"
	"slices"

	"modwsgi/express/host"
	"modwsgi/internal/fault"
	"modwsgi/internal/owned"
)

// As root: files of other users.
//
// httpd's first process stays root, and so does the launcher. Another user who can
// change a program that they run, a module that they load or a configuration that they
// obey could become root. What only the application's processes read or run is up to
// that account: the entry point, scripts for access, handlers and services, packages,
// documents, .htaccess.
//
// root has already trusted one other account: the owner of the launcher that root runs,
// as in "sudo /home/alice/venv/bin/mod_wsgi-express". The environment's own programs
// are used then, with a warning, and so are other files of that account: refusing them
// would protect nothing. An image whose files all belong to the application's account
// works that way.

// Role is how root uses a file.
type Role string

const (
	Executed Role = "executed" // run as a program, or loaded by httpd's first process
	Obeyed   Role = "obeyed"   // httpd configuration, which can load modules and start programs
	Sourced  Role = "sourced"  // read by a shell
	Created  Role = "created"  // a directory in which httpd's first process creates files by name
	Data     Role = "data"     // only read
)

// Relied is a file that root relies on.
type Relied struct {
	By   string `json:"by,omitempty"` // what names it, as "option --include-file"; "" for the environment
	Path string `json:"path"`
	Role Role   `json:"role"`
}

// refusals are the refusals of files that a user other than root and the owner of the
// launcher can change: the verb of the message, and the hint. A role without an entry
// only causes a warning.
var refusals = map[Role]struct{ verb, hint string }{
	Executed: {"run", "use one that only root can change: chown root, or install it for root"},
	Obeyed:   {"obey", "give it to root (chown root, chmod go-w), or copy it to a directory that only root can write to, such as /etc"},
	Sourced:  {"run", "keep it where only root can write"},
	Created:  {"write in", "choose a directory that only root can write to, such as one below /run" + inContainers},
}

// inContainers ends hints about directories.
const inContainers = "; in a container that nobody else uses, name the directory in " + owned.TrustedVariable

// Trust decides about the files that root relies on.
type Trust struct {
	Launcher string       // path of the program that root runs
	Warn     func(string) // receives warnings about files that are used anyway
}

// Files refuses, as root, files through which another user could become root, and warns
// about the rest.
func (t *Trust) Files(files []Relied) error {
	if !host.AsRoot() {
		return nil
	}
	friend := t.friend()
	warned := map[string]bool{}
	var environment []string
	for _, f := range files {
		err := owned.Check(f.Path)
		var u *owned.Untrusted
		if !errors.As(err, &u) {
			continue // missing files are reported elsewhere
		}
		if f.By == "" {
			if !warned[u.At] {
				environment = append(environment, changeable(f.Path, u))
			}
			warned[u.At] = true
			continue
		}
		refusal, refuse := refusals[f.Role]
		if refuse && friend != 0 && (f.Role == Executed || f.Role == Obeyed) {
			err := owned.CheckFor(f.Path, friend)
			refuse = errors.As(err, &u)
		}
		if refuse {
			return fault.New(fault.Environment, refusal.hint, "%s: root would %s %s, and another user can change %s", f.By, refusal.verb, f.Path, changeable(f.Path, u))
		}
		t.Warn(f.By + ": another user can change " + changeable(f.Path, u))
	}
	for _, e := range environment {
		t.Warn("root runs programs of an environment that another user can change to become root: " + e)
	}
	return nil
}

// Settings refuses a file with settings of this user that another user can change. The
// owner of the launcher is trusted, as everybody who runs it trusts that account.
func (t *Trust) Settings(path string) error {
	err := owned.Check(path)
	if owned.IsUntrusted(err) {
		if friend := t.friend(); friend != 0 {
			err = owned.CheckFor(path, friend)
		}
	}
	return err
}

// friend is the account that root already trusts, because it owns the launcher that
// root runs; 0 for none.
func (t *Trust) friend() int {
	var u *owned.Untrusted
	if errors.As(owned.Check(t.Launcher), &u) && u.Owner > 0 && owned.CheckFor(t.Launcher, u.Owner) == nil {
		return u.Owner
	}
	return 0
}

// changeable describes what another user can change, and why.
func changeable(path string, u *owned.Untrusted) string {
	if u.At == path {
		return fmt.Sprintf("%s (%s)", path, u.Why)
	}
	return fmt.Sprintf("%s (%s: %s)", path, u.At, u.Why)
}

// Launch checks what a server root records about starting its httpd, before any of it
// is run.
func (t *Trust) Launch(l *Launch) error {
	if err := t.Files(l.programs()); err != nil {
		return err
	}
	Moment("programs checked")
	return nil
}

// Configuration checks the same, and what httpd reads when it starts or restarts.
func (t *Trust) Configuration(l *Launch) error {
	f, err := l.Handle.Open(ConfFile)
	if err != nil {
		return fault.New(fault.Environment, "run setup-server again", "the configuration of %s: %w", l.Root, err)
	}
	_ = f.Close()
	if err := t.Files(append(slices.Clone(l.Files), l.programs()...)); err != nil {
		return err
	}
	if len(l.Includes) > 0 { // they may have changed since
		if _, err := WriteHosts(l.Handle, l.Root, l.IncludedPaths()); err != nil {
			return fault.Wrap(fault.Environment, "", err)
		}
	}
	Moment("programs checked")
	return nil
}

// Moment is called between a check and the use of what was checked; tests replace files
// there.
var Moment = func(string) {}
