package express

import "modwsgi/express/instance"

// watchVerb is a verb that does nothing here: httpd's own first process watches the
// one that serves.
const watchVerb = "watch-httpd"

func (p *Program) startWatch(*instance.Launch) error             { return nil }
func (p *Program) watch(*instance.Launch, []string) (int, error) { return 0, nil }
