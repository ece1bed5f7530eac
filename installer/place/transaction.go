package place

import (
	"modwsgi/internal/flock"
	"modwsgi/internal/owned"
)

// Locked is an environment that nobody else can change.
type Locked struct {
	anchor string // resolved
	given  string // as the caller named it
	dir    *owned.Dir
	lock   *flock.Lock
	active *Transaction
}

// Transaction is a change that was made and can be rolled back.
type Transaction struct {
	locked *Locked
	scope  *scope
	dir    string // the hidden directory in the anchor
	j      journal
}

// failpoint is called between all steps where the process could be killed.
var failpoint = func(string) {}
