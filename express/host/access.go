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

// Need is a path that the application's account must be able to use.
type Need struct {
	Path string
	What string // for the message: "the entry point (--entry-point)"
	Read bool   // must be readable, not just reachable
}

// CheckAccess returns an error for the first path that the account cannot reach or
// read, with the component that denies access. Without this check, the application's
// processes would crash repeatedly while clients wait until they time out.
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
		return "other users cannot enter root's home directory: use a Python and an application elsewhere, for example below /opt or /srv"
	}
	return "grant access (chmod o+x " + run.Quote(b.at) + "), or use another location or another --user"
}

// blockedError is a component of a path that the account cannot pass.
type blockedError struct {
	path, at, how string
}

func (e *blockedError) Error() string {
	if e.at == e.path {
		return fmt.Sprintf("%s %s", e.path, e.how)
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
			return &blockedError{path: path, at: parent, how: "cannot be entered"}
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
			return &blockedError{path: path, at: path, how: "cannot be entered"}
		}
	}
	if !read {
		return nil
	}
	f, err := os.Open(path)
	if err != nil {
		return &blockedError{path: path, at: path, how: "cannot be read"}
	}
	return f.Close()
}
