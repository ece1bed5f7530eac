package run

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	"modwsgi/internal/owned"
)

// Root does not execute programs that another user put there. A directory of PATH counts
// for root only if nobody else can exchange programs in it: they would run with root's
// rights, under the name of a compiler or of sed, at the first build. A directory of
// root's that a group may write to, as Debian's staff to /usr/local/bin, is accepted: the
// system itself trusts the group's members. Relative directories never count
// (https://go.dev/blog/path-security).

// asRoot reports whether the directories of PATH are checked. Tests change it.
var asRoot = func() bool { return os.Geteuid() == 0 }

// judged caches the result for each directory: nobody else can change a trusted one, and
// one that is not trusted need not be checked again.
var judged sync.Map // string -> error

// usable returns nil if programs in a directory of PATH may be executed.
func usable(dir string) error {
	if !filepath.IsAbs(dir) {
		return errors.New("it is not an absolute path")
	}
	if !asRoot() {
		return nil
	}
	if known, ok := judged.Load(dir); ok {
		err, _ := known.(error)
		return err
	}
	err := owned.Check(dir)
	switch {
	case owned.IsUntrusted(err) && onlyGroups(dir):
		err = nil
	case err != nil && !owned.IsUntrusted(err):
		return err // it may be created later; nothing in it is executed now
	}
	judged.Store(dir, err)
	return err
}

// onlyGroups reports whether root owns a directory and all its parents, and only members
// of their groups can write to them.
func onlyGroups(dir string) bool {
	real, err := filepath.EvalSymlinks(dir)
	if err != nil {
		return false
	}
	for at := real; ; {
		info, err := os.Lstat(real)
		if err != nil || !info.IsDir() || owned.UID(info) != 0 {
			return false
		}
		sticky := real != at && info.Mode()&fs.ModeSticky != 0
		if info.Mode().Perm()&0o002 != 0 && !sticky {
			return false
		}
		if real == filepath.Dir(real) {
			return true
		}
		real = filepath.Dir(real)
	}
}

// UntrustedPath returns the directories of PATH whose programs are ignored because
// another user can exchange them, with the reasons.
func UntrustedPath(env []string) map[string]error {
	out := map[string]error{}
	for _, dir := range filepath.SplitList(Getenv(env, "PATH")) {
		if err := usable(dir); owned.IsUntrusted(err) {
			out[dir] = err
		}
	}
	return out
}

// TrustedPath returns a copy of env whose PATH has, for root, only the accepted
// directories, because tools search it too.
func TrustedPath(env []string) []string {
	if !asRoot() {
		return slices.Clone(env)
	}
	out := make([]string, 0, len(env))
	for _, v := range env {
		if list, ok := strings.CutPrefix(v, "PATH="); ok {
			dirs := slices.DeleteFunc(filepath.SplitList(list), func(dir string) bool { return usable(dir) != nil })
			v = "PATH=" + strings.Join(dirs, string(filepath.ListSeparator))
		}
		out = append(out, v)
	}
	return out
}
