package sysroot

import (
	"context"
	"crypto/sha256"
	"debug/elf"
	"encoding/hex"
	"fmt"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"modwsgi/internal/digest"
	"modwsgi/internal/fault"
	"modwsgi/internal/target"
)

// given checks a sysroot of the user's, which is used as it is.
func given(ctx context.Context, q Request, m Means) (*Sysroot, error) {
	if len(q.Extra) > 0 || q.Suite != "" || q.Lock != nil {
		return nil, fault.New(fault.Usage, "leave out the directory, or the suite, packages and lock", "a sysroot is either a directory or made from Debian's packages")
	}
	dir, err := filepath.Abs(q.Dir)
	if err != nil {
		return nil, err
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, fault.New(fault.Usage, "name an existing directory, with usr/include and usr/lib of the target in it", "use sysroot %s: %w", q.Dir, err)
	}
	defer func() { _ = root.Close() }()
	s := &Sysroot{Target: q.Target, Dir: dir, Source: q.Dir}
	if err := s.checkLibc(root); err != nil {
		return nil, err
	}
	if err := s.checkFiles(root); err != nil {
		return nil, err
	}
	if err := trusted(dir, partOfSysroot); err != nil {
		return nil, err
	}
	tree, err := digest.Tree(dir, partOfSysroot)
	if err != nil {
		return nil, fmt.Errorf("read sysroot %s: %w", q.Dir, err)
	}
	sdks, err := s.hashSDKs(q)
	if err != nil {
		return nil, err
	}
	sum := func(sdks []SDK) string {
		sum := sha256.Sum256(fmt.Appendf(nil, "sysroot %d\n%s\n%s\n%v", formatVersion, q.Target, tree, sdks))
		return hex.EncodeToString(sum[:])
	}
	s.Digest, s.Base = sum(sdks), sum(nil)
	top, err := makeTop(m.Work, s.Base)
	if err != nil {
		return nil, err
	}
	s.specs = filepath.Join(top, "gcc.specs")
	s.Pythons, err = s.findPythons(ctx, q, m, top)
	for k := range s.Pythons {
		s.Pythons[k].Digest = s.sdks[s.Pythons[k].Wanted]
	}
	return s, err
}

// partOfSysroot reports whether a build may read a file of a sysroot: a compiler, or a
// format that asks dpkg's records for dependencies.
func partOfSysroot(name string) bool {
	switch first, rest, _ := strings.Cut(name, "/"); {
	case first == "var": // the directories above the records, too
		return strings.HasPrefix(recordsDir+"/", name) || strings.HasPrefix(name, recordsDir+"/") || name == path.Dir(recordsDir)+"/status"
	case first == "usr":
		second, _, _ := strings.Cut(rest, "/")
		return second == "" || second == "include" || strings.HasPrefix(second, "lib") || second == "local"
	default:
		return strings.HasPrefix(first, "lib")
	}
}

// LibraryDirs are where systems have their libraries, below the root.
func LibraryDirs(t target.Target) []string {
	m := t.Multiarch()
	if t.Libc == target.Musl {
		return []string{"usr/lib", "lib", "usr/lib/" + t.Triple(), "lib/" + t.Triple()}
	}
	return []string{"usr/lib/" + m, "lib/" + m, "usr/lib64", "lib64", "usr/lib", "lib"}
}

// inRoot returns the first directory that has a file, or "".
func inRoot(root *os.Root, dirs []string, name string) string {
	for _, dir := range dirs {
		if info, err := root.Stat(filepath.FromSlash(path.Join(dir, name))); err == nil && info.Mode().IsRegular() {
			return dir
		}
	}
	return ""
}

// checkLibc finds the libc of a sysroot and compares its kind, processor and version with
// the target.
func (s *Sysroot) checkLibc(root *os.Root) error {
	const hint = "name a sysroot of that system, or leave it out: modwsgi then makes one from Debian's packages"
	file := "libc.so.6"
	if s.Target.Libc == target.Musl {
		file = "libc.so"
	}
	dirs := LibraryDirs(s.Target)
	in := inRoot(root, dirs, file)
	if s.Target.Libc == target.Musl && in == "" { // only the loader, which is the libc
		file = filepath.Base(s.Target.Loader())
		in = inRoot(root, []string{"lib", "usr/lib"}, file)
	}
	other := otherKind(root, s.Target)
	switch {
	case in == "" && other != "":
		return fault.New(fault.Usage, hint, "the sysroot %s has %s, not %s", s.Source, other, s.Target.Libc)
	case in == "":
		if found := anyLibc(root, file); found != "" {
			if err := s.checkMachine(found); err != nil {
				return err
			}
		}
		return fault.New(fault.Usage, hint, "the sysroot %s has no %s (searched %s)", s.Source, file, strings.Join(dirs, ", "))
	}
	full := filepath.Join(s.Dir, in, file)
	if err := s.checkMachine(full); err != nil {
		return err
	}
	var err error
	if s.Target.Libc == target.Musl {
		s.Libc, err = target.MuslRelease(full)
	} else {
		s.Libc, err = target.GlibcVersion(full)
	}
	if err != nil {
		return fault.New(fault.Usage, hint, "read the libc of the sysroot: %w", err)
	}
	version := s.Libc
	if s.Target.Libc == target.Musl {
		version = target.MuslSeries(version)
	}
	if target.Compare(version, s.Target.LibcVersion) > 0 {
		return fault.New(fault.Usage, fmt.Sprintf("ask for %s%s, or name a sysroot that is old enough", s.Target.Libc, version),
			"the sysroot %s has %s %s, which is newer than %s", s.Source, s.Target.Libc, s.Libc, s.Target)
	}
	s.lib = in
	return nil
}

// otherKind returns the libc that a root has instead of the target's, or "".
func otherKind(root *os.Root, t target.Target) string {
	o := t
	o.Libc = target.Musl
	file := filepath.Base(o.Loader())
	if t.Libc == target.Musl {
		o.Libc, file = target.Glibc, "libc.so.6"
	}
	if inRoot(root, append(LibraryDirs(o), "lib"), file) != "" {
		return o.Libc
	}
	return ""
}

// anyLibc returns the path of a libc for any processor, to name that in an error.
func anyLibc(root *os.Root, file string) string {
	for _, lib := range []string{"usr/lib", "lib"} {
		dir, err := root.Open(lib)
		if err != nil {
			continue
		}
		names, _ := dir.Readdirnames(10_000)
		_ = dir.Close()
		for _, name := range names {
			if info, err := root.Stat(filepath.Join(lib, name, file)); err == nil && info.Mode().IsRegular() {
				return filepath.Join(root.Name(), lib, name, file)
			}
		}
	}
	return ""
}

func (s *Sysroot) checkMachine(file string) error {
	f, err := elf.Open(file)
	if err != nil {
		return fault.New(fault.Usage, "name a sysroot of that system", "the libc of the sysroot %s is damaged: %s: %w", s.Source, file, err)
	}
	defer func() { _ = f.Close() }()
	if class, machine, _ := s.Target.ELF(); f.Machine != machine || f.Class != class {
		return fault.New(fault.Usage, "name a sysroot for "+s.Target.Machine(), "the sysroot %s is for %s, not for %s: %s",
			s.Source, strings.ToLower(strings.TrimPrefix(f.Machine.String(), "EM_")), s.Target, file)
	}
	return nil
}

// neededHeaders are headers that every build reads, of the libc and of the kernel.
var neededHeaders = []string{"stdio.h", "stdlib.h", "errno.h", "pthread.h", "dlfcn.h", "crypt.h", "sys/socket.h", "linux/limits.h", "asm/errno.h"}

// neededLibraries are files that every link reads.
var neededLibraries = map[string][]string{
	target.Glibc: {"crt1.o", "crti.o", "crtn.o", "libc.so", "libc_nonshared.a", "libm.so", "libcrypt.so"},
	target.Musl:  {"crt1.o", "Scrt1.o", "crti.o", "crtn.o", "libc.so"},
}

// beforeMerge are the libraries that were separate before glibc 2.34.
var beforeMerge = []string{"libpthread.so", "libdl.so"}

// checkFiles names every header and library that is missing.
func (s *Sysroot) checkFiles(root *os.Root) error {
	var missing []string
	includes := []string{"usr/include/" + s.Target.Multiarch(), "usr/include"}
	for _, h := range neededHeaders {
		if inRoot(root, includes, h) == "" {
			missing = append(missing, "the header "+h+why(root, includes, h))
		}
	}
	libs := neededLibraries[s.Target.Libc]
	if s.Target.Libc == target.Glibc && target.Compare(s.Libc, inlined) < 0 {
		libs = append(slices.Clone(libs), beforeMerge...)
	}
	dirs := LibraryDirs(s.Target)
	for _, l := range libs {
		in := inRoot(root, dirs, l)
		if in == "" {
			missing = append(missing, "the library "+l+why(root, dirs, l))
		} else if l == "crt1.o" {
			s.lib = in
		}
	}
	if len(missing) == 0 {
		return nil
	}
	return fault.New(fault.Usage, "add what is missing (development packages of the libc, of libcrypt and of the kernel's headers), or leave the sysroot out",
		"the sysroot %s lacks %s", s.Source, strings.Join(missing, ", "))
}

// why explains a file that is there, but as a link that leads out of the sysroot.
func why(root *os.Root, dirs []string, name string) string {
	for _, dir := range dirs {
		at := filepath.FromSlash(path.Join(dir, name))
		if target, err := root.Readlink(at); err == nil {
			return fmt.Sprintf(" (%s links to %s, which is not in the sysroot)", at, target)
		}
	}
	return ""
}
