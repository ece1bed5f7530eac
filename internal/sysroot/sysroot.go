// Package sysroot makes sysroots: the headers and link libraries (libc, kernel, Python) of
// a target system, pinned and hashed. They come from Debian's binary packages of another
// suite or architecture, which are verified and unpacked without root and without dpkg, or
// from a directory of the user's, which is checked. It knows which of a libc's symbols are
// newer than the target, and the flags that restrict gcc and clang to the sysroot. It
// compiles nothing itself.
//
// # Old versions of glibc
//
// A program that is linked with glibc 2.31 asks for the newest version of each symbol that
// this glibc has, and then does not start with an older one. Debian's archive keeps only a
// few releases, none of which has glibc 2.17 or 2.28. So a sysroot whose libc is newer than
// the target has a second directory of libraries, the stubs, which linkers search first.
// They are shared libraries without code, made from the symbol tables of the real ones,
// with only the versions up to the target's. A function that the target has under an older
// version is linked with that, and one that it lacks is an undefined symbol: configure
// scripts find that it is missing, and anything else fails to link, with its name.
//
// Headers are a different matter. Up to glibc 2.33, inline functions in them called
// symbols with other names (stat called __xstat), and up to 2.34, libpthread and libdl were
// separate libraries that a program must name. A sysroot for a target below 2.34 therefore
// never comes from a suite with 2.34 or newer. The few redirections that remain are
// corrected in the headers (headers.go).
package sysroot

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"modwsgi/detect"
	"modwsgi/internal/event"
	"modwsgi/internal/fault"
	"modwsgi/internal/fetch"
	"modwsgi/internal/target"
)

// Request is which sysroot to make.
type Request struct {
	Target  target.Target
	Pythons []string // versions to have headers of: "3.11", "3.13t"
	// SDKs has, for some of the Pythons, by the version as in Pythons, a directory with an
	// installed tree of the target or a python-build-standalone archive. Others come from
	// Debian.
	SDKs map[string]string
	// Dir is a directory of the user's, which is checked and used as it is; "" to make one
	// from Debian's packages.
	Dir string
	// Interpreters adds what the Pythons from Debian need to run under an emulator.
	Interpreters bool
	Extra        []string // further packages of Debian, with what they depend on
	Mirrors      []string // base addresses of Debian's archive; nil for those of the host's apt
	Keys         []string // files of OpenPGP keys, or armored keys, that may sign for Mirrors, besides Debian's own
	Suite        string   // suite of Debian; "" for the one that fits best
	Lock         *Lock    // make exactly this one again; nil to choose
}

// Means is what a sysroot is made with.
type Means struct {
	Fetcher *fetch.Fetcher
	Work    string // existing directory of this run, in which the sysroot is made
	Events  event.Sink
}

// Sysroot is a directory with headers and link libraries. Nothing in it is ever run.
type Sysroot struct {
	Target target.Target
	Dir    string // absolute; for --sysroot
	// Stubs is a directory of link libraries that have only the symbols of the target's
	// libc, to be searched before all others; "" if the sysroot's are not newer.
	Stubs   string
	Libc    string // version of its libc: "2.31", "1.2.3"
	Source  string // for people: "Debian bullseye", or the user's directory
	Digest  string // SHA-256 of everything that it was made of
	Base    string // that without the Pythons; part of a build's identity
	Pythons []Python
	Lock    *Lock // nil for a directory of the user's

	lib   string            // directory with crt1.o and the libc, below Dir
	specs string            // path of GCC's specs files, without an end
	newer []string          // see Newer
	sdks  map[string]string // Python -> SHA-256 of its SDK
}

// Distribution names the distribution that the libraries are from: "debian-bullseye"; ""
// for a directory of the user's.
func (s *Sysroot) Distribution() string {
	if s.Lock == nil {
		return ""
	}
	for _, p := range s.Lock.Packages {
		if p.Python == "" && p.Suite != "" {
			return "debian-" + p.Suite
		}
	}
	return ""
}

// Python is a Python of the target. Its paths are absolute on this machine.
type Python struct {
	Wanted string         // as in the request: "3.11"
	Source string         // for people
	Root   string         // directory that is "/" on the target; "" for a tree of the user's
	Facts  *detect.Python // read from files, nothing is run
	// IncludeDirs are what a compiler needs to find Python.h, and pyconfig.h for this
	// processor.
	IncludeDirs []string
	// Digest is the SHA-256 of what it is made of, "" if that is part of the sysroot's base.
	// Together with the base, it is part of a module's identity.
	Digest string
}

// Lock is what a sysroot was made of. The same lock gives the same sysroot.
type Lock struct {
	Target   string    `json:"target"`
	Packages []Package `json:"packages"`
	SDKs     []SDK     `json:"sdks,omitempty"`
}

// Package is one of Debian's binary packages.
type Package struct {
	Name    string `json:"name"`
	Version string `json:"version"`
	Arch    string `json:"arch"`
	Suite   string `json:"suite"`
	File    string `json:"file"` // below the archive's base address
	Size    int64  `json:"size"`
	SHA256  string `json:"sha256"`
	// Python is the version whose tree the package belongs to, "" for the libc's.
	Python string `json:"python,omitempty"`
}

// SDK is a Python that the user provided.
type SDK struct {
	Python string `json:"python"`
	SHA256 string `json:"sha256"` // of the archive, or of the headers and libraries in the directory
}

// formatVersion changes when the same lock gives another sysroot.
const formatVersion = 2

// digest returns the hash of everything that decides about the sysroot's contents.
func (l *Lock) digest() string {
	data, err := json.Marshal(l)
	if err != nil {
		panic(err) // strings and numbers only
	}
	sum := sha256.Sum256(fmt.Appendf(nil, "sysroot %d\n%s", formatVersion, data))
	return hex.EncodeToString(sum[:])
}

// part is the part of a lock that belongs to a Python, or with "" to none.
func (l *Lock) part(python string) *Lock {
	of := &Lock{Target: l.Target}
	for _, p := range l.Packages {
		if p.Python == python {
			of.Packages = append(of.Packages, p)
		}
	}
	for _, sdk := range l.SDKs {
		if sdk.Python == python {
			of.SDKs = append(of.SDKs, sdk)
		}
	}
	return of
}

// Make makes a sysroot below m.Work, or checks the one that the user names. Errors name
// everything that is missing or does not fit the target.
func Make(ctx context.Context, q Request, m Means) (*Sysroot, error) {
	if q.Target.OS != target.Linux {
		return nil, fault.New(fault.Usage, "leave out the sysroot: the headers for Windows come with its own build", "%s needs no sysroot", q.Target)
	}
	if err := q.check(); err != nil {
		return nil, err
	}
	var s *Sysroot
	err := m.Events.Step("sysroot for "+q.Target.String(), func() (err error) {
		if q.Dir != "" {
			s, err = given(ctx, q, m)
		} else {
			s, err = fromDebian(ctx, q, m)
		}
		return err
	})
	if err != nil {
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		return nil, err
	}
	return s, nil
}

// fromDebian unpacks and completes a sysroot of Debian's packages.
func fromDebian(ctx context.Context, q Request, m Means) (*Sysroot, error) {
	a, err := openArchive(ctx, q, m)
	if err != nil {
		return nil, err
	}
	lock := q.Lock
	if lock == nil {
		if lock, err = choose(ctx, q, a); err != nil {
			return nil, err
		}
	} else if lock.Target != q.Target.String() {
		return nil, fault.New(fault.Usage, "make the lock again", "the locked sysroot is for %s, not for %s", lock.Target, q.Target)
	}
	s := &Sysroot{Target: q.Target}
	sdks, err := s.hashSDKs(q)
	if err != nil {
		return nil, err
	}
	if q.Lock != nil && fmt.Sprint(q.Lock.SDKs) != fmt.Sprint(sdks) {
		return nil, fault.New(fault.Source, "use the same SDKs, or make the lock again", "the SDKs of Python are not those of the lock")
	}
	locked := *lock
	locked.SDKs = sdks
	s.Lock, s.Digest, s.Base = &locked, locked.digest(), locked.part("").digest()
	top, err := makeTop(m.Work, s.Base)
	if err != nil {
		return nil, err
	}
	s.Dir, s.specs, s.lib = filepath.Join(top, "root"), filepath.Join(top, "gcc.specs"), "usr/lib"
	if q.Target.Libc == target.Glibc {
		s.lib += "/" + q.Target.Multiarch()
	}
	if err := s.unpack(ctx, a, m, top); err != nil {
		return nil, err
	}
	if err := s.complete(top); err != nil {
		return nil, err
	}
	if s.Pythons, err = s.findPythons(ctx, q, m, top); err != nil {
		return nil, err
	}
	for k := range s.Pythons {
		s.Pythons[k].Digest = locked.part(s.Pythons[k].Wanted).digest()
	}
	s.Source = "Debian " + cmp.Or(locked.Packages[0].Suite, "packages")
	return s, nil
}

// complete reads the version of the libc, corrects the headers and makes the stubs.
func (s *Sysroot) complete(top string) error {
	if err := s.readLibc(); err != nil {
		return err
	}
	if s.isNewer() {
		if err := s.correctHeaders(); err != nil {
			return err
		}
		s.Stubs = filepath.Join(top, "stubs")
		if err := s.makeStubs(); err != nil {
			return err
		}
	}
	return nil
}

// makeTop makes the directory of a sysroot below a work directory.
func makeTop(work, digest string) (string, error) {
	for i := 1; ; i++ {
		top := filepath.Join(work, fmt.Sprintf("sysroot-%s-%d", digest[:12], i))
		err := os.Mkdir(top, 0o755)
		if err == nil {
			return top, nil
		}
		if !errors.Is(err, fs.ErrExist) || i > 1000 {
			return "", fault.New(fault.Environment, "check that the directory is writable and that its file system has free space", "make the sysroot: %w", err)
		}
	}
}
