package sysroot

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"

	"modwsgi/internal/target"
)

// Compiler is what a sysroot's flags depend on.
type Compiler struct {
	Words []string // the command, without a sysroot
	Clang bool
	// LibgccDir is the directory of GCC's own libgcc.a (gcc -print-libgcc-file-name);
	// clang uses that of the sysroot.
	LibgccDir string
}

// How compilers are kept from this machine's files.
//
// gcc --sysroot reads no headers of this machine but its own. But a native gcc, and
// Debian's cross compilers, still look for libraries and crt1.o next to their own
// directory first, which is /usr/lib/TRIPLE of this machine: a missing library of the
// target would be taken from there. A specs file
// (https://gcc.gnu.org/onlinedocs/gcc/Spec-Files.html) replaces the list of library
// directories that gcc passes to the linker, and -B comes first for crt1.o. Debian's cross
// compilers also have headers of their own, so all directories of headers are given.
// clang keeps to the sysroot, where it finds the libc and GCC's runtime.

// CC returns the command of a compiler for this sysroot. It finds nothing of this
// machine's headers and libraries.
func (s *Sysroot) CC(c Compiler) ([]string, error) {
	words := slices.Clone(c.Words)
	if c.Clang {
		return append(words, s.clang()...), nil
	}
	specs, err := s.writeSpecs(c)
	if err != nil {
		return nil, fmt.Errorf("write the specs of the sysroot: %w", err)
	}
	words = append(words, "--sysroot="+s.Dir)
	own := []string{filepath.Join(c.LibgccDir, "include"), filepath.Join(c.LibgccDir, "include-fixed")}
	theirs := s.includes()
	words = append(words, "-nostdinc")
	if s.Target.Libc == target.Musl { // it has its own stddef.h
		own, theirs = theirs, own
	}
	for _, dir := range append(own, theirs...) {
		if info, err := os.Stat(dir); err == nil && info.IsDir() {
			words = append(words, "-isystem", dir)
		}
	}
	return append(words, "-B"+s.libDir()+"/", "-specs="+specs), nil
}

// includes are the directories of headers.
func (s *Sysroot) includes() []string {
	include := filepath.Join(s.Dir, "usr", "include")
	if s.Target.Libc == target.Musl {
		return []string{include}
	}
	return []string{filepath.Join(include, s.Target.Multiarch()), include}
}

// clang returns clang's flags. Without the linker of another processor, it needs lld.
func (s *Sysroot) clang() []string {
	words := []string{"--target=" + s.Target.Triple(), "--sysroot=" + s.Dir}
	if s.Target.Arch != runtime.GOARCH {
		words = append(words, "-fuse-ld=lld")
	}
	if s.Target.Arch == "arm" {
		words = append(words, "-march=armv7-a", "-mfpu=vfpv3-d16", "-mfloat-abi=hard")
	}
	words = append(words, "-static-libgcc", "-Qunused-arguments")
	for _, dir := range s.linkDirs() {
		words = append(words, "-L"+dir)
	}
	return append(words, s.linkerFlags()...)
}

// linkDirs are the directories of libraries, in order.
func (s *Sysroot) linkDirs() []string {
	dirs := []string{s.libDir()}
	if s.Stubs != "" {
		dirs = []string{s.Stubs, s.libDir()}
	}
	for _, dir := range LibraryDirs(s.Target) {
		dir = filepath.Join(s.Dir, filepath.FromSlash(dir))
		// With /usr merged, several names are one directory.
		real, err := filepath.EvalSymlinks(dir)
		if err == nil && real == dir && !slices.Contains(dirs, dir) {
			dirs = append(dirs, dir)
		}
	}
	return dirs
}

// linkerFlags let programs be linked with libraries that need newer symbols than the stubs
// have, as a libpython of a newer suite does: the target has its own.
func (s *Sysroot) linkerFlags() []string {
	return []string{"-Wl,--allow-shlib-undefined"}
}

// writeSpecs writes the specs file for a compiler, and returns its path. Several compilers
// may be used with one sysroot. The name is part of the identity of a build, so it does not
// depend on the directory of this run, which is another one each time.
func (s *Sysroot) writeSpecs(c Compiler) (string, error) {
	text := s.specsText(c)
	sum := sha256.Sum256([]byte(strings.ReplaceAll(text, filepath.Dir(s.specs), "")))
	name := s.specs + "-" + hex.EncodeToString(sum[:4])
	if _, err := os.Stat(name); err == nil {
		return name, nil
	}
	return name, os.WriteFile(name, []byte(text), 0o644)
}

// specsText returns the specs for a GCC.
func (s *Sysroot) specsText(c Compiler) string {
	var b strings.Builder
	dirs := append(s.linkDirs(), c.LibgccDir)
	fmt.Fprintf(&b, "*link_libgcc:\n-L%s\n\n", strings.Join(dirs, " -L"))
	if s.Target.Libc != target.Musl {
		return b.String() + "*link:\n+ --allow-shlib-undefined\n\n"
	}
	// The C library's own start files and loader instead of glibc's. The runtime is
	// linked statically: a system with musl may have no libgcc_s.
	lib := s.libDir()
	fmt.Fprintf(&b, "*startfile:\n%%{!shared:%%{static|no-pie:%s/crt1.o;:%s/Scrt1.o}} %s/crti.o %%{shared|pie|!no-pie:crtbeginS.o%%s;:crtbegin.o%%s}\n\n", lib, lib, lib)
	fmt.Fprintf(&b, "*endfile:\n%%{shared|pie|!no-pie:crtendS.o%%s;:crtend.o%%s} %s/crtn.o\n\n", lib)
	fmt.Fprintf(&b, "*libgcc:\nlibgcc.a%%s libgcc_eh.a%%s\n\n")
	fmt.Fprintf(&b, "*lib:\n-lc\n\n")
	fmt.Fprintf(&b, "*link:\n-dynamic-linker %s -nostdlib --hash-style=gnu --build-id --eh-frame-hdr --allow-shlib-undefined %%{shared:-shared} %%{static:-static} %%{!shared:%%{!static:%%{!no-pie:-pie}}} %%{rdynamic:-export-dynamic}\n\n", s.Target.Loader())
	return b.String()
}
