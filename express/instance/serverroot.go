package instance

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/user"
	"path/filepath"
	"strconv"

	"modwsgi/express/host"
	"modwsgi/internal/fault"
	"modwsgi/internal/owned"
	"modwsgi/internal/run"
)

// The server root is opened once, and everything read from it or written to it goes
// through that handle (internal/owned). Only we and root can change any part of its
// path, so httpd can get it by name: its first process reads the configuration and
// writes the PID file there. The launcher never reads or follows what the application's
// account owns below it (python-eggs, results of the tools).

// parentOf opens the directory that the server root is in.
func parentOf(root string) (*owned.Dir, error) {
	parent, err := owned.OpenTemp(filepath.Dir(root))
	var u *owned.Untrusted
	switch {
	case errors.As(err, &u):
		return nil, fault.New(fault.Environment, rootHint(u), "another user can replace the server root %s: %s: %s", root, u.At, u.Why)
	case errors.Is(err, fs.ErrNotExist):
		return nil, fault.New(fault.Environment, "create it first", "the directory %s of the server root does not exist", filepath.Dir(root))
	case err != nil:
		return nil, fault.Wrap(fault.Environment, "choose another one with --server-root", err)
	}
	return parent, nil
}

// OpenRoot opens a server root. The error is fs.ErrNotExist if it does not exist.
func OpenRoot(root string) (*owned.Dir, error) {
	parent, err := parentOf(root)
	if err != nil {
		return nil, err
	}
	defer func() { _ = parent.Close() }()
	return openBelow(parent, root)
}

func openBelow(parent *owned.Dir, root string) (*owned.Dir, error) {
	dir, err := parent.Sub(filepath.Base(root))
	if err != nil {
		return nil, rootError(root, err)
	}
	Moment("server root opened")
	return dir, nil
}

// rootError explains why a server root is refused.
func rootError(root string, err error) error {
	var u *owned.Untrusted
	switch {
	case !errors.As(err, &u):
		return fault.Wrap(fault.Environment, "choose another one with --server-root", fmt.Errorf("the server root: %w", err))
	case u.Mode&fs.ModeSymlink != 0:
		return fault.New(fault.Environment, "name the directory itself", "the server root %s is a symbolic link", root)
	case u.Owner != 0 && u.Owner != os.Geteuid():
		return fault.New(fault.Environment, rootHint(u), "the server root %s belongs to another user: %s", root, u.Why)
	}
	return fault.New(fault.Environment, rootHint(u), "the server root %s can be written by others: %s", root, u.Why)
}

// rootHint returns the hint for a server root that could be another user's.
func rootHint(u *owned.Untrusted) string {
	place := "choose a directory that only you and root can write to with --server-root, such as one below /var/lib" + inContainers
	switch {
	case u.Owner == 0 || u.Owner == os.Geteuid():
		return "chmod go-w " + run.Quote(u.At) + ", or " + place
	case host.AsRoot():
		name := "#" + strconv.Itoa(u.Owner)
		if a, err := user.LookupId(name[1:]); err == nil && a.Username != "" {
			name = a.Username
		}
		return "run it as that user (sudo -u " + run.Quote(name) + " mod_wsgi-express ...), or " + place
	}
	return place
}

// MakeRoot opens the server root and creates it if necessary, with the rights it needs.
// Only we have access; as root, the application's group may pass through, because its
// processes reach their sockets and the glue in it. created is false if it was there
// already, even if another process had only just created it.
func MakeRoot(root string, a *host.Account) (dir *owned.Dir, created bool, err error) {
	parent, err := parentOf(root)
	if err != nil {
		return nil, false, err
	}
	defer func() { _ = parent.Close() }()
	name := filepath.Base(root)
	Moment("making the server root")
	err = parent.Root().Mkdir(name, 0o700)
	if err != nil && !errors.Is(err, fs.ErrExist) {
		return nil, false, fault.New(fault.Environment, "choose another directory with --server-root", "make the server root %s: %w", root, err)
	}
	created = err == nil
	if dir, err = openBelow(parent, root); err != nil {
		return nil, created, err
	}
	if err := openUp(dir, a); err != nil {
		_ = dir.Close()
		return nil, created, fault.Wrap(fault.Environment, "", err)
	}
	return dir, created, nil
}

// Directory is a directory of an instance.
type Directory struct {
	Path string
	Mine bool // the application writes to it
}

// MakeDirectories creates the missing directories; path is the server root's path.
func MakeDirectories(root *owned.Dir, path string, a *host.Account, list []Directory) error {
	for _, d := range list {
		if filepath.Dir(d.Path) != path {
			if err := makeOutside(d.Path, a, d.Mine); err != nil {
				return err
			}
			continue
		}
		if err := MakeSub(root.Root(), filepath.Base(d.Path), a, d.Mine); err != nil {
			return err
		}
		if !d.Mine {
			if err := PassOn(root, filepath.Base(d.Path), a); err != nil {
				return err
			}
		}
	}
	return nil
}

// makeOutside creates a directory at a location that the caller chose.
func makeOutside(path string, a *host.Account, mine bool) error {
	parent, err := os.OpenRoot(filepath.Dir(path))
	if err != nil {
		return err
	}
	defer func() { _ = parent.Close() }()
	return MakeSub(parent, filepath.Base(path), a, mine)
}

// MakeSub creates a directory for the instance; mine means that the application writes
// to it. An existing directory is left as it is. The parent may belong to another user
// (--log-directory), so only a directory just created is given away.
func MakeSub(parent *os.Root, name string, a *host.Account, mine bool) error {
	err := parent.Mkdir(name, 0o700)
	if errors.Is(err, fs.ErrExist) || err == nil && !a.Other {
		return nil
	}
	if err != nil {
		return err
	}
	Moment("directory made")
	dir, err := openPlain(parent, name)
	if err != nil {
		return err
	}
	defer func() { _ = dir.Close() }()
	info, err := dir.Stat()
	if err != nil {
		return err
	}
	if entries, _ := dir.Readdirnames(1); owned.UID(info) != os.Geteuid() || info.Mode().Perm() != 0o700 || len(entries) > 0 {
		return fmt.Errorf("%s is not the directory just created: it was replaced in the meantime", filepath.Join(parent.Name(), name))
	}
	return giveDirectory(dir, a, mine)
}

// openPlain opens a subdirectory, but not through a link.
func openPlain(parent *os.Root, name string) (*os.File, error) {
	seen, err := parent.Lstat(name)
	if err != nil {
		return nil, err
	}
	if !seen.IsDir() {
		return nil, fmt.Errorf("%s is not a directory", filepath.Join(parent.Name(), name))
	}
	dir, err := parent.Open(name)
	if err != nil {
		return nil, err
	}
	if info, err := dir.Stat(); err != nil || !os.SameFile(info, seen) {
		_ = dir.Close()
		return nil, fmt.Errorf("%s was replaced in the meantime", filepath.Join(parent.Name(), name))
	}
	return dir, nil
}

// PassOn gives a directory that an earlier run created in the server root to the group
// of the application's present account. It leaves alone a directory whose rights were
// changed, and anything that is not a directory.
func PassOn(root *owned.Dir, name string, a *host.Account) error {
	dir, err := openPlain(root.Root(), name)
	if err != nil || !a.Other {
		return nil //nolint:nilerr // nothing that we made
	}
	defer func() { _ = dir.Close() }()
	info, err := dir.Stat()
	if err != nil || owned.UID(info) != os.Geteuid() || info.Mode().Perm() != 0o750 {
		return err
	}
	return giveDirectory(dir, a, false)
}

// Put writes a file of the server root unless it already has that content: the glue's
// modification time makes processes of a running server reload.
func Put(root *owned.Dir, f RootFile, a *host.Account) error {
	f.Data = host.TextFile(f.Data)
	dir, name := root, f.Name
	if parent := filepath.Dir(f.Name); parent != "." {
		sub, err := root.Sub(parent)
		if err != nil {
			return err
		}
		defer func() { _ = sub.Close() }()
		dir, name = sub, filepath.Base(f.Name)
	}
	old, err := dir.ReadFile(name, int64(len(f.Data)))
	if err == nil && string(old) == string(f.Data) {
		if !f.Shared || !a.Other {
			return nil
		}
		file, err := dir.Open(name)
		if err != nil {
			return err
		}
		defer func() { _ = file.Close() }()
		return giveGroup(file, a)
	}
	file, err := dir.Create(name, f.Mode)
	if err != nil {
		return err
	}
	defer file.Abort()
	if _, err := file.Write(f.Data); err != nil {
		return err
	}
	if f.Shared && a.Other {
		if err := giveGroup(file.File, a); err != nil {
			return err
		}
	}
	return file.Commit()
}

// mostLaunch exceeds the size of any launch file.
const mostLaunch = 4 << 20

// ReadLaunch reads how the httpd of a server root is started.
func ReadLaunch(root string) (*Launch, error) {
	dir, err := OpenRoot(root)
	notOne := func() error {
		return fault.New(fault.Usage, "make one with mod_wsgi-express setup-server", "%s is not a server root", root)
	}
	if errors.Is(err, fs.ErrNotExist) {
		return nil, notOne()
	}
	if err != nil {
		return nil, err
	}
	data, err := dir.ReadFile(InstanceFile, mostLaunch)
	if errors.Is(err, fs.ErrNotExist) {
		_ = dir.Close()
		return nil, notOne()
	}
	if err != nil {
		_ = dir.Close()
		return nil, fault.New(fault.Environment, "run setup-server again", "read how the instance is started: %w", err)
	}
	l := &Launch{Handle: dir}
	if err := json.Unmarshal(data, l); err != nil {
		_ = dir.Close()
		return nil, fault.New(fault.Environment, "run setup-server again", "read %s: %w", InstanceFile, err)
	}
	if l.Root == "" {
		_ = dir.Close()
		return nil, fault.New(fault.Environment, "run setup-server again", "read %s: it does not name the server root", filepath.Join(root, InstanceFile))
	}
	if err := l.samePlace(root); err != nil {
		_ = dir.Close()
		return nil, err
	}
	return l, nil
}

// samePlace refuses a server root that was moved or copied: its files contain the old
// path, where another instance may be now.
func (l *Launch) samePlace(root string) error {
	if l.Root == root {
		return nil
	}
	there, err := OpenRoot(l.Root) // perhaps another name of the same directory
	if err == nil {
		defer func() { _ = there.Close() }()
		a, err1 := there.Root().Stat(".")
		b, err2 := l.Handle.Root().Stat(".")
		if err := errors.Join(err1, err2); err != nil {
			return fault.Wrap(fault.Environment, "", err)
		}
		if os.SameFile(a, b) {
			return nil
		}
	}
	return fault.New(fault.Environment, "run setup-server again for the new location", "%s was written for the server root %s, which is another directory", filepath.Join(root, InstanceFile), l.Root)
}

// Close releases the handle of the server root.
func (l *Launch) Close() {
	if l.Handle != nil {
		_ = l.Handle.Close()
	}
}

// RootFile is a text file of a server root; a shared one can be read by the
// application's account.
type RootFile struct {
	Name   string
	Data   []byte
	Mode   os.FileMode
	Shared bool
}
