package recipe

import (
	"bytes"
	"fmt"
	"path"
	"slices"
	"strings"

	"github.com/BurntSushi/toml"

	"modwsgi/internal/digest"
)

// LockedSysroot is the entry of a target's sysroot in the lock file: the packages that it
// was made of, and the hash that is part of the identity of every build with it.
type LockedSysroot struct {
	Target   string          `toml:"target"`  // "linux/arm64/glibc2.28"
	SHA256   string          `toml:"sha256"`  // of everything that it was made of
	Source   string          `toml:"source"`  // for people: "Debian bullseye", or a directory
	Packages []LockedPackage `toml:"package"` // none for a directory of the user's
	SDKs     []LockedSDK     `toml:"sdk"`
}

// LockedPackage is one of Debian's binary packages.
type LockedPackage struct {
	Name    string `toml:"name"`
	Version string `toml:"version"`
	Arch    string `toml:"arch"`
	Suite   string `toml:"suite"`
	File    string `toml:"file"` // below the archive's base address
	Size    int64  `toml:"size"` // bytes
	SHA256  string `toml:"sha256"`
	Python  string `toml:"python,omitempty"` // the Python whose tree it belongs to
}

// LockedSDK is a Python that the user provided.
type LockedSDK struct {
	Python string `toml:"python"`
	SHA256 string `toml:"sha256"`
}

// FindSysroot returns the entry of a target's sysroot.
func (l *Lock) FindSysroot(target string) (LockedSysroot, bool) {
	for _, s := range l.sysroots {
		if s.Target == target {
			return s, true
		}
	}
	return LockedSysroot{}, false
}

// PutSysroot replaces the entry of a target's sysroot.
func (l *Lock) PutSysroot(s LockedSysroot) {
	l.sysroots = slices.DeleteFunc(l.sysroots, func(old LockedSysroot) bool { return old.Target == s.Target })
	l.sysroots = append(l.sysroots, s)
	slices.SortFunc(l.sysroots, func(a, b LockedSysroot) int { return strings.Compare(a.Target, b.Target) })
}

// check refuses an entry that no sysroot can be made from.
func (s *LockedSysroot) check() error {
	if s.Target == "" || !digest.Valid(s.SHA256) {
		return fmt.Errorf("sysroot %q: missing target, or invalid sha256 %q", s.Target, s.SHA256)
	}
	for _, p := range s.Packages {
		if p.Name == "" || !digest.Valid(p.SHA256) || p.Size <= 0 {
			return fmt.Errorf("sysroot %s: package %q: missing name or size, or invalid sha256 %q", s.Target, p.Name, p.SHA256)
		}
		if path.IsAbs(p.File) || path.Clean(p.File) != p.File || strings.HasPrefix(p.File, "..") || strings.Contains(p.File, ":") {
			return fmt.Errorf("sysroot %s: package %s: %q is not the name of a file in an archive", s.Target, p.Name, p.File)
		}
	}
	for _, sdk := range s.SDKs {
		if sdk.Python == "" || !digest.Valid(sdk.SHA256) {
			return fmt.Errorf("sysroot %s: SDK of Python %q: invalid sha256 %q", s.Target, sdk.Python, sdk.SHA256)
		}
	}
	return nil
}

// encodeSysroots writes the entries.
func (l *Lock) encodeSysroots(b *bytes.Buffer) {
	for _, s := range l.sysroots {
		enc := toml.NewEncoder(b)
		enc.Indent = ""
		b.WriteString("\n")
		if err := enc.Encode(struct {
			Sysroot []LockedSysroot `toml:"sysroot"`
		}{[]LockedSysroot{s}}); err != nil {
			panic(err) // strings and integers always encode
		}
	}
}
