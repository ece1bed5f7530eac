package express

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"

	"modwsgi/express/conf"
	"modwsgi/express/config"
	"modwsgi/express/host"
	"modwsgi/express/option"
	"modwsgi/express/site"
	"modwsgi/internal/fault"
	"modwsgi/internal/owned"
	"modwsgi/internal/receipt"
)

// Files of other users, as root.
//
// httpd's first process stays root, and so is the launcher. A program that they
// run, a module that they load and a configuration that they obey must not be one
// that another user can change, for that user would be root. What only the
// application's processes read or run is that account's own business: the entry
// point, scripts for access, handlers and services, packages, documents, .htaccess.
//
// root has trusted one other account already: whoever owns the launcher that root
// runs, as in "sudo /home/alice/venv/bin/mod_wsgi-express". The environment's own
// programs are used then, with a warning, and so are other files of that account:
// to refuse them would protect nothing. An image whose files all belong to the
// application's account works that way.

// role is what root does with a file.
type role string

const (
	executed role = "executed" // run as a program, or loaded by httpd's first process
	obeyed   role = "obeyed"   // httpd's language: it can load modules and start programs
	sourced  role = "sourced"  // read by a shell
	created  role = "created"  // a directory in which httpd's first process makes files, by name
	data     role = "data"     // only read
)

// relied is a file that root relies on.
type relied struct {
	By   string `json:"by,omitempty"` // what names it, as "option --include-file"; "" for the environment
	Path string `json:"path"`
	Role role   `json:"role"`
}

// refusals are what is done about a file that another user than root and the owner
// of the launcher can change: how the refusal reads, and what to do. Without an
// entry there is a warning.
var refusals = map[role]struct{ verb, hint string }{
	executed: {"run", "use one that only root can change: chown root, or install it for root"},
	obeyed:   {"obey", "give it to root (chown root, chmod go-w), or copy it to a directory that only root can write to, such as /etc"},
	sourced:  {"run", "keep it where only root can write"},
	created:  {"write in", "choose a directory that only root can write to, such as one below /run" + inContainers},
}

// inContainers ends hints about directories.
const inContainers = "; in a container that nobody else uses, name the directory in " + owned.TrustedVariable

// reliedFiles is the table: every file that root relies on, and how. Modules are
// added when the configuration names them (loaded).
func (i *instance) reliedFiles() []relied {
	var files []relied
	add := func(by string, r role, paths ...string) {
		for _, path := range paths {
			if path != "" && path != os.DevNull {
				files = append(files, relied{by, path, r})
			}
		}
	}
	given := func(o option.Ref, r role, paths ...string) {
		by := "option " + o.Flag()
		if !i.Given(o) {
			by = ""
		}
		add(by, r, paths...)
	}
	add(i.HTTPDBy, executed, i.HTTPD)
	given(config.ModulesDirectory, executed, i.ModulesDir)
	given(config.RotatelogsExecutable, executed, i.Rotatelogs)
	add("option "+config.GDBExecutable.Flag(), executed, i.GDB)
	if i.printed {
		return files // who runs the rest is somebody else
	}
	for _, name := range config.IncludeFile.In(i) {
		add("option "+config.IncludeFile.Flag(), obeyed, included(i.FromLaunch(name))...)
	}
	if config.RewriteRules.In(i) != "" {
		add("option "+config.RewriteRules.Flag(), obeyed, i.RewriteRules())
	}
	if config.SocketPrefix.In(i) != "" {
		// In a directory such as /tmp others cannot replace what is root's.
		add("option "+config.SocketPrefix.Flag(), created, filepath.Join(i.SocketDir, "wsgi.sock"))
	}
	given(config.MIMETypes, data, i.MIME)
	if i.Given(config.HTTPSPort) {
		cert, key := i.Certificate()
		add("the certificate", data, cert)
		add("the certificate's key", data, key)
		for _, o := range []option.Handle[string]{config.SSLCACertificateFile, config.SSLCertificateChainFile} {
			if file := o.In(i); file != "" {
				given(o, data, i.FromLaunch(file))
			}
		}
	}
	return files
}

// environmentFiles are those of the environment, which no option names.
func environmentFiles(in *site.Environment) []relied {
	files := []relied{{Path: in.Launcher, Role: executed}, {Path: filepath.Join(in.Packages, filepath.FromSlash(receipt.Path)), Role: executed}}
	files = append(files, relied{Path: in.Module, Role: executed})
	if lib := in.SharedPython(); lib != "" {
		files = append(files, relied{Path: lib, Role: executed})
	}
	return files
}

// loaded are the modules and libraries that a configuration loads.
func (i *instance) loaded(file *conf.File) []relied {
	var files []relied
	for _, n := range file.Nodes {
		d, ok := n.(*conf.Directive)
		if !ok || d.Name != "LoadModule" && d.Name != "LoadFile" {
			continue
		}
		path, ok := d.Args[len(d.Args)-1].(conf.Word)
		if !ok {
			continue
		}
		by := ""
		if i.Given(config.ModulesDirectory) && filepath.Dir(string(path)) == i.ModulesDir {
			by = "option " + config.ModulesDirectory.Flag()
		}
		files = append(files, relied{by, string(path), executed})
	}
	return files
}

// trustFiles refuses, as root, what another user could become root by, and warns
// of the rest.
func (p *Program) trustFiles(files []relied) error {
	if !host.AsRoot() {
		return nil
	}
	friend := p.friend()
	warned := map[string]bool{}
	var environment []string
	for _, f := range files {
		err := owned.Check(f.Path)
		var u *owned.Untrusted
		if !errors.As(err, &u) {
			continue // what is missing is reported elsewhere
		}
		if f.By == "" {
			if !warned[u.At] {
				environment = append(environment, changeable(f.Path, u))
			}
			warned[u.At] = true
			continue
		}
		refusal, refuse := refusals[f.Role]
		if refuse && friend != 0 && (f.Role == executed || f.Role == obeyed) {
			err := owned.CheckFor(f.Path, friend)
			refuse = errors.As(err, &u)
		}
		if refuse {
			return fault.New(fault.Environment, refusal.hint, "%s: root would %s %s, and another user can change %s", f.By, refusal.verb, f.Path, changeable(f.Path, u))
		}
		p.warn(f.By + ": another user can change " + changeable(f.Path, u))
	}
	for _, e := range environment {
		p.warn("root runs programs of an environment that another user can change, and be root by that: " + e)
	}
	return nil
}

// friend is the account that root has trusted already, because the launcher that
// root runs belongs to it; 0 for none.
func (p *Program) friend() int {
	var u *owned.Untrusted
	if errors.As(owned.Check(p.Executable), &u) && u.Owner > 0 && owned.CheckFor(p.Executable, u.Owner) == nil {
		return u.Owner
	}
	return 0
}

// changeable says what somebody else can change, and why.
func changeable(path string, u *owned.Untrusted) string {
	if u.At == path {
		return fmt.Sprintf("%s (%s)", path, u.Why)
	}
	return fmt.Sprintf("%s (%s: %s)", path, u.At, u.Why)
}

// trustLaunch checks what a server root says about how its httpd is started, before
// any of it is run.
func (p *Program) trustLaunch(l *launch) error {
	if err := p.trustFiles(l.programs()); err != nil {
		return err
	}
	moment("programs checked")
	return nil
}

// trustConfiguration checks that, and what httpd reads when it starts or restarts.
func (p *Program) trustConfiguration(l *launch) error {
	f, err := l.dir.Open(confFile)
	if err != nil {
		return fault.New(fault.Environment, "run setup-server again", "the configuration of %s: %w", l.Root, err)
	}
	_ = f.Close()
	if err := p.trustFiles(append(slices.Clone(l.Files), l.programs()...)); err != nil {
		return err
	}
	if len(l.Includes) > 0 { // they may have changed since
		if _, err := writeHosts(l.dir, l.Root, l.includedPaths()); err != nil {
			return fault.Wrap(fault.Environment, "", err)
		}
	}
	moment("programs checked")
	return nil
}

// programs are what is run for a server root. Those of one that an older version
// has written are not in its list.
func (l *launch) programs() []relied {
	files := slices.DeleteFunc(slices.Clone(l.Files), func(f relied) bool { return f.Path != l.HTTPD && f.Path != l.GDB })
	for _, path := range []string{l.HTTPD, l.GDB} {
		if path != "" && !slices.ContainsFunc(files, func(f relied) bool { return f.Path == path }) {
			files = append(files, relied{"the server root " + l.Root, path, executed})
		}
	}
	return files
}

// moment is called at the moments between a check and what it is for; tests
// exchange files there.
var moment = func(string) {}
