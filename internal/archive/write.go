package archive

import (
	"archive/tar"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"time"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
)

// WriteOptions say what of a written archive does not come from the tree.
type WriteOptions struct {
	Time   time.Time // of every entry, cut to whole seconds; the zero value is 1970-01-01
	Prefix string    // path with slashes that the tree gets inside the archive; "" is none
}

// WriteTarGz writes the tree below the directory root as a gzip-compressed tar.
// Equal names, contents, execute bits and link targets give equal bytes:
// entries are sorted, modes are 0755 or 0644, owners are 0 without names, and
// the time is the given one. Anything but regular files, directories and
// symbolic links is an error; links are stored and not followed.
func WriteTarGz(w io.Writer, root string, o WriteOptions) error {
	z, err := gzip.NewWriterLevel(w, gzip.BestCompression)
	if err != nil {
		return err
	}
	return writeCompressed(z, root, o)
}

// WriteTarZst is WriteTarGz with Zstandard (RFC 8878).
func WriteTarZst(w io.Writer, root string, o WriteOptions) error {
	// One encoder goroutine: how blocks are cut must not depend on timing.
	z, err := zstd.NewWriter(w, zstd.WithEncoderConcurrency(1), zstd.WithEncoderLevel(zstd.SpeedDefault))
	if err != nil {
		return err
	}
	return writeCompressed(z, root, o)
}

func writeCompressed(z io.WriteCloser, root string, o WriteOptions) error {
	err := writeTar(z, root, o)
	if cerr := z.Close(); err == nil {
		err = cerr
	}
	if err != nil {
		return fmt.Errorf("pack %s: %w", root, err)
	}
	return nil
}

func writeTar(w io.Writer, dir string, o WriteOptions) error {
	if o.Time.IsZero() {
		o.Time = time.Unix(0, 0)
	}
	o.Time = o.Time.UTC().Truncate(time.Second)
	if o.Prefix != "" {
		clean, reason := cleanName(o.Prefix, DefaultLimits())
		if reason != "" {
			return fmt.Errorf("prefix %q: %s", o.Prefix, reason)
		}
		o.Prefix = clean
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return err
	}
	defer root.Close()
	t := tar.NewWriter(w)
	// WalkDir goes by sorted names and does not follow links.
	err = fs.WalkDir(root.FS(), ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if name == "." && o.Prefix == "" {
			return nil
		}
		return writeEntry(t, root, name, d, o)
	})
	if err != nil {
		return err
	}
	return t.Close()
}

func writeEntry(t *tar.Writer, root *os.Root, name string, d fs.DirEntry, o WriteOptions) error {
	info, err := d.Info()
	if err != nil {
		return err
	}
	local := filepath.FromSlash(name)
	h := &tar.Header{Name: path.Join(o.Prefix, name), ModTime: o.Time}
	switch mode := info.Mode(); {
	case mode.IsDir():
		h.Typeflag, h.Mode, h.Name = tar.TypeDir, 0o755, h.Name+"/"
	case mode&fs.ModeSymlink != 0:
		target, err := root.Readlink(local)
		if err != nil {
			return err
		}
		h.Typeflag, h.Mode, h.Linkname = tar.TypeSymlink, 0o777, filepath.ToSlash(target)
	case mode.IsRegular():
		h.Typeflag, h.Mode, h.Size = tar.TypeReg, int64(fileMode(mode)), info.Size()
	default:
		return fmt.Errorf("%s is neither a file nor a directory nor a link", name)
	}
	if err := t.WriteHeader(h); err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	if h.Typeflag != tar.TypeReg {
		return nil
	}
	f, err := root.Open(local)
	if err != nil {
		return err
	}
	defer f.Close()
	// A file that grew or shrank since Info makes this, or the next header, fail.
	if _, err := io.Copy(t, f); err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	return nil
}
