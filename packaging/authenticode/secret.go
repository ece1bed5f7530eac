package authenticode

import (
	"path/filepath"

	"modwsgi/internal/fault"
	"modwsgi/internal/owned"
	"modwsgi/internal/scratch"
)

// maxSecret is the maximum size in bytes of a file used for signing.
const maxSecret = 1 << 20

// readFiles refuses a key or a passphrase that other users can read, and a certificate
// that they can change. The tool opens the files by name, and nobody else can replace
// them. The contents of open descriptors are kept.
func (s *Signer) readFiles() error {
	s.given = map[string][]byte{}
	for _, f := range []struct {
		path   string
		secret bool
	}{{s.Cert, isPKCS12(s.Cert)}, {s.Key, true}, {s.Passphrase, true}} {
		if f.path == "" {
			continue
		}
		read := owned.ReadFile
		if f.secret {
			read = owned.ReadSecret
		}
		data, err := read(f.path, maxSecret)
		if err != nil {
			return fault.New(fault.Usage, fault.HintOr(err, "name a readable file"), "read the signing files: %w", err)
		}
		if owned.Descriptor(f.path) {
			s.given[f.path] = data
		}
	}
	return nil
}

// files returns a signer whose files the tool can open. What was read from descriptors
// of this process is in private temporary files until done is called.
func (s *Signer) files() (named *Signer, done func(), err error) {
	if len(s.given) == 0 {
		return s, func() {}, nil
	}
	dir, err := scratch.Make("", scratch.Sign)
	if err != nil {
		return nil, nil, fault.New(fault.Environment, fault.HintOf(err), "create a temporary directory: %w", err)
	}
	done = func() { _ = dir.Discard() }
	c := *s
	for _, f := range []struct {
		path *string
		name string
	}{{&c.Cert, "certificate"}, {&c.Key, "key"}, {&c.Passphrase, "passphrase"}} {
		data, given := s.given[*f.path]
		if !given {
			continue
		}
		if err := dir.WriteFile(f.name, data, 0o600); err != nil {
			done()
			return nil, nil, err
		}
		*f.path = filepath.Join(dir.Path(), f.name)
	}
	return &c, done, nil
}
