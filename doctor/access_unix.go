//go:build unix

package doctor

import (
	"io/fs"
	"os"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"syscall"

	"modwsgi/internal/run"
)

// account is the account that needs access.
type account struct {
	name string
	uid  uint32
	gids []uint32
}

func accountOf(name string) (*account, error) {
	u, err := user.Lookup(name)
	if err != nil {
		return nil, err
	}
	uid, err := strconv.ParseUint(u.Uid, 10, 32)
	if err != nil {
		return nil, err
	}
	a := &account{name: name, uid: uint32(uid)}
	groups, err := u.GroupIds()
	if err != nil {
		groups = []string{u.Gid}
	}
	for _, g := range groups {
		if gid, err := strconv.ParseUint(g, 10, 32); err == nil {
			a.gids = append(a.gids, uint32(gid))
		}
	}
	return a, nil
}

// blocked returns the first component of path that the account cannot pass: a
// directory without search permission, or the file itself without read permission; ""
// if all are accessible. Symbolic links are followed, and the way to their targets is
// checked as well. Access control lists are ignored: one that grants access shows as a
// mask in the directory's mode.
func (a *account) blocked(path string) (string, error) {
	all := []string{path}
	if real, err := filepath.EvalSymlinks(path); err != nil {
		return "", err
	} else if real != path {
		all = append(all, real)
	}
	for _, p := range all {
		for _, dir := range above(p) {
			info, err := os.Stat(dir)
			if err != nil {
				return "", err
			}
			want := fs.FileMode(1) // search
			if !info.IsDir() {
				want = 4
			}
			if !a.permits(info, want) {
				return dir, nil
			}
		}
	}
	return "", nil
}

// above lists a path's directories from the root down, and the path itself.
func above(path string) []string {
	var out []string
	for {
		out = append(out, path)
		if path == filepath.Dir(path) {
			break
		}
		path = filepath.Dir(path)
	}
	slices.Reverse(out)
	return out
}

// permits checks one of the three groups of mode bits, as path_resolution(7) describes.
func (a *account) permits(info fs.FileInfo, want fs.FileMode) bool {
	st, ok := info.Sys().(*syscall.Stat_t)
	if !ok || a.uid == 0 {
		return true
	}
	mode := info.Mode().Perm()
	switch {
	case st.Uid == a.uid:
		mode >>= 6
	case slices.Contains(a.gids, st.Gid):
		mode >>= 3
	}
	return mode&want == want
}

func (a *account) fix(path string) string {
	if info, err := os.Stat(path); err == nil && !info.IsDir() {
		return "chmod o+r " + run.Quote(path)
	}
	if path == "/root" || filepath.Dir(path) == "/home" {
		return "move the environment or the application out of " + run.Quote(path) + " (to /srv or /opt), or let " + a.name + " pass: setfacl -m u:" + a.name + ":x " + run.Quote(path)
	}
	return "chmod o+x " + run.Quote(path)
}
