package express

// watchVerb is a verb that does nothing here: httpd's own first process watches the
// one that serves.
const watchVerb = "watch-httpd"

func (p *Program) startWatch(*launch) error             { return nil }
func (p *Program) watch(*launch, []string) (int, error) { return 0, nil }
