package prove

import (
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"slices"
	"strings"

	"modwsgi/internal/fault"
	"modwsgi/internal/filetree"
	"modwsgi/internal/owned"
	"modwsgi/internal/run"
)

// admit lets the server's account read what it needs, with the fewest possible rights.
// Usually it already can. Staged files are normally in root's own cache and are copied to
// where the account can read them. For a Python that is closed to others, such as one in
// root's home, the account gets the capability to read every file, but only if nobody
// else can change any of the code that then runs with it. Otherwise the error is
// *NotTried.
func (t *throwaway) admit(s Subject) (Subject, error) {
	if t.account == nil {
		return s, nil
	}
	closed, err := t.account.Closed(append(pythonFiles(s), t.path("run"))...)
	if err != nil {
		return s, t.unsafe(err.Error(), "")
	}
	if closed == "" {
		if closed, err = t.account.Closed(append(serverFiles(s), loaderFiles(s)...)...); err != nil || closed == "" {
			return s, err
		}
		if s.Staged && !noexec(t.dir.Path()) {
			if s, err = t.borrow(s); err != nil {
				return s, err
			}
			if closed, err = t.account.Closed(append(serverFiles(s), loaderFiles(s)...)...); err != nil || closed == "" {
				return s, err
			}
		}
	}
	if !run.CanReadAll() {
		n := t.unsafe("root lacks the capability to read every file (CAP_DAC_READ_SEARCH), without which it cannot be tried", closed)
		n.Hint = "give a container that capability (--cap-add DAC_READ_SEARCH), or " + n.Hint
		return s, n
	}
	if err := trustedCode(s); err != nil {
		n := t.unsafe("it cannot be tried with the capability to read every file, because others could use that: "+err.Error(), closed)
		n.Hint = "deny others the right to change it, run modwsgi as the user who owns it, or " + n.Hint
		return s, n
	}
	t.account.ReadAll = true
	return s, nil
}

// unsafe returns the verdict, with the closed directory.
func (t *throwaway) unsafe(why, closed string) *NotTried {
	n := &NotTried{why, "use an environment and a Python elsewhere, for example in /srv or /opt; then run modwsgi verify"}
	if closed == "" {
		return n
	}
	real, err := filepath.EvalSymlinks(closed)
	if err != nil {
		real = closed
	}
	at := owned.ClosedTo(closed)
	if at == "" {
		at = owned.ClosedTo(real)
	}
	if at == "" {
		n.Why = fmt.Sprintf("%s cannot be read by the user that httpd serves as; %s", real, why)
		return n
	}
	n.Why = fmt.Sprintf("%s, on the way to %s, is closed to the user that httpd serves as; %s", at, closed, why)
	n.Hint = "open it (chmod o+x " + run.Quote(at) + "), or " + n.Hint
	return n
}

// pythonFiles returns the files that a Python needs to start, if they exist.
func pythonFiles(s Subject) []string {
	files := []string{filepath.Join(s.Prefix, "pyvenv.cfg")}
	py := s.Python
	if py == nil {
		return files
	}
	files = append(files, py.Executable)
	if py.LibShared {
		files = append(files, py.LibPython)
	}
	for _, dir := range standardLibraries(s) {
		for _, name := range []string{"os.py", "site.py", "encodings/__init__.py", "collections/__init__.py", "json/__init__.py", "lib-dynload"} {
			files = append(files, filepath.Join(dir, filepath.FromSlash(name)))
		}
	}
	return append(files, py.Platlib, py.Purelib)
}

// standardLibraries returns the directories of the standard library.
func standardLibraries(s Subject) []string {
	py := s.Python
	name := fmt.Sprintf("python%d.%d", py.Major, py.Minor)
	if py.FreeThreaded {
		name += "t"
	}
	var dirs []string
	for _, base := range []string{py.BasePrefix, py.ExecPrefix, py.Prefix} {
		for _, lib := range []string{"lib", "lib64"} {
			dir := filepath.Join(base, lib, name)
			there := fileExists(filepath.Join(dir, "os.py")) || fileExists(filepath.Join(dir, "lib-dynload"))
			if base != "" && there && !slices.Contains(dirs, dir) {
				dirs = append(dirs, dir)
			}
		}
	}
	return dirs
}

// serverFiles returns httpd and the modules that it loads.
func serverFiles(s Subject) []string {
	files := []string{s.Executable, s.Module}
	if s.LibPython != "" {
		files = append(files, s.LibPython)
	}
	for _, m := range serverModules(s.ModulesDir) {
		if m.there {
			files = append(files, m.file)
		}
	}
	return files
}

// loaderFiles returns what runs the programs of a subject for another system: the emulator
// or the loader, and the directory of the C library, which is not staged.
func loaderFiles(s Subject) []string {
	if len(s.Emulator) == 0 {
		return nil
	}
	return []string{s.Emulator[0], filepath.Join(s.Root, "lib")}
}

// borrow copies the needed files of a staged httpd and module to where the account can
// read them. The module keeps its depth: its run path may go up from its directory, and
// must not end in a directory of others.
func (t *throwaway) borrow(s Subject) (Subject, error) {
	to := map[string]string{s.Module: "stage/lib/python/site-packages/mod_wsgi/server/" + filepath.Base(s.Module)}
	if s.Tree != "" {
		files := append(filetree.Glob(s.Tree, "lib/*.so*"), s.Executable)
		for _, m := range serverModules(s.ModulesDir) {
			if m.there {
				files = append(files, m.file)
			}
		}
		for _, file := range files {
			to[file] = "stage/httpd/" + filepath.ToSlash(strings.TrimPrefix(file, s.Tree+string(filepath.Separator)))
		}
	}
	for from, name := range to {
		if err := t.copyIn(from, name); err != nil {
			return s, fault.New(fault.Environment, "check the owner, the mode and the free space of the directory for temporary files", "copy the files to be tried: %w", err)
		}
	}
	s.Module = t.path(to[s.Module])
	if s.Tree != "" {
		s.Executable, s.ModulesDir, s.Tree = t.path(to[s.Executable]), t.path("stage/httpd/modules"), t.path("stage/httpd")
	}
	return s, nil
}

// copyIn copies a file with its execute permission, and makes the directories on the way,
// all readable for anyone who can enter the server's directory.
func (t *throwaway) copyIn(from, name string) error {
	root := t.dir.Root()
	for i, c := range name {
		if c != '/' {
			continue
		}
		if err := root.Mkdir(name[:i], 0o700); errors.Is(err, fs.ErrExist) {
			continue
		} else if err != nil {
			return err
		}
		if err := root.Chmod(name[:i], 0o755); err != nil {
			return err
		}
	}
	in, err := owned.OpenFile(from)
	if err != nil {
		return err
	}
	defer func() { _ = in.Close() }()
	info, err := in.Stat()
	if err != nil {
		return err
	}
	return filetree.CreateIn(root, name, in, 0o644|info.Mode().Perm()&0o111)
}

// systemSite reports whether a Python also uses the site-packages of its base.
func systemSite(s Subject) bool {
	if s.Python.Prefix == s.Python.BasePrefix {
		return true
	}
	data, err := owned.ReadFile(filepath.Join(s.Prefix, "pyvenv.cfg"), 64<<10)
	if err != nil {
		return true
	}
	for line := range strings.Lines(string(data)) {
		name, value, _ := strings.Cut(line, "=")
		if strings.EqualFold(strings.TrimSpace(name), "include-system-site-packages") {
			return !strings.EqualFold(strings.TrimSpace(value), "false")
		}
	}
	return true
}
