package detect

import (
	"modwsgi/internal/owned"
	"modwsgi/internal/run"
)

// accountFor is for systems with a root user.
func (*Disk) accountFor(...string) (*run.Account, *owned.Untrusted) { return nil, nil }
