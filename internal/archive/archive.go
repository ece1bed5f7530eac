// Package archive unpacks untrusted source archives.
//
// It checks the names, links, types, sizes and times of all entries. It rejects an
// archive with an error that names the first unacceptable entry, and then leaves nothing
// behind. Archives are read through the stream readers of archiver v3 and written to disk
// only through os.Root, so that even a mistake in the checks cannot reach outside the
// directory. The package does not know where archives come from, whether they are
// authentic (internal/fetch), or what they contain.
package archive

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"modwsgi/internal/digest"
	"modwsgi/internal/fault"
	"modwsgi/internal/owned"
)

// hook is called when another process could change an archive, which tests do: "open" is
// before the verified file is opened, and "entry" is after each entry was read.
var hook = func(moment string) {}

// Limits limit the unpacked size of an archive. A zero field has its value from
// [DefaultLimits].
type Limits struct {
	MaxBytes     int64 // bytes of all contents, and of a tar stream including its headers
	MaxFileBytes int64 // bytes of one file
	MaxFiles     int   // entries of any kind
	MaxRatio     int   // unpacked bytes per packed byte, checked from ratioFloor unpacked bytes
	MaxPathLen   int   // bytes of one name
	MaxDepth     int   // path elements of one name
}

// ratioFloor is the unpacked size from which the ratio is checked: headers and padding of
// a tiny tar compress very well.
const ratioFloor = 1 << 20

// maxElement is the maximum length of a path element on file systems, in bytes.
const maxElement = 255

// DefaultLimits are ten times what the largest source archives need (openssl has the most
// entries, 6,100, and the most bytes, 140 MB).
func DefaultLimits() Limits {
	return Limits{
		MaxBytes:     1 << 30,
		MaxFileBytes: 256 << 20,
		MaxFiles:     100_000,
		MaxRatio:     200,
		MaxPathLen:   1024,
		MaxDepth:     64,
	}
}

func (l Limits) orDefault() Limits {
	d := DefaultLimits()
	if l.MaxBytes == 0 {
		l.MaxBytes = d.MaxBytes
	}
	if l.MaxFileBytes == 0 {
		l.MaxFileBytes = d.MaxFileBytes
	}
	if l.MaxFiles == 0 {
		l.MaxFiles = d.MaxFiles
	}
	if l.MaxRatio == 0 {
		l.MaxRatio = d.MaxRatio
	}
	if l.MaxPathLen == 0 {
		l.MaxPathLen = d.MaxPathLen
	}
	if l.MaxDepth == 0 {
		l.MaxDepth = d.MaxDepth
	}
	return l
}

// Options select the entries to unpack.
type Options struct {
	// Strip is the number of leading path elements to remove from each name. Entries with
	// no more elements than that are skipped.
	Strip int
	// Limits limit the result; the zero value means [DefaultLimits].
	Limits Limits
	// Keep reports whether to write an entry that is not a directory, given its name
	// (with slashes, after Strip). Other entries are checked as well, but not written.
	// nil keeps all.
	Keep func(name string) bool
	// Deb also accepts a Debian package, whose files are unpacked. Their absolute links are
	// made relative to dest, which becomes their root directory.
	Deb bool
	// Control, if it is not nil, gets the files of a Debian package's control.tar, by name.
	// They are as trustworthy as the package only if Extract returns no error.
	Control map[string][]byte
	// SHA256 is the required hash of the archive, in lower case hex; "" for an archive
	// that was not verified. See hashed.
	SHA256 string
}

// Stats counts what Extract wrote.
type Stats struct {
	Files   int   // regular files, including hard links
	Dirs    int   // directories that the archive lists
	Links   int   // symbolic links
	Skipped int   // entries that Strip or Keep left out
	Bytes   int64 // content of the regular files
	// SHA256 is the hash of exactly the bytes that were unpacked, from the first byte of
	// the archive to the last. It is "" for a zip file without a required hash.
	SHA256 string
}

// RefusedError is the error for an archive that contains something that is not unpacked.
type RefusedError struct {
	Entry  string // name in the archive; "" if no single entry is the cause
	Reason string
}

func (e *RefusedError) Error() string {
	if e.Entry == "" {
		return "refused: " + e.Reason
	}
	return fmt.Sprintf("refused: entry %q: %s", e.Entry, e.Reason)
}

// Extract unpacks archivePath into the new directory dest. It detects the format (.tar,
// plain or compressed with gzip, bzip2, xz or zstd; .zip) from the first bytes, not from
// the name. dest must not exist, but its parent must.
//
// Regular files get the mode 0755 if their owner may execute them in the archive,
// otherwise 0644, and directories 0755; set-id and sticky bits and owners are dropped.
// Modification times are kept (make and autoconf compare them) unless they are in the
// future. Hard links become copies. Device nodes, pipes, names that are absolute, contain
// "..", backslashes, drive letters or control characters, links that leave the tree,
// entries below a link, duplicate names and exceeded limits are a *RefusedError. An
// archive without the required hash is a *digest.Changed.
//
// After an error, dest does not exist. The tree is written to a hidden directory beside
// dest (".NAME.*.unpack") and renamed at the end, so a killed process leaves at most that
// directory.
func Extract(ctx context.Context, archivePath, dest string, o Options) (Stats, error) {
	if o.Strip < 0 {
		return Stats{}, fmt.Errorf("unpack %s: strip %d is negative", archivePath, o.Strip)
	}
	if _, err := os.Lstat(dest); err == nil {
		return Stats{}, fault.New(fault.Environment, "remove it, or choose another directory",
			"unpack %s: %s already exists", archivePath, dest)
	} else if !errors.Is(err, fs.ErrNotExist) {
		return Stats{}, localError("unpack into", dest, err)
	}
	o.Limits = o.Limits.orDefault()
	stats, err := extract(ctx, archivePath, dest, o)
	if err == nil {
		return stats, nil
	}
	var changed *digest.Changed
	if errors.As(err, &changed) {
		return Stats{}, fault.New(fault.Source,
			"nothing of it was used; find out who writes to that directory, and keep archives where only you and root can change them", "unpack %w", err)
	}
	err = fmt.Errorf("unpack %s: %w", archivePath, err)
	var known *fault.Error
	if errors.As(err, &known) || ctx.Err() != nil {
		return Stats{}, err
	}
	return Stats{}, fault.Wrap(fault.Source,
		"the archive is damaged or not what it claims to be: delete it and download it again from a source that you trust", err)
}

func extract(ctx context.Context, archivePath, dest string, o Options) (stats Stats, err error) {
	if err := ctx.Err(); err != nil {
		return stats, err
	}
	dir, base := filepath.Split(dest)
	if dir == "" {
		dir = "."
	}
	hook("open")
	src, err := open(archivePath, dir, o)
	if err != nil {
		return stats, err
	}
	defer src.close()
	beside, err := owned.OutputDir(dir)
	if err != nil {
		return stats, localError("create a directory beside", dest, err)
	}
	defer func() { _ = beside.Close() }()
	tmp := "." + base + "." + owned.RandomName() + ".unpack"
	made, err := beside.MakeSub(tmp, 0o700)
	if err != nil {
		return stats, localError("create a directory beside", dest, err)
	}
	defer func() {
		_ = made.Close()
		if err != nil {
			_ = beside.RemoveAll(tmp)
		}
	}()
	stats, err = unpack(ctx, src, made.Path(), o)
	sum, serr := src.sum()
	if serr == nil && ctx.Err() == nil && o.SHA256 != "" && sum != o.SHA256 {
		// Check this first: a different file may look like a damaged one.
		return stats, &digest.Changed{File: archivePath, Want: o.SHA256, Got: sum}
	}
	if err = errors.Join(err, serr); err != nil {
		return stats, err
	}
	stats.SHA256 = sum
	if err := beside.Root().Rename(tmp, base); err != nil {
		return stats, localError("create", dest, err)
	}
	return stats, nil
}

// localError is a failure of this machine, not of the archive.
func localError(verb, name string, err error) error {
	return fault.New(fault.Environment, "check that the directory is writable and that its file system has free space", "%s %s: %w", verb, name, err)
}
