package archive

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"sort"
	"time"
)

// unpacker writes the entries of one archive below one directory.
type unpacker struct {
	ctx   context.Context
	o     Options
	root  *os.Root
	meter *meter
	tree  *tree
	made  map[string]bool      // directories on disk
	times map[string]time.Time // of directories, set last because writing into a directory changes its time
	links []link               // made after all files
	kept  map[string]bool      // regular files on disk
	now   time.Time
	stats Stats
	buf   []byte
}

// link is a symbolic link: its target, and its name in the archive.
type link struct{ name, entry string }

func unpack(ctx context.Context, src source, dir string, o Options) (Stats, error) {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return Stats{}, localError("open", dir, err)
	}
	u := &unpacker{
		ctx: ctx, o: o, root: root, meter: meterOf(src), tree: newTree(),
		made: map[string]bool{".": true}, times: map[string]time.Time{},
		kept: map[string]bool{}, now: time.Now(), buf: make([]byte, 128<<10),
	}
	err = u.all(src)
	// The directory was created for its owner only; the result is for everybody.
	if err == nil {
		if err = root.Chmod(".", 0o755); err != nil {
			err = localError("write", dir, err)
		}
	}
	if cerr := root.Close(); err == nil && cerr != nil {
		err = localError("close", dir, cerr)
	}
	return u.stats, err
}

func meterOf(src source) *meter {
	switch s := src.(type) {
	case *tarSource:
		return s.meter
	case *zipSource:
		return s.meter
	}
	panic("archive: unknown source")
}

func (u *unpacker) all(src source) error {
	for {
		if err := u.ctx.Err(); err != nil {
			return context.Cause(u.ctx)
		}
		e, err := src.next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return err
		}
		hook("entry")
		err = u.one(e)
		if cerr := e.body.Close(); err == nil && cerr != nil {
			err = fmt.Errorf("read %q: %w", e.name, cerr)
		}
		if err != nil {
			return err
		}
	}
	if u.stats.Files+u.stats.Links == 0 && !(u.o.Deb && u.o.Keep != nil) { // a package may have nothing that is wanted
		return &RefusedError{Reason: "the archive contains no files"}
	}
	if err := u.makeLinks(); err != nil {
		return err
	}
	return u.setTimes()
}

// one checks an entry completely, then writes it.
func (u *unpacker) one(e *entry) error {
	refuse := func(reason string) error { return &RefusedError{Entry: e.name, Reason: reason} }
	if reason := u.meter.entry(); reason != "" {
		return refuse(reason)
	}
	clean, reason := cleanName(e.name, u.o.Limits)
	if reason != "" {
		return refuse(reason)
	}
	if e.kind == other {
		return refuse("it is " + e.what)
	}
	if e.kind == regular {
		if reason := u.meter.declared(e.size); reason != "" {
			return refuse(reason)
		}
		if e.name[len(e.name)-1] == '/' {
			return refuse("it is a file whose name ends with a slash")
		}
	}
	name, ok := strip(clean, u.o.Strip)
	if clean == "." && e.kind != directory {
		return refuse("it is in the place of the top directory")
	}
	if clean == "." || !ok {
		u.stats.Skipped++
		return u.skip(e)
	}
	if reason := u.tree.add(name, e.kind); reason != "" {
		return refuse(reason)
	}
	if e.kind != directory && u.o.Keep != nil && !u.o.Keep(name) {
		u.stats.Skipped++
		return u.skip(e)
	}
	switch e.kind {
	case directory:
		u.stats.Dirs++
		u.times[name] = e.modTime
		return u.mkdir(name)
	case regular:
		return u.file(name, e)
	case symlink:
		return u.symlink(name, e)
	default:
		return u.hardlink(name, e)
	}
}

// skip reads and discards the content of an entry, so that truncation is noticed and
// limits also apply to skipped entries.
func (u *unpacker) skip(e *entry) error {
	if e.kind != regular {
		return nil
	}
	return u.copy(io.Discard, e)
}

func (u *unpacker) mkdir(name string) error {
	if u.made[name] {
		return nil
	}
	if err := u.mkdir(path.Dir(name)); err != nil {
		return err
	}
	if err := u.root.Mkdir(filepath.FromSlash(name), 0o755); err != nil {
		return localError("create", name, err)
	}
	// Regardless of the umask, so that the tree is always the same.
	if err := u.root.Chmod(filepath.FromSlash(name), 0o755); err != nil {
		return localError("create", name, err)
	}
	u.made[name] = true
	return nil
}

func (u *unpacker) file(name string, e *entry) error {
	if err := u.mkdir(path.Dir(name)); err != nil {
		return err
	}
	f, err := u.root.OpenFile(filepath.FromSlash(name), os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if errors.Is(err, fs.ErrExist) {
		// A duplicate only on case-insensitive file systems.
		return &RefusedError{Entry: e.name, Reason: "this file system does not distinguish its name from another one in the archive"}
	}
	if err != nil {
		return localError("create", name, err)
	}
	err = u.copy(f, e)
	if cerr := f.Chmod(fileMode(e.mode)); err == nil && cerr != nil {
		err = localError("write", name, cerr)
	}
	if cerr := f.Close(); err == nil && cerr != nil {
		err = localError("write", name, cerr)
	}
	if err != nil {
		return err
	}
	u.kept[name] = true
	u.stats.Files++
	return u.setTime(name, e.modTime)
}

func fileMode(m fs.FileMode) fs.FileMode {
	if m&0o100 != 0 {
		return 0o755
	}
	return 0o644
}

// copy copies the content of an entry, within the limits.
func (u *unpacker) copy(w io.Writer, e *entry) error {
	var size int64
	for {
		if u.ctx.Err() != nil {
			return context.Cause(u.ctx)
		}
		n, err := e.body.Read(u.buf)
		size += int64(n)
		u.meter.content += int64(n)
		reason := u.meter.total(u.meter.content)
		if size > u.o.Limits.MaxFileBytes {
			reason = fmt.Sprintf("it has more than %d bytes", u.o.Limits.MaxFileBytes)
		}
		if reason != "" {
			return &RefusedError{Entry: e.name, Reason: reason}
		}
		if _, werr := w.Write(u.buf[:n]); werr != nil {
			return localError("write", e.name, werr)
		}
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			var refused *RefusedError
			if errors.As(err, &refused) {
				return refused
			}
			return fmt.Errorf("read %q: %w", e.name, err)
		}
	}
	if w != io.Discard {
		u.stats.Bytes += size
	}
	return nil
}

func (u *unpacker) symlink(name string, e *entry) error {
	if reason := badText(e.link); reason != "" {
		return &RefusedError{Entry: e.name, Reason: fmt.Sprintf("it links to %q: %s", e.link, reason)}
	}
	if u.o.Deb && path.IsAbs(e.link) {
		e.link = relative(name, e.link)
	}
	if path.IsAbs(e.link) {
		return &RefusedError{Entry: e.name, Reason: "it links to the absolute path " + e.link}
	}
	u.tree.links[name] = e.link
	u.links = append(u.links, link{name, e.name})
	u.stats.Links++
	return nil
}

// makeLinks creates the symbolic links last, when all of them are known and no entry can
// be written through them.
func (u *unpacker) makeLinks() error {
	for _, l := range u.links {
		if reason := u.tree.resolves(l.name); reason != "" {
			return &RefusedError{Entry: l.entry, Reason: reason}
		}
	}
	for _, l := range u.links {
		name := l.name
		if err := u.mkdir(path.Dir(name)); err != nil {
			return err
		}
		if err := u.root.Symlink(filepath.FromSlash(u.tree.links[name]), filepath.FromSlash(name)); err != nil {
			return localError("create the link", name, err)
		}
	}
	return nil
}

// hardlink copies an earlier regular file. A real link would join two files that a build
// may want to change separately.
func (u *unpacker) hardlink(name string, e *entry) error {
	refuse := func(reason string) error { return &RefusedError{Entry: e.name, Reason: reason} }
	clean, reason := cleanName(e.link, u.o.Limits)
	if reason != "" {
		return refuse(fmt.Sprintf("it links to %q: %s", e.link, reason))
	}
	target, ok := strip(clean, u.o.Strip)
	if !ok || !u.kept[target] {
		return refuse("it links to " + e.link + ", which is not an earlier file of the archive")
	}
	f, err := u.root.Open(filepath.FromSlash(target))
	if err != nil {
		return localError("read", target, err)
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return localError("read", target, err)
	}
	if reason := u.meter.declared(info.Size()); reason != "" {
		return refuse(reason)
	}
	return u.file(name, &entry{name: e.name, kind: regular, mode: info.Mode(), modTime: info.ModTime(), body: f})
}

func (u *unpacker) setTime(name string, t time.Time) error {
	t = u.sane(t)
	if err := u.root.Chtimes(filepath.FromSlash(name), t, t); err != nil {
		return localError("set the time of", name, err)
	}
	return nil
}

// sane limits a time to what every file system supports and make accepts: a time in the
// future makes it warn about clock skew and rebuild for ever.
func (u *unpacker) sane(t time.Time) time.Time {
	if t.Unix() < 0 {
		return time.Unix(0, 0)
	}
	if t.After(u.now) {
		return u.now
	}
	return t
}

// setTimes sets the times of the listed directories, inner ones first.
func (u *unpacker) setTimes() error {
	names := make([]string, 0, len(u.times))
	for name := range u.times {
		names = append(names, name)
	}
	sort.Sort(sort.Reverse(sort.StringSlice(names)))
	for _, name := range names {
		if err := u.setTime(name, u.times[name]); err != nil {
			return err
		}
	}
	return nil
}
