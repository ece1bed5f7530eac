//go:build unix

package owned

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// nonBlock prevents opening a pipe from waiting for a writer.
const nonBlock = unix.O_NONBLOCK

// final is what is allowed at the end of a path.
type final struct {
	file   bool // a regular file, opened for reading
	dir    bool // a directory
	sticky bool // also one that everybody may write to, if it is sticky
	create bool // create missing directories
	output bool // see OutputDir: accept directories of other users
	theirs bool // a directory that another user may own, see OpenTheirs
	also   int  // an account that is trusted besides this one and root
}

// handle is the end of a walk.
type handle struct {
	fd   int      // of a directory; -1 for other files
	file *os.File // nil except for final.file
	path string   // as requested
	real string   // links resolved
	// exposed: the mode of the file lets another user read it.
	exposed bool
	// shared: another user can change the path (final.output).
	shared bool
}

func (h *handle) close() {
	if h.fd >= 0 {
		_ = unix.Close(h.fd)
	}
	if h.file != nil {
		_ = h.file.Close()
	}
}

// open turns the handle into a Dir, which then owns it.
func (h *handle) open() (*Dir, error) {
	defer h.close()
	root, err := os.OpenRoot(h.real)
	if err != nil {
		return nil, err
	}
	// os.Root opens by name only. Nobody else can exchange the name, but this user and
	// root can.
	var st unix.Stat_t
	err = unix.Fstat(h.fd, &st)
	if err == nil {
		var now fs.FileInfo
		if now, err = root.Stat("."); err == nil {
			if sys, ok := now.Sys().(*syscall.Stat_t); !ok || uint64(sys.Dev) != uint64(st.Dev) || sys.Ino != st.Ino {
				err = errChanged
			}
		}
	}
	if err != nil {
		_ = root.Close()
		return nil, &fs.PathError{Op: "open", Path: h.real, Err: err}
	}
	return &Dir{path: h.real, root: root, shared: h.shared}, nil
}

// maxLinks is how many symbolic links a path may go through, as in the kernel.
const maxLinks = 40

// hook is called with the path of each part before it is opened. Tests exchange parts
// there.
var hook = func(string) {}

// walker follows a path. fd is the current directory. loose is set if other users may
// create entries in it, which the sticky bit then protects from each other.
type walker struct {
	asked string
	fd    int
	at    string
	loose bool
	// shared: another user can change a directory on the way. foreign: the last ones are
	// in a directory that belongs to another user (final.output).
	shared, foreign bool
	todo            []string
	links           int
	want            final
	// linked is the other user whose link was followed, or -1, see OpenTheirs.
	linked int
}

func walk(path string, want final) (*handle, error) {
	full, err := filepath.Abs(path)
	if err != nil {
		return nil, err
	}
	w := &walker{asked: full, fd: -1, want: want, linked: -1}
	defer func() {
		if w.fd >= 0 {
			_ = unix.Close(w.fd)
		}
	}()
	if err := w.restart(full); err != nil {
		return nil, err
	}
	for len(w.todo) > 0 {
		name := w.todo[0]
		w.todo = w.todo[1:]
		hook(filepath.Join(w.at, name))
		last, err := w.step(name)
		if err != nil || last != nil {
			return last, err
		}
	}
	return w.end()
}

// restart goes back to the root directory.
func (w *walker) restart(path string) error {
	w.foreign = false // the target of a link has its own path
	fd, err := unix.Open("/", pathOnly|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return &fs.PathError{Op: "open", Path: "/", Err: err}
	}
	w.todo = append(parts(path), w.todo...)
	return w.enter(fd, "/")
}

func parts(path string) []string {
	return strings.FieldsFunc(path, func(r rune) bool { return r == '/' })
}

// enter makes an open directory the current one if it is trusted.
func (w *walker) enter(fd int, at string) error {
	if w.fd >= 0 {
		_ = unix.Close(w.fd)
	}
	w.fd, w.at = fd, at
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return &fs.PathError{Op: "stat", Path: at, Err: err}
	}
	loose, err := judgeStat(w.asked, at, &st, onTheWay, w.want.also)
	w.loose = loose
	if w.want.theirs {
		return nil
	}
	if err != nil && w.want.output {
		w.shared, w.foreign = true, w.foreign || !us(int(st.Uid), w.want.also)
		return nil
	}
	return err
}

// step goes one part further. The handle is not nil if that was the end, and not a
// directory.
func (w *walker) step(name string) (*handle, error) {
	at := filepath.Join(w.at, name)
	fail := func(op string, err error) (*handle, error) {
		return nil, &fs.PathError{Op: op, Path: at, Err: err}
	}
	switch name {
	case ".":
		return nil, nil
	case "..": // of a link; start from the top, so that what is known about the path stays right
		return nil, w.restart(filepath.Dir(w.at))
	}
	var st unix.Stat_t
	err := unix.Fstatat(w.fd, name, &st, unix.AT_SYMLINK_NOFOLLOW)
	if errors.Is(err, unix.ENOENT) && w.want.create {
		err = w.mkdir(name)
		if err != nil && !errors.Is(err, unix.EEXIST) {
			return fail("mkdir", err)
		}
		err = unix.Fstatat(w.fd, name, &st, unix.AT_SYMLINK_NOFOLLOW)
	}
	if err != nil {
		return fail("open", err)
	}
	switch st.Mode & unix.S_IFMT {
	case unix.S_IFLNK:
		return nil, w.follow(name, at, &st)
	case unix.S_IFDIR:
		fd, err := unix.Openat(w.fd, name, pathOnly|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
		if err != nil {
			return fail("open", err)
		}
		return nil, w.enter(fd, at)
	}
	switch {
	case len(w.todo) > 0:
		return fail("open", unix.ENOTDIR)
	case w.want.dir:
		return fail("open", errors.New("it is not a directory"))
	}
	return w.openFile(name, at, &st)
}

// mkdir creates a directory in this one.
func (w *walker) mkdir(name string) error {
	if w.want.output {
		return unix.Mkdirat(w.fd, name, 0o777) // subject to the umask, like the files in it
	}
	err := unix.Mkdirat(w.fd, name, 0o700)
	if err == nil { // the umask may have removed rights of the owner
		err = unix.Fchmodat(w.fd, name, 0o700, 0)
	}
	return err
}

// follow replaces a link with its target.
func (w *walker) follow(name, at string, st *unix.Stat_t) error {
	if w.want.theirs {
		if err := w.followTheirs(at, st); err != nil {
			return err
		}
	} else if w.foreign || w.loose && !us(int(st.Uid), w.want.also) {
		return &Untrusted{
			Path: w.asked, At: at, Owner: int(st.Uid), Mode: fs.ModeSymlink | 0o777,
			Why: "it is a symbolic link of " + nameOf(int(st.Uid)),
		}
	}
	if w.links++; w.links > maxLinks {
		return &fs.PathError{Op: "open", Path: w.asked, Err: unix.ELOOP}
	}
	target := make([]byte, unix.PathMax)
	n, err := unix.Readlinkat(w.fd, name, target)
	if err == nil && (n == 0 || n == len(target)) {
		err = unix.ENAMETOOLONG
	}
	if err != nil {
		return &fs.PathError{Op: "readlink", Path: at, Err: err}
	}
	to := string(target[:n])
	if filepath.IsAbs(to) {
		return w.restart(to)
	}
	w.todo = append(parts(to), w.todo...)
	return nil
}

// followTheirs applies the rule of OpenTheirs to a link.
func (w *walker) followTheirs(at string, st *unix.Stat_t) error {
	uid := int(st.Uid)
	bad := func(why string) error {
		return &Untrusted{Path: w.asked, At: at, Owner: uid, Mode: fs.ModeSymlink | 0o777, Why: why}
	}
	switch {
	case us(uid, 0) && w.loose && st.Nlink > 1: // a hard link to a link that this user made elsewhere
		return bad("it is a symbolic link with several names")
	case us(uid, 0):
		return nil
	case w.linked >= 0 && w.linked != uid:
		return bad("it is a symbolic link of " + nameOf(uid) + ", which a link of " + nameOf(w.linked) + " leads to")
	}
	w.linked = uid
	return nil
}

// openFile opens the file at the end, and judges the open one.
func (w *walker) openFile(name, at string, st *unix.Stat_t) (*handle, error) {
	h := &handle{fd: -1, path: w.asked, real: at}
	if !w.want.file {
		_, err := judgeStat(w.asked, at, st, atTheEnd, w.want.also)
		return h, err
	}
	if st.Mode&unix.S_IFMT != unix.S_IFREG {
		return nil, &fs.PathError{Op: "open", Path: at, Err: errors.New("it is not a regular file")}
	}
	fd, err := unix.Openat(w.fd, name, unix.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, &fs.PathError{Op: "open", Path: at, Err: err}
	}
	h.file = os.NewFile(uintptr(fd), at)
	var now unix.Stat_t
	if err = unix.Fstat(fd, &now); err == nil {
		if now.Mode&unix.S_IFMT != unix.S_IFREG {
			err = &fs.PathError{Op: "open", Path: at, Err: errors.New("it is not a regular file")}
		} else {
			_, err = judgeStat(w.asked, at, &now, atTheEnd, w.want.also)
		}
	}
	h.exposed = readable(&now)
	if err != nil {
		h.close()
		return nil, err
	}
	return h, nil
}

// end handles a walk that ended in a directory.
func (w *walker) end() (*handle, error) {
	if w.want.file {
		return nil, &fs.PathError{Op: "open", Path: w.at, Err: errors.New("it is a directory")}
	}
	// It was judged as a directory on the way, with weaker requirements.
	var st unix.Stat_t
	if err := unix.Fstat(w.fd, &st); err != nil {
		return nil, &fs.PathError{Op: "stat", Path: w.at, Err: err}
	}
	place := atTheEnd
	if w.want.sticky {
		place = forScratch
	}
	_, err := judgeStat(w.asked, w.at, &st, place, w.want.also)
	switch {
	case w.want.theirs:
		err = w.endTheirs(&st)
	case err != nil && w.want.output:
		w.shared, err = true, nil
	}
	if err != nil {
		return nil, err
	}
	h := &handle{fd: w.fd, path: w.asked, real: w.at, shared: w.shared}
	w.fd = -1
	return h, nil
}

// endTheirs applies the rule of OpenTheirs to the directory at the end.
func (w *walker) endTheirs(st *unix.Stat_t) error {
	if w.linked < 0 || w.linked == int(st.Uid) {
		return nil
	}
	return &Untrusted{
		Path: w.asked, At: w.at, Owner: int(st.Uid), Mode: fs.ModeDir | fs.FileMode(st.Mode&0o777),
		Why: "a symbolic link of " + nameOf(w.linked) + " leads there, and it belongs to " + nameOf(int(st.Uid)),
	}
}

// us reports whether a user is this one, root, or the one named by also.
func us(uid, also int) bool { return uid == 0 || uid == os.Geteuid() || uid == also }

// place is a position on a path.
type place int

const (
	onTheWay   place = iota
	atTheEnd         // nobody else may create entries in it
	forScratch       // at the end, and may be sticky
)

// judge is judgeStat for what os.Root or os.File describe, at the end of a path.
func judge(asked, at string, info fs.FileInfo) error {
	sys, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return &fs.PathError{Op: "stat", Path: at, Err: errors.New("the system does not report who owns it")}
	}
	st := unix.Stat_t{Uid: sys.Uid, Gid: sys.Gid, Mode: sys.Mode}
	_, err := judgeStat(asked, at, &st, atTheEnd, 0)
	return err
}

// judgeStat applies the rule of the package comment to one directory or file. loose
// reports a directory in which others may create entries and which is accepted because it
// is sticky.
func judgeStat(asked, at string, st *unix.Stat_t, where place, also int) (loose bool, err error) {
	mode := fs.FileMode(st.Mode & 0o777)
	if st.Mode&unix.S_ISVTX != 0 {
		mode |= fs.ModeSticky
	}
	dir := st.Mode&unix.S_IFMT == unix.S_IFDIR
	if dir {
		mode |= fs.ModeDir
	}
	uid := int(st.Uid)
	if dir && trustedByUser(at) {
		return false, nil
	}
	bad := func(why string) (bool, error) {
		return true, &Untrusted{Path: asked, At: at, Owner: uid, Mode: mode, Why: why}
	}
	if !us(uid, also) && !(outside(uid) && (where == onTheWay || ofSystem(at))) {
		return bad("it belongs to " + nameOf(uid))
	}
	sticky := dir && mode&fs.ModeSticky != 0 && where != atTheEnd
	switch {
	case mode.Perm()&0o002 != 0 && !sticky:
		return bad("everybody may write to it (mode " + mode.String() + ")")
	case mode.Perm()&0o002 != 0:
		return true, nil
	case mode.Perm()&0o020 == 0 || !outsideGroup(int(st.Gid)) && alone(int(st.Gid), also) && !hasACL(at):
		return false, nil
	case !sticky:
		return bad("the group " + groupName(int(st.Gid)) + " may write to it (mode " + mode.String() + ")")
	}
	return true, nil
}

// systemTrees are the directories that only a machine's root, or whoever made a container,
// can have made and filled.
var systemTrees = []string{"/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32", "/etc"}

// ofSystem reports whether a path, without links, belongs to the system: everything in
// systemTrees, and the directories that every user may create files in. In a user
// namespace without the machine's root, its files and those of other users look the same.
func ofSystem(at string) bool {
	if slices.Contains([]string{"/", "/tmp", "/var/tmp", "/dev/shm"}, at) {
		return true
	}
	return slices.ContainsFunc(systemTrees, func(tree string) bool { return at == tree || strings.HasPrefix(at, tree+"/") })
}

// readable reports whether the mode of a file lets another user read it. Access
// control lists show up in the group's bits.
func readable(st *unix.Stat_t) bool {
	return st.Mode&0o004 != 0 || st.Mode&0o040 != 0 && !alone(int(st.Gid), 0)
}

func ownerOf(info fs.FileInfo) int {
	if st, ok := info.Sys().(*syscall.Stat_t); ok {
		return int(st.Uid)
	}
	return -1
}
