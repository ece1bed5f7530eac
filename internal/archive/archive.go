// Package archive unpacks source archives that nobody trusts yet.
//
// It knows names, links, kinds, sizes and times of entries, and refuses an
// archive by the name of the first entry that it does not like; then nothing
// is left behind. Archives are read through the stream readers of archiver v3
// and written to disk through os.Root only, so that even a mistake in the
// checks cannot reach outside the directory. It does not know where archives
// come from, whether they are authentic (internal/fetch), or what they hold.
package archive

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"modwsgi/internal/digest"
	"modwsgi/internal/fault"
	"modwsgi/internal/owned"
)

// hook is called at the moments at which another process could change an archive;
// tests do. They are "open", before the file is opened (it was verified before),
// and "entry", with each entry that was read.
var hook = func(moment string) {}

// Limits bound what an archive may become. A zero field takes its value from
// DefaultLimits.
type Limits struct {
	MaxBytes     int64 // bytes of all content together, and of a tar stream with its headers
	MaxFileBytes int64 // bytes of one file
	MaxFiles     int   // entries of any kind
	MaxRatio     int   // unpacked bytes per packed byte; looked at from ratioFloor unpacked bytes on
	MaxPathLen   int   // bytes of one name
	MaxDepth     int   // path elements of one name
}

// ratioFloor is how much an archive may unpack to before its ratio counts:
// headers and padding of a tiny tar compress very well.
const ratioFloor = 1 << 20

// maxElement is the longest path element in bytes that file systems take.
const maxElement = 255

// DefaultLimits fits every source archive that we build from with a factor of
// ten to spare (openssl has the most entries, 4,900; expat the most bytes, 86 MB).
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

// Options say what of an archive is wanted and how.
type Options struct {
	// Strip is how many leading path elements are dropped from each name. An
	// entry that has no more than that many is left out.
	Strip int
	// Limits bound the result; the zero value means DefaultLimits.
	Limits Limits
	// Keep is asked for each name (with slashes, after Strip) that is not a
	// directory; what it declines is checked like everything else but not
	// written. Nil keeps all.
	Keep func(name string) bool
	// SHA256 is the hash that the archive must have, in lower case hex; "" for
	// one that nobody has verified. See hashed.
	SHA256 string
}

// Stats counts what Extract wrote.
type Stats struct {
	Files   int   // regular files, hard links among them
	Dirs    int   // directories that the archive lists
	Links   int   // symbolic links
	Skipped int   // entries that Strip or Keep left out
	Bytes   int64 // content of the regular files
	// SHA256 is the hash of exactly the bytes that were unpacked, from the first
	// of the archive to its last. It is "" for a zip file of unknown hash.
	SHA256 string
}

// RefusedError is an archive that is well formed, or nearly so, but holds
// something that we do not unpack.
type RefusedError struct {
	Entry  string // the name as the archive has it; "" where no entry is to blame
	Reason string
}

func (e *RefusedError) Error() string {
	if e.Entry == "" {
		return "refused: " + e.Reason
	}
	return fmt.Sprintf("refused: entry %q: %s", e.Entry, e.Reason)
}

// Extract unpacks archivePath into the new directory dest. The format (.tar,
// alone or within gzip, bzip2, xz or zstd; .zip) is taken from the first bytes
// and not from the name. dest must not exist and its parent must.
//
// Regular files get mode 0755 where the archive lets the owner execute them
// and 0644 otherwise, directories 0755; set-id and sticky bits and owners are
// dropped. Modification times are kept (make and autoconf compare them) unless
// they are in the future. Hard links become copies. Device nodes, pipes, names
// that are absolute, contain "..", backslashes, drive letters or control
// characters, links that leave the tree, entries below a link, and a name that
// occurs twice are a *RefusedError, and so is whatever passes a limit. An archive
// that does not have the hash of the options is a *digest.Changed.
//
// On an error dest does not exist. The tree grows in a hidden directory beside
// dest (".NAME.*.unpack") and is renamed at the end, so a killed process leaves
// at most that one.
func Extract(ctx context.Context, archivePath, dest string, o Options) (Stats, error) {
	if o.Strip < 0 {
		return Stats{}, fmt.Errorf("unpack %s: strip %d is negative", archivePath, o.Strip)
	}
	if _, err := os.Lstat(dest); err == nil {
		return Stats{}, fault.New(fault.Environment, "remove it, or choose another directory",
			"unpack %s: %s exists already", archivePath, dest)
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
			"nothing of it is used; find out who writes to that directory, and keep archives where only you and root can change them", "unpack %w", err)
	}
	err = fmt.Errorf("unpack %s: %w", archivePath, err)
	var known *fault.Error
	if errors.As(err, &known) || ctx.Err() != nil {
		return Stats{}, err
	}
	return Stats{}, fault.Wrap(fault.Source,
		"the archive is damaged or not what it claims to be: delete it and get it again from a source that you trust", err)
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
	tmp := "." + base + "." + strings.ToLower(rand.Text()[:12]) + ".unpack"
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
		// This comes first: another file may well look damaged.
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

// localError is a failure of this machine and not of the archive.
func localError(verb, name string, err error) error {
	return fault.New(fault.Environment, "see that the directory is writable and its file system has room", "%s %s: %w", verb, name, err)
}
