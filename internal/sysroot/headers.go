package sysroot

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"

	"modwsgi/internal/fault"
	"modwsgi/internal/target"
)

// libDir is the directory with the libc.
func (s *Sysroot) libDir() string { return filepath.Join(s.Dir, filepath.FromSlash(s.lib)) }

// readLibc reads the version of the libc from its library, and that the headers are of the
// same one.
func (s *Sysroot) readLibc() error {
	var err error
	if s.Target.Libc == target.Musl {
		s.Libc, err = target.MuslRelease(filepath.Join(s.libDir(), "libc.so"))
	} else {
		s.Libc, err = target.GlibcVersion(filepath.Join(s.libDir(), "libc.so.6"))
	}
	if err != nil {
		return fault.New(fault.Source, "name another suite of Debian", "read the libc of the sysroot: %w", err)
	}
	return nil
}

// isNewer reports whether the sysroot's libc is newer than the target's. Releases of musl
// differ in the third number.
func (s *Sysroot) isNewer() bool { return target.Compare(s.Libc, s.Target.LibcVersion) > 0 }

// correction is a change to a header of a newer glibc for older targets.
type correction struct {
	file  string // below usr/include, or below the multiarch directory there
	since string // the first glibc with these lines
	bits  int    // only for processors of this size; 0 for all
	from  *regexp.Regexp
	to    string
}

// corrections are the places where headers call a function by a newer name. On processors
// of 64 bits, fcntl64 is another name for fcntl. Since glibc 2.38, strtol and others have a
// second version for C23, which accepts binary numbers.
var corrections = []correction{
	{"fcntl.h", "2.28", 64, regexp.MustCompile(`(__REDIRECT *\(fcntl, *\(int __fd, int __cmd, \.\.\.\), *)fcntl64\)`), "${1}fcntl)"},
	{"features.h", "2.38", 0, regexp.MustCompile(`(?m)^(#\s*define\s+__GLIBC_USE_C2X_STRTOL\s+)1`), "${1}0"},
	{"features.h", "2.38", 0, regexp.MustCompile(`(?m)^(#\s*define\s+__GLIBC_USE_C23_STRTOL\s+)1`), "${1}0"},
}

// correctHeaders makes the headers of a newer glibc those of the target, as far as they
// call newer functions by themselves. They also state the target's version, which sources
// ask for with __GLIBC_PREREQ.
func (s *Sysroot) correctHeaders() error {
	if s.Target.Libc != target.Glibc {
		return nil
	}
	_, minor, _ := strings.Cut(s.Target.LibcVersion, ".")
	all := append([]correction{
		{"features.h", "2.0", 0, regexp.MustCompile(`(?m)^(#\s*define\s+__GLIBC_MINOR__\s+)[0-9]+`), "${1}" + minor},
	}, corrections...)
	found := false
	for _, c := range all {
		if target.Compare(s.Libc, c.since) < 0 || target.Compare(s.Target.LibcVersion, c.since) >= 0 && c.since != "2.0" || c.bits == 64 && !s.wide() {
			continue
		}
		for _, dir := range []string{"", s.Target.Multiarch()} {
			name := filepath.Join(s.Dir, "usr", "include", dir, c.file)
			data, err := os.ReadFile(name)
			if errors.Is(err, fs.ErrNotExist) {
				continue
			}
			if err != nil {
				return err
			}
			changed := c.from.ReplaceAll(data, []byte(c.to))
			if bytes.Equal(changed, data) {
				continue
			}
			found = true
			if err := os.WriteFile(name, changed, 0o644); err != nil {
				return err
			}
		}
	}
	if !found {
		return fmt.Errorf("correct the headers of the sysroot: features.h does not state the version of glibc")
	}
	return nil
}

// wide reports whether the target's processor has 64 bits.
func (s *Sysroot) wide() bool {
	class, _, _ := s.Target.ELF()
	return class.String() == "ELFCLASS64"
}
