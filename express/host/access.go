package host

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"modwsgi/internal/fault"
	"modwsgi/internal/run"
)

// Need is what the application's account must be able to do with a path.
type Need struct {
	Path string
	What string // for the message: "the entry point (--entry-point)"
	Read bool   // read the file, list the directory; else reach it
}

// CheckAccess reports the first path that the account cannot reach or read, and
// the first component that is in the way. Without it the application's processes
// would crash again and again while clients wait for their timeout.
func CheckAccess(a *Account, needs []Need) error {
	if !Accounts {
		return nil
	}
	return As(a, func() error {
		for _, n := range needs {
			if err := reach(n.Path, n.Read, 0); err != nil {
				who := "this user"
				if a.Other {
					who = "the user " + a.User
				}
				return fault.New(fault.Environment, accessHint(err), "%s cannot use %s: %w", who, n.What, err)
			}
		}
		return nil
	})
}

func accessHint(err error) string {
	var b *blockedError
	if !errors.As(err, &b) {
		return ""
	}
	if strings.HasPrefix(b.at+"/", "/root/") {
		return "root's home is closed to others: use a Python and an application outside of it, for example below /opt or /srv"
	}
	return "open it (chmod o+x " + run.Quote(b.at) + "), or use another place or another --user"
}

// blockedError is a component of a path that the account may not pass.
type blockedError struct {
	path, at, how string
}

func (e *blockedError) Error() string {
	if e.at == e.path {
		return fmt.Sprintf("%s: it %s", e.path, e.how)
	}
	return fmt.Sprintf("%s: the directory %s %s", e.path, e.at, e.how)
}

func reach(path string, read bool, depth int) error {
	if depth > 40 {
		return fmt.Errorf("%s: too many symbolic links", path)
	}
	path = filepath.Clean(path)
	at := string(filepath.Separator)
	parts := strings.Split(strings.TrimPrefix(path, at), string(filepath.Separator))
	for _, part := range parts {
		parent := at
		at = filepath.Join(at, part)
		info, err := os.Lstat(at)
		switch {
		case errors.Is(err, fs.ErrPermission):
			return &blockedError{path: path, at: parent, how: "may not be entered by it"}
		case err != nil:
			return fmt.Errorf("%s does not exist", at)
		case info.Mode()&fs.ModeSymlink != 0:
			target, err := os.Readlink(at)
			if err != nil {
				return err
			}
			if !filepath.IsAbs(target) {
				target = filepath.Join(parent, target)
			}
			if err := reach(target, false, depth+1); err != nil {
				return err
			}
		}
	}
	return usable(path, read)
}

func usable(path string, read bool) error {
	info, err := os.Stat(path)
	if err != nil {
		return err
	}
	if info.IsDir() {
		if _, err := os.Stat(path + "/."); err != nil {
			return &blockedError{path: path, at: path, how: "may not be entered by it"}
		}
	}
	if !read {
		return nil
	}
	f, err := os.Open(path)
	if err != nil {
		return &blockedError{path: path, at: path, how: "may not be read by it"}
	}
	return f.Close()
}
