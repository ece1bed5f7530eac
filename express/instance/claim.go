package instance

import (
	"context"
	"errors"
	"io/fs"

	"modwsgi/express/config"
	"modwsgi/express/host"
	"modwsgi/internal/fault"
	"modwsgi/internal/flock"
	"modwsgi/internal/owned"
	"modwsgi/internal/run"
)

// CheckRoot refuses a server root that another user could have altered or replaced, and
// one whose configuration mod_wsgi-express did not write. It warns about other files in
// it. A missing server root passes. The launcher's Python part marks the server roots
// of mod_wsgi-express and of upstream's launcher.
func CheckRoot(root string) (warning string, err error) {
	dir, err := OpenRoot(root)
	if errors.Is(err, fs.ErrNotExist) {
		return "", nil
	}
	if err != nil {
		return "", err
	}
	defer func() { _ = dir.Close() }()
	has := func(name string) bool { _, err := dir.Lstat(name); return err == nil }
	entries, err := dir.Entries()
	if err != nil || len(entries) == 0 || has(config.HandlerFile) {
		return "", nil //nolint:nilerr // it can be used without being listed
	}
	if has(ConfFile) {
		return "", fault.New(fault.Environment, "choose another directory with --server-root, or move the file away",
			"the server root %s contains an httpd.conf that mod_wsgi-express did not write", root)
	}
	return "the server root " + root + " contains other files (" + entries[0].Name() + "); those of mod_wsgi-express are added to them", nil
}

// LockRoot keeps other launchers away from a server root until release is called. A
// server runs for days, so LockRoot waits for one only if the environment asks for it.
func LockRoot(ctx context.Context, root string, env []string, waiting func(string)) (release func(), err error) {
	limit, err := flock.Limit(run.Getenv(env, flock.Variable), "0")
	if err != nil {
		return nil, err
	}
	lock, err := flock.Wait(ctx, flock.Options{
		Dir: root, Limit: limit, Busy: "already serves with that server root", Waiting: waiting,
		Hint: "stop it, or use another --server-root; " + flock.Variable + " sets how long to wait for its end",
	})
	if fault.ClassOf(err) == fault.Internal && err != nil {
		err = fault.New(fault.Environment, "", "mark the server root %s as in use: %w", root, err)
	}
	if err != nil {
		return nil, err
	}
	return func() { _ = lock.Release() }, nil
}

// CheckStopped refuses a server root whose httpd is running.
func (l *Launch) CheckStopped() error {
	dir, err := OpenRoot(l.Root)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	there := *l
	there.Handle = dir
	defer there.Close()
	proc, err := there.Running()
	if err != nil || proc == nil {
		return err
	}
	defer proc.Release()
	return fault.New(fault.Busy, "stop it, or use another --server-root", "an httpd already runs with the server root %s (process %d)", l.Root, proc.Pid)
}

// CheckPort refuses a port that another process uses.
func (l *Launch) CheckPort() error {
	name := l.Host
	if name == "localhost" {
		name = ""
	}
	return host.CheckPort(name, l.Port, config.Port.Flag())
}

// RemoveSockets removes the sockets that an earlier httpd left in the server root or in
// another directory for sockets.
func (l *Launch) RemoveSockets(dir string) {
	if dir == l.Root {
		RemoveStaleSockets(l.Handle)
		return
	}
	if other, err := owned.OpenTemp(dir); err == nil {
		RemoveStaleSockets(other)
		_ = other.Close()
	}
}
