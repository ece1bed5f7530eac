//go:build unix

package detect

import (
	"errors"
	"os"
	"os/user"
	"path/filepath"
	"strconv"
	"syscall"

	"modwsgi/internal/owned"
	"modwsgi/internal/run"
)

// nobodyID is the overflow ID, which owns nothing on any system (user_namespaces(7)).
const nobodyID = 65534

// accountFor returns the account as which root starts a program that consists of these
// files and directories: that of the first other user who can change one of them, or
// nobody if every user can. nil means to start it as the current user.
//
// Files behind a directory that no other user can enter count as ours: nobody else can
// reach them, and the program would not start as another user.
func (d *Disk) accountFor(paths ...string) (*run.Account, *owned.Untrusted) {
	if os.Geteuid() != 0 {
		return nil, nil
	}
	for _, path := range paths {
		var u *owned.Untrusted
		if path == "" || !errors.As(owned.Check(path), &u) || d.closed(u.At) {
			continue
		}
		if u.Owner <= 0 {
			return &run.Account{UID: nobodyID, GID: nobodyID}, u
		}
		return &run.Account{UID: uint32(u.Owner), GID: d.groupOf(u)}, u
	}
	return nil, nil
}

// closed reports whether a directory above a path keeps other users out.
func (d *Disk) closed(path string) bool {
	for dir := filepath.Dir(path); ; dir = filepath.Dir(dir) {
		info, err := d.stat(dir)
		if err == nil && info.Mode().Perm()&0o011 == 0 && owned.UID(info) == 0 {
			return true
		}
		if dir == filepath.Dir(dir) {
			return false
		}
	}
}

// groupOf is the group of a file's owner, or that of the file; never root's.
func (d *Disk) groupOf(u *owned.Untrusted) uint32 {
	if account, err := user.LookupId(strconv.Itoa(u.Owner)); err == nil {
		if gid, err := strconv.ParseUint(account.Gid, 10, 32); err == nil && gid != 0 {
			return uint32(gid)
		}
	}
	if info, err := d.lstat(u.At); err == nil {
		if st, ok := info.Sys().(*syscall.Stat_t); ok && st.Gid != 0 {
			return st.Gid
		}
	}
	return nobodyID
}
