package express

import (
	"fmt"
	"strings"

	"modwsgi/express/instance"
)

// checkEnvironment is checkInherited for what httpd will get, and warns of what a
// script wants it to have and it does not get.
func (p *Program) checkEnvironment(i *resolved) error {
	for _, kv := range i.variables {
		if name, _, _ := strings.Cut(kv, "="); instance.IsKeptAway(name) {
			p.warn("option --envvars-script: " + name + " is kept away from httpd, which runs the Python of " + i.in.Home)
		}
	}
	return instance.CheckInherited(i.launch().Environ(p.Env))
}

// startAgain is what is checked before a server root that was made earlier is
// started, or its httpd loads the module again: in the meantime the environment may
// have got another Python.
func (p *Program) startAgain(l *instance.Launch) error {
	// Without an environment around us httpd itself reports what is missing.
	if in, err := p.install(); err == nil {
		if err := in.Fits(); err != nil {
			return err
		}
	}
	return instance.CheckInherited(l.Environ(p.Env))
}

// nameInherited tells whoever starts httpd by the control script what it gets.
func (p *Program) nameInherited(l *instance.Launch) {
	for _, kv := range instance.Inherited(l.Environ(p.Env)) {
		fmt.Fprintf(p.Stdout, "httpd gets %s\n", kv)
	}
}
