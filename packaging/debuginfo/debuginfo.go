// Package debuginfo moves the debugging information of binaries into separate files, where
// gdb, elfutils and other tools find them by the build identifier of a binary
// (https://sourceware.org/gdb/current/onlinedocs/gdb.html/Separate-Debug-Files.html). It
// does not know what the binaries are for.
package debuginfo

import (
	"archive/tar"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"time"

	"modwsgi/internal/distro"
	"modwsgi/internal/elf"
	"modwsgi/internal/fault"
	"modwsgi/internal/owned"
	"modwsgi/internal/run"
	"modwsgi/packaging"
)

// Dir is where debuggers look for the files, below the root of a system.
const Dir = "usr/lib/debug/.build-id"

// place returns where the information belongs below the root of a system.
func place(id string) string { return path.Join(Dir, id[:2], id[2:]+".debug") }

// Tool returns the objcopy for a CPU by its GNU triple: this machine's for "", otherwise
// that of the cross compiler, or LLVM's, which knows every CPU. The error is of class
// Environment and names the package to install.
func Tool(env []string, triple string) (string, error) {
	names := []string{"objcopy", "llvm-objcopy"}
	if triple != "" {
		names[0] = triple + "-objcopy"
	}
	for _, name := range names {
		if found, err := run.LookPath(name, env); err == nil {
			return found, nil
		}
	}
	return "", distro.Needing(fault.New(fault.Environment, distro.Binutils.Hint(distro.Family(), "", "or leave out --debug-symbols"),
		"%s, which separates debugging information, was not found", strings.Join(names, " or ")), distro.Binutils)
}

// Split moves the debugging information of all binaries of a tree into files below to, in
// the layout of [Dir]. The tree's files keep a build identifier and the name of the file
// (.gnu_debuglink). Binaries without debugging information stay as they are. tool is an
// objcopy. The result is sorted by the binaries.
func Split(ctx context.Context, r *run.Runner, env []string, tool, root, to string) ([]packaging.Debug, error) {
	tree, err := packaging.Scan(root)
	if err != nil {
		return nil, err
	}
	var all []packaging.Debug
	for _, f := range tree.Files {
		if f.Link != "" {
			continue
		}
		id, err := identify(tree.Source(f))
		if err != nil {
			return nil, err
		}
		if id == "" {
			continue
		}
		d := packaging.Debug{ID: id, Of: f.Path, Path: place(id), File: filepath.Join(to, filepath.FromSlash(place(id)))}
		if err := split(ctx, r, env, tool, tree.Source(f), d.File); err != nil {
			return nil, fault.Wrap(fault.Environment, "check the tool, or leave out --debug-symbols", fmt.Errorf("separate the debugging information of %s: %w", f.Path, err))
		}
		all = append(all, d)
	}
	slices.SortFunc(all, func(a, b packaging.Debug) int { return strings.Compare(a.Of, b.Of) })
	return all, nil
}

// identify returns the build identifier of a binary with debugging information, or "".
func identify(name string) (string, error) {
	f, err := elf.Open(name)
	if errors.Is(err, elf.ErrNotELF) {
		return "", nil
	}
	if err != nil {
		return "", err
	}
	defer func() { _ = f.Close() }()
	if !f.HasDebugInfo() {
		return "", nil
	}
	id := f.BuildID()
	if len(id) < 8 { // of the programs of Go, which are linked without one
		return "", nil
	}
	return id, nil
}

// split separates one binary. objcopy writes to a copy, which then replaces the binary:
// its links elsewhere must not change.
func split(ctx context.Context, r *run.Runner, env []string, tool, name, to string) error {
	info, err := os.Stat(name)
	if err != nil {
		return err
	}
	dir := filepath.Dir(to)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	stripped := name + ".split"
	defer func() { _ = os.Remove(stripped) }()
	for _, argv := range [][]string{
		{tool, "--only-keep-debug", "--compress-debug-sections", name, to},
		{tool, "--strip-debug", "--add-gnu-debuglink=" + filepath.Base(to), name, stripped},
	} {
		// The link has the name only, which objcopy reads in its working directory.
		if err := r.Run(ctx, run.Cmd{Argv: argv, Dir: dir, Env: append(slices.Clone(env), "LC_ALL=C")}); err != nil {
			return err
		}
	}
	if err := owned.Chmod(to, 0o644); err != nil {
		return err
	}
	if err := owned.Chmod(stripped, info.Mode().Perm()); err != nil {
		return err
	}
	return os.Rename(stripped, name)
}

// Triple returns the GNU triple of a target's tools, or "" for this machine's CPU.
func Triple(arch, triple string) string {
	if arch == runtime.GOARCH {
		return ""
	}
	if rest, ok := strings.CutPrefix(triple, "i386-"); ok { // as Debian names its compiler
		return "i686-" + rest
	}
	return triple
}

// Archive writes a gzip-compressed tar archive to be unpacked into the root of a system.
func Archive(w io.Writer, files []packaging.Debug, at time.Time) error {
	z, err := gzip.NewWriterLevel(w, gzip.BestCompression)
	if err != nil {
		return err
	}
	t := tar.NewWriter(z)
	sorted := slices.Clone(files)
	slices.SortFunc(sorted, func(a, b packaging.Debug) int { return strings.Compare(a.Path, b.Path) })
	for _, f := range slices.CompactFunc(sorted, func(a, b packaging.Debug) bool { return a.ID == b.ID }) {
		data, err := os.ReadFile(f.File)
		if err != nil {
			return err
		}
		h := &tar.Header{Typeflag: tar.TypeReg, Name: f.Path, Mode: 0o644, Size: int64(len(data)), ModTime: at, Format: tar.FormatPAX}
		if err := t.WriteHeader(h); err != nil {
			return err
		}
		if _, err := t.Write(data); err != nil {
			return err
		}
	}
	return errors.Join(t.Close(), z.Close())
}
