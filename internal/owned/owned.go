// Package owned decides which files of other users may be trusted, followed or executed.
// It is the only place where that is decided: the cache, journals, server roots, pid
// files, scratch directories, included files, programs and keys are all opened through
// it.
//
// # The rule
//
// A path is trusted if only this user and root can change what it leads to. To find out,
// the path is walked from the top, one directory after another. Each is opened through
// the handle of its parent and judged by the attributes of the open handle (fstat), never
// by a name that another user could exchange in the meantime:
//
//   - Each directory and the file at the end belong to this user or to root.
//   - No other user may write to them. A group may, if it has no other member than
//     this user and root, and the file has no access control list.
//   - A directory that everybody may write to is accepted if it is sticky, as
//     /tmp is: only the owner of an entry can remove or rename that entry there,
//     and the entry that the path goes through belongs to this user or root.
//   - A symbolic link is followed by the same rule: only this user and root can
//     change its directory, or the directory is sticky and the link belongs to
//     one of them. Then its target is walked.
//
// In a user namespace, files of users outside of it have an owner that stands for all of
// them (user_namespaces(7)), root included. They are accepted as directories on the way,
// which whoever made the container has chosen, and in the system's own directories, such
// as /usr, which only the machine's root can have filled.
//
// [Vouch] exempts directories that the user names in the environment.
//
// By induction nobody else can exchange any part of a trusted path, now or later, so its
// name may be passed to tools (compilers, httpd). Entries below a trusted directory are
// not trusted automatically: they may have been made while the rights were wider.
// [Dir.Sub] and [Dir.Open] check them.
//
// Files that the user asks for by name may still be written to a directory of another
// user: see [OutputDir].
//
// # What it does not decide
//
// Whether an untrusted path is an error, a warning, or a reason to use another path is
// the caller's decision. Access control lists of Windows are not read: every path is
// trusted there. Root and the current user are trusted, and so is what the kernel reports
// about owners (a file server may lie).
//
// [RemoveAll] and the other functions for trees do not need a trusted path. They never
// leave the given tree and never follow a link.
package owned

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"

	"modwsgi/internal/quote"
)

// Untrusted is the error for a path that another user than this one and root may change.
type Untrusted struct {
	Path  string      // the requested path
	At    string      // the part of it that another user may change
	Owner int         // of At
	Mode  fs.FileMode // of At
	Why   string      // "it belongs to the user alice"
}

func (u *Untrusted) Error() string {
	if u.At == u.Path {
		return fmt.Sprintf("%s is not trusted: %s", u.Path, u.Why)
	}
	return fmt.Sprintf("%s is not trusted: %s, on the way to it, %s", u.Path, u.At, u.Why)
}

// Hint returns what to do about it.
func (u *Untrusted) Hint() string {
	return "use a path that only you and root can write to, all the way up; in a container that nobody else uses, name the directory in " + TrustedVariable
}

// Reason returns the error as part of a sentence.
func (u *Untrusted) Reason() string {
	if rest, ok := strings.CutPrefix(u.Why, "it belongs "); ok {
		return u.At + " belongs " + rest
	}
	return "of " + u.At + " " + u.Why
}

// IsUntrusted reports whether the error is that another user may change a file.
func IsUntrusted(err error) bool {
	var u *Untrusted
	return errors.As(err, &u)
}

// Check returns nil if only this user and root can change the file or directory that path
// leads to, *Untrusted if another user can, and otherwise the error of examining it
// (fs.ErrNotExist for a path that does not exist).
func Check(path string) error {
	h, err := walk(path, final{})
	if err != nil {
		return err
	}
	h.close()
	return nil
}

// CheckFor is Check with one more trusted account, for instance the owner of the programs
// that root was asked to run.
func CheckFor(path string, uid int) error {
	h, err := walk(path, final{also: uid})
	if err != nil {
		return err
	}
	h.close()
	return nil
}

// OpenFile opens a regular file for reading that nobody else can change or replace. It
// never waits for a writer of a pipe.
func OpenFile(path string) (*os.File, error) {
	h, err := walk(path, final{file: true})
	if err != nil {
		return nil, err
	}
	return h.file, nil
}

// ReadFile returns the contents of a file that nobody else can change. It reads an open
// descriptor as it is, like ReadSecret. A file of more than limit bytes is an error.
func ReadFile(path string, limit int64) ([]byte, error) {
	open := OpenFile
	if Descriptor(path) {
		open = os.Open
	}
	f, err := open(path)
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }()
	return readAll(f, limit)
}

// Exposed is the error for a secret that other users can read.
type Exposed struct {
	Path string
	Mode fs.FileMode
}

func (e *Exposed) Error() string {
	return fmt.Sprintf("%s can be read by other users (mode %v)", e.Path, e.Mode)
}

// Hint returns what to do about it.
func (e *Exposed) Hint() string { return "remove their access: chmod 600 " + quote.Shell(e.Path) }

// ReadSecret returns the contents of a file with a key or a passphrase, which nobody else
// can change or read. The error is *Exposed if its mode lets another user read it, even
// inside a directory that nobody else can enter: a copy or a backup keeps only the mode.
// An open descriptor (/dev/stdin, /dev/fd/3, as in a shell's process substitution) is
// read as it is. More than limit bytes are an error.
func ReadSecret(path string, limit int64) ([]byte, error) {
	if Descriptor(path) {
		return ReadFile(path, limit)
	}
	h, err := walk(path, final{file: true})
	if err != nil {
		return nil, err
	}
	defer h.close()
	if h.exposed {
		info, err := h.file.Stat()
		if err != nil {
			return nil, err
		}
		return nil, &Exposed{Path: path, Mode: info.Mode().Perm()}
	}
	return readAll(h.file, limit)
}

// Descriptor reports whether a path names an open descriptor of this process. It can be
// read once, and not by a process that only receives its name.
func Descriptor(path string) bool {
	for _, prefix := range []string{"/dev/fd/", "/proc/self/fd/"} {
		if rest, ok := strings.CutPrefix(path, prefix); ok {
			_, err := strconv.ParseUint(rest, 10, 16)
			return err == nil
		}
	}
	return path == "/dev/stdin"
}

func readAll(f *os.File, limit int64) ([]byte, error) {
	data, err := io.ReadAll(io.LimitReader(f, limit+1))
	if err != nil {
		return nil, err
	}
	if int64(len(data)) > limit {
		return nil, &fs.PathError{Op: "read", Path: f.Name(), Err: fmt.Errorf("more than %d bytes", limit)}
	}
	return data, nil
}

// OpenDir opens a directory if nobody else can change any part of its path.
func OpenDir(path string) (*Dir, error) {
	h, err := walk(path, final{dir: true})
	if err != nil {
		return nil, err
	}
	return h.open()
}

// MakeDir is OpenDir that creates the missing parts of the path with the mode 0700,
// whatever the umask.
func MakeDir(path string) (*Dir, error) {
	h, err := walk(path, final{dir: true, create: true})
	if err != nil {
		return nil, err
	}
	return h.open()
}

// OutputDir opens a directory for files that the user asked for by name, as in --out. It
// may belong to another user, who can then change the written files later, but cannot
// redirect the writes: a symbolic link that another user may have made is *Untrusted, and
// no link is followed below a directory of another user. Shared distinguishes such a
// directory from a trusted one.
func OutputDir(path string) (*Dir, error) {
	h, err := walk(path, final{dir: true, output: true})
	if err != nil {
		return nil, err
	}
	return h.open()
}

// MakeOutputDir is OutputDir that creates the missing parts of the path, subject to the
// umask.
func MakeOutputDir(path string) (*Dir, error) {
	h, err := walk(path, final{dir: true, output: true, create: true})
	if err != nil {
		return nil, err
	}
	return h.open()
}

// Scratch creates a directory with a random name that begins with prefix, private to this
// user. base is a directory whose path nobody else can change; it may be sticky as /tmp
// is. "" is the environment's directory for temporary files (os.TempDir).
func Scratch(base, prefix string) (*Dir, error) {
	if base == "" {
		base = os.TempDir()
	}
	h, err := walk(base, final{dir: true, sticky: true})
	if err != nil {
		return nil, err
	}
	parent, err := h.open()
	if err != nil {
		return nil, err
	}
	defer func() { _ = parent.Close() }()
	return parent.Temp(prefix)
}

// nameOf returns the name of an account for messages.
func nameOf(uid int) string {
	if u, err := user.LookupId(strconv.Itoa(uid)); err == nil && u.Username != "" {
		return "the user " + u.Username
	}
	return "the user with the id " + strconv.Itoa(uid)
}

// Owner returns the account that owns a file, for messages: "the user alice".
func Owner(info fs.FileInfo) string { return nameOf(ownerOf(info)) }

// UID returns the id of the account that owns a file, or -1 on systems without such ids.
func UID(info fs.FileInfo) int { return ownerOf(info) }

// RemoveAll removes path and everything below it, like os.RemoveAll, also from
// directories that their owner may not write to. It does not follow links below the
// directory of path, and does not change modes outside the tree. path need not be
// trusted. A missing path is not an error.
func RemoveAll(path string) error {
	path = filepath.Clean(path)
	root, err := os.OpenRoot(filepath.Dir(path))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	defer func() { _ = root.Close() }()
	return RemoveIn(root, filepath.Base(path))
}

// RemoveIn removes an entry of an open directory and everything below it, as RemoveAll
// does.
func RemoveIn(root *os.Root, name string) error {
	if name == "." || name == ".." || !filepath.IsLocal(name) || filepath.Base(name) != name {
		return &fs.PathError{Op: "remove", Path: name, Err: errors.New("not the name of an entry")}
	}
	// The usual case in one call, which does not follow links either.
	if err := root.RemoveAll(name); err == nil {
		return nil
	}
	return removeSlowly(root, name, 0)
}

// deepest limits the recursion. No tree that modwsgi makes is nearly as deep, and a path
// that long cannot be named.
const deepest = 4096

func removeSlowly(root *os.Root, name string, depth int) error {
	info, err := root.Lstat(name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	if !info.IsDir() || depth > deepest {
		return root.Remove(name)
	}
	sub, err := openSame(root, name, info)
	if errors.Is(err, fs.ErrPermission) {
		// os.Root does not leave the tree here, whatever the name is by now.
		if err := root.Chmod(name, 0o700); err != nil {
			return err
		}
		sub, err = openSame(root, name, info)
	}
	if err != nil {
		return err
	}
	defer func() { _ = sub.Close() }()
	_ = sub.Chmod(".", 0o700) // the handle's own directory
	entries, err := readEntries(sub)
	if err != nil {
		return err
	}
	var first error
	for _, e := range entries {
		if err := removeSlowly(sub, e.Name(), depth+1); err != nil && first == nil {
			first = err
		}
	}
	if first != nil {
		return first
	}
	return root.Remove(name)
}

// openSame opens the directory that was examined and not one that took its name.
func openSame(root *os.Root, name string, seen fs.FileInfo) (*os.Root, error) {
	sub, err := root.OpenRoot(name)
	if err != nil {
		return nil, err
	}
	info, err := sub.Stat(".")
	if err == nil && !os.SameFile(info, seen) {
		err = &fs.PathError{Op: "open", Path: name, Err: errChanged}
	}
	if err != nil {
		_ = sub.Close()
		return nil, err
	}
	return sub, nil
}

var errChanged = errors.New("another one has replaced it in the meantime")

func readEntries(root *os.Root) ([]fs.DirEntry, error) {
	f, err := root.Open(".")
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }()
	return f.ReadDir(-1)
}

// Chmod changes the mode of a regular file or a directory. A symbolic link is an error,
// and one that takes the name during the call cannot lead outside the directory of name.
func Chmod(name string, mode fs.FileMode) error {
	name = filepath.Clean(name)
	root, err := os.OpenRoot(filepath.Dir(name))
	if err != nil {
		return err
	}
	defer func() { _ = root.Close() }()
	info, err := root.Lstat(filepath.Base(name))
	if err == nil && !info.IsDir() && !info.Mode().IsRegular() {
		err = &fs.PathError{Op: "chmod", Path: name, Err: errors.New("it is not a regular file or a directory")}
	}
	if err != nil {
		return err
	}
	return root.Chmod(filepath.Base(name), mode)
}
