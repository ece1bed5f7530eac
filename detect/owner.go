package detect

import (
	"fmt"
	"path/filepath"
	"strings"

	"modwsgi/internal/fault"
	"modwsgi/internal/owned"
	"modwsgi/internal/run"
)

// Root runs nothing that another user can change. An interpreter or apxs of another
// user is queried as that user, who could have started it in any case, and its answers
// are believed only about its own environment.

// interpreterParts are the files and directories that determine what a query of an
// interpreter runs: the program, the one that a virtual environment was made from, and
// the standard libraries next to both.
func (d *Disk) interpreterParts(exe string) []string {
	parts := []string{exe}
	home := d.readConfig(filepath.Join(filepath.Dir(filepath.Dir(exe)), "pyvenv.cfg"))["home"]
	dirs := []string{filepath.Dir(exe)}
	if filepath.IsAbs(home) {
		parts, dirs = append(parts, home), append(dirs, home)
	}
	dirs = append(dirs, filepath.Dir(d.resolved(exe)))
	for _, dir := range unique(dirs...) {
		lib := filepath.Join(filepath.Dir(dir), "lib")
		for _, name := range d.readDir(lib) {
			if strings.HasPrefix(name, "python3") {
				parts = append(parts, filepath.Join(lib, name))
			}
		}
	}
	return parts
}

// notAsRoot completes the error of a program that was run as another user.
func notAsRoot(err error, account *run.Account, u *owned.Untrusted) error {
	if err == nil || account == nil {
		return err
	}
	return fault.New(fault.Environment,
		fmt.Sprintf("run modwsgi as the user who owns it; in a container without other users, set %s=%s", owned.TrustedVariable, run.Quote(directoryToTrust(u))),
		"%w (root does not run what another user can change, so it was started as user ID %d: %s)", err, account.UID, u.Error())
}

// directoryToTrust is the directory to suggest as trusted: the deepest one above the program,
// which includes those above it.
func directoryToTrust(u *owned.Untrusted) string {
	if dir := filepath.Dir(filepath.Dir(u.Path)); strings.HasPrefix(dir, u.At) {
		return dir
	}
	return u.At
}

// confined refuses paths outside its environment that another user's interpreter
// reports: root would write there.
func (a *answer) confined(d *Disk, exe string) error {
	within := func(path, dir string) bool {
		rel, err := filepath.Rel(dir, path)
		return err == nil && filepath.IsLocal(rel)
	}
	inside := false
	for _, step := range d.links(exe) {
		inside = inside || within(step, a.Prefix)
	}
	if filepath.Dir(a.Prefix) == a.Prefix || !inside {
		return fault.New(fault.Environment, hintGivePath, "%s, which another user can change, reports the environment %s, but is not in it", exe, a.Prefix)
	}
	for _, name := range []string{"purelib", "platlib", "scripts"} {
		path := a.Paths[name]
		if real, err := d.evalLinks(path); err == nil && !within(real, d.resolved(a.Prefix)) || !within(path, a.Prefix) {
			return fault.New(fault.Environment, hintGivePath, "%s, which another user can change, reports that its %s are in %s, outside %s", exe, name, path, a.Prefix)
		}
	}
	return nil
}
