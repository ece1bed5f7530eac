package digest

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"io/fs"
	"os"
)

// Open opens a regular file for reading. Anything else is an error, including a pipe,
// which it does not wait for. It checks the open file, so that the file cannot be
// replaced between the check and the read.
func Open(name string) (*os.File, error) { return open(name, 0) }

// OpenHere is [Open] for a file that must not be a symbolic link itself.
func OpenHere(name string) (*os.File, error) { return open(name, noFollow) }

func open(name string, flags int) (*os.File, error) {
	// Windows has no flag for it, and creating links there needs a privilege.
	if flags != 0 && noFollow == 0 {
		if info, err := os.Lstat(name); err == nil && info.Mode()&fs.ModeSymlink != 0 {
			return nil, fmt.Errorf("open %s: it is a symbolic link", name)
		}
	}
	f, err := os.OpenFile(name, os.O_RDONLY|nonBlock|flags, 0)
	if err != nil {
		return nil, err
	}
	info, err := f.Stat()
	if err == nil && !info.Mode().IsRegular() {
		err = fmt.Errorf("read %s: it is not a regular file", name)
	}
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}

// Reader hashes what is read through it.
type Reader struct {
	r io.Reader
	h hash.Hash
	n int64
}

// NewReader returns a Reader that reads from r.
func NewReader(r io.Reader) *Reader { return &Reader{r: r, h: sha256.New()} }

func (r *Reader) Read(b []byte) (int, error) {
	n, err := r.r.Read(b)
	r.h.Write(b[:n])
	r.n += int64(n)
	return n, err
}

// Sum returns the SHA-256 of everything read so far, in lower case hex.
func (r *Reader) Sum() string { return hex.EncodeToString(r.h.Sum(nil)) }

// Count returns the number of bytes read so far.
func (r *Reader) Count() int64 { return r.n }

// Changed is the error for a file that does not, or no longer does, have its verified
// content.
type Changed struct {
	File      string
	Want, Got string // SHA-256, lower case hex
}

func (c *Changed) Error() string {
	return fmt.Sprintf("%s changed after it was verified: its content has sha256 %s, expected %s", c.File, c.Got, c.Want)
}

// ReadFile returns the content of a file of at most limit bytes whose SHA-256 is sum. It
// reads the file only once, so the returned content is the hashed one. The error is
// *Changed if the content differs.
func ReadFile(name, sum string, limit int64) ([]byte, error) {
	f, err := Open(name)
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }()
	data, err := io.ReadAll(io.LimitReader(f, limit+1))
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", name, err)
	}
	if int64(len(data)) > limit {
		return nil, fmt.Errorf("read %s: it has more than %d bytes", name, limit)
	}
	if got := sha256.Sum256(data); hex.EncodeToString(got[:]) != sum {
		return nil, &Changed{File: name, Want: sum, Got: hex.EncodeToString(got[:])}
	}
	return data, nil
}
