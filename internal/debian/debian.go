// Package debian reads Debian's archive: which binary packages a suite has for an
// architecture, according to the suite's signed index, and their files, verified. It
// trusts the embedded keys of Debian's archive, and those that the host's apt accepts for
// a mirror. Servers are never trusted: the signature decides about the index, and the
// hashes in it about everything else. It neither unpacks nor installs packages.
//
// The format is described in https://wiki.debian.org/DebianRepository/Format.
package debian

import (
	"bytes"
	"context"
	_ "embed"
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/ProtonMail/go-crypto/openpgp/armor"
	"github.com/ProtonMail/go-crypto/openpgp/packet"
	openpgp "github.com/ProtonMail/go-crypto/openpgp/v2"

	"modwsgi/internal/fault"
	"modwsgi/internal/fetch"
	"modwsgi/internal/httpc"
	"modwsgi/internal/pgp"
	"modwsgi/internal/recipe"
)

//go:embed keys/debian.asc
var archiveKeys []byte

// Archive is Debian's archive on some mirrors. It is safe for concurrent use.
type Archive struct {
	fetcher *fetch.Fetcher
	mirrors []fetch.Mirror
	keys    openpgp.EntityList
	now     func() time.Time

	mu     sync.Mutex
	suites map[string]*Suite
}

// Open returns the archive on the mirrors, which are asked in order.
func Open(f *fetch.Fetcher, mirrors []fetch.Mirror) (*Archive, error) {
	keys, err := readKeys(archiveKeys)
	if err != nil {
		return nil, fmt.Errorf("read the embedded keys of Debian's archive: %w", err)
	}
	for _, m := range mirrors {
		if u, err := url.Parse(m.Base); err != nil || u.Host == "" || u.Scheme != "https" && u.Scheme != "http" {
			return nil, fault.New(fault.Usage, "a mirror of Debian is a base address such as "+fetch.DebianArchive,
				"use mirror %q: it is not an http or https address", httpc.RedactText(m.Base))
		}
	}
	return &Archive{fetcher: f, mirrors: mirrors, keys: keys, now: time.Now, suites: map[string]*Suite{}}, nil
}

// readKeys reads keys, armored or not.
func readKeys(data []byte) (openpgp.EntityList, error) {
	var body io.Reader = bytes.NewReader(data)
	if block, err := armor.Decode(bytes.NewReader(data)); err == nil {
		body = block.Body
	}
	var out openpgp.EntityList
	packets := packet.NewReader(body)
	for {
		e, err := openpgp.ReadEntity(packets)
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return out, err
		}
		out = append(out, e)
	}
	if len(out) == 0 {
		return nil, errors.New("no keys found")
	}
	return out, nil
}

// ring returns the keys that may sign the indexes of a mirror. Unreadable files of the
// host are left out: apt reports them.
func (a *Archive) ring(m fetch.Mirror) openpgp.EntityList {
	ring := append(openpgp.EntityList(nil), a.keys...)
	for _, k := range m.Keys {
		data := []byte(strings.NewReplacer("\n .\n", "\n\n", "\n ", "\n").Replace(k))
		if !strings.Contains(k, "BEGIN PGP") {
			var err error
			if data, err = os.ReadFile(k); err != nil {
				continue
			}
		}
		more, _ := readKeys(data)
		ring = append(ring, more...)
	}
	return ring
}

// Suite is one suite of the archive for one architecture.
type Suite struct {
	Name     string // as asked for: "bookworm"
	Arch     string // Debian's name: "arm64"
	Signer   string // fingerprint of the key that signed the index
	packages map[string]*Package
}

// Package is a binary package of a suite.
type Package struct {
	Name    string
	Version string
	Arch    string // "arm64" or "all"
	File    string // its path below the base address
	Size    int64
	SHA256  string
	Suite   string
	depends string
}

// NoSuite is the error for a suite, or an architecture of it, that no mirror has.
type NoSuite struct{ Suite, Arch string }

func (n *NoSuite) Error() string {
	return fmt.Sprintf("no mirror has Debian's suite %s for %s", n.Suite, n.Arch)
}

// Suite reads a suite's index. The error is *NoSuite if no mirror has it. It is another
// one of class Source if a mirror's index is not authentic or out of date.
func (a *Archive) Suite(ctx context.Context, name, arch string) (*Suite, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if s := a.suites[name+" "+arch]; s != nil {
		return s, nil
	}
	var reasons []error
	for _, m := range a.mirrors {
		s, err := a.read(ctx, m, name, arch)
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		if err == nil {
			a.suites[name+" "+arch] = s
			return s, nil
		}
		var absent *NoSuite
		if !fetch.IsNotFound(err) && !errors.As(err, &absent) {
			reasons = append(reasons, fmt.Errorf("%s: %w", httpc.RedactText(m.Base), err))
		}
	}
	if len(reasons) == 0 {
		return nil, &NoSuite{name, arch}
	}
	err := errors.Join(reasons...)
	return nil, fault.New(fault.Source, fault.HintOr(err, "check the network, or name another mirror of Debian"), "read the index of Debian's suite %s: %w", name, err)
}

// read reads a suite's index from one mirror. If the index is not the one that a copy of
// InRelease in the cache names, the suite has changed, and InRelease is read again.
func (a *Archive) read(ctx context.Context, m fetch.Mirror, name, arch string) (*Suite, error) {
	s, err := a.readOnce(ctx, m, name, arch, false)
	var unavailable *fetch.Unavailable
	if errors.As(err, &unavailable) && !unavailable.Offline {
		return a.readOnce(ctx, m, name, arch, true)
	}
	return s, err
}

func (a *Archive) readOnce(ctx context.Context, m fetch.Mirror, name, arch string, fresh bool) (*Suite, error) {
	dists := strings.TrimSuffix(m.Base, "/") + "/dists/" + name
	var r *release
	_, err := a.fetcher.Text(ctx, dists+"/InRelease", fresh, func(data []byte) (err error) {
		r, err = a.release(m, name, data)
		return err
	})
	if err != nil {
		return nil, err
	}
	index, ok := r.files["main/binary-"+arch+"/Packages.gz"]
	if !ok {
		return nil, &NoSuite{name, arch}
	}
	base := dists + "/main/binary-" + arch
	file, err := a.fetcher.FetchIndexed(ctx, recipe.Archive{
		Component: "Debian " + name, Version: "index for " + arch, File: "Packages-" + name + "-" + arch + ".gz", Size: index.size, SHA256: index.sha256,
		URLs: []string{base + "/by-hash/SHA256/" + index.sha256, base + "/Packages.gz"}, Trust: recipe.Signed,
	})
	if err != nil {
		return nil, err
	}
	packages, err := readPackages(file.Path, index.sha256)
	if err != nil {
		return nil, fault.New(fault.Source, "remove it from the download cache, and try again", "read %s: %w", file.Path, err)
	}
	for _, p := range packages {
		p.Suite = name
	}
	return &Suite{Name: name, Arch: arch, Signer: r.signer, packages: packages}, nil
}

// indexed is a file in a Release file.
type indexed struct {
	sha256 string
	size   int64
}

// release is a verified Release file.
type release struct {
	signer string
	files  map[string]indexed
}

// release verifies an InRelease file: its signature, that it is of the suite that was
// asked for, and that it is neither out of date nor from the future.
func (a *Archive) release(m fetch.Mirror, name string, data []byte) (*release, error) {
	const hint = "the mirror may be damaged or manipulated: name another one"
	signature, text, err := pgp.CheckClear(a.ring(m), data, a.now())
	if err != nil {
		return nil, fault.New(fault.Source, hint, "verify InRelease of %s: %w", name, err)
	}
	if !signature.Expired.IsZero() {
		return nil, fault.New(fault.Source, hint, "verify InRelease of %s: the key %s expired on %s", name, signature.Signer, signature.Expired.Format(time.DateOnly))
	}
	fields := stanza(string(text))
	if fields["suite"] != name && fields["codename"] != name {
		return nil, fault.New(fault.Source, hint, "verify InRelease of %s: it is of suite %q, codename %q", name, fields["suite"], fields["codename"])
	}
	if date, err := time.Parse(time.RFC1123, fields["date"]); err != nil || date.After(a.now().Add(pgp.Clock)) {
		return nil, fault.New(fault.Source, "check the clock of this machine", "verify InRelease of %s: it is dated %q", name, fields["date"])
	}
	if v := fields["valid-until"]; v != "" && !m.AnyAge {
		if until, err := time.Parse(time.RFC1123, v); err != nil || a.now().After(until) {
			return nil, fault.New(fault.Source, "name a mirror that is kept up to date", "verify InRelease of %s: it was valid until %s", name, v)
		}
	}
	r := &release{signer: signature.Signer, files: map[string]indexed{}}
	for line := range strings.Lines(fields["sha256"]) {
		w := strings.Fields(line)
		if len(w) != 3 || !recipe.Digest(w[0]) {
			continue
		}
		if size, err := strconv.ParseInt(w[1], 10, 64); err == nil && size > 0 {
			r.files[w[2]] = indexed{w[0], size}
		}
	}
	return r, nil
}

// stanza reads the fields of one stanza, with names in lower case.
func stanza(text string) map[string]string {
	fields, last := map[string]string{}, ""
	for line := range strings.Lines(text) {
		line = strings.TrimRight(line, " \t\r\n")
		if strings.HasPrefix(line, " ") || strings.HasPrefix(line, "\t") {
			fields[last] += "\n" + line
			continue
		}
		name, value, _ := strings.Cut(line, ":")
		last = strings.ToLower(name)
		fields[last] = strings.TrimSpace(value)
	}
	return fields
}
