package archive

import (
	"bufio"
	"errors"
	"io"
	"os"

	"modwsgi/internal/digest"
)

// Why archives are hashed again while they are unpacked.
//
// Whoever verified an archive did so some time ago, and by name. The file may
// be in another user's directory (--source-dir), who can put another one in
// its place; and even a file that is held open can be changed by a process that
// has it open for writing. A second look before the unpacking would only make the
// gap smaller. So each byte is read once, goes through the hash and then to the
// decoder, and the tree gets its name only when the hash of everything, from the
// first byte to what follows the compressed stream, is the one that is wanted.
// Until then it is a hidden directory that nothing is built from.

// hashed reads a file from its beginning, each byte once.
type hashed struct {
	file *os.File
	*bufio.Reader
	sum *digest.Reader
}

// newHashed reads no more than the size that the file had when it was opened, and
// one byte, which gives a file that grew another hash: somebody may go on writing
// for ever.
func newHashed(f *os.File, size int64) *hashed {
	h := &hashed{file: f, sum: digest.NewReader(io.LimitReader(f, size+1))}
	h.Reader = bufio.NewReaderSize(h.sum, 64<<10)
	return h
}

// finish reads what is left and returns the hash of all that was read.
func (h *hashed) finish() (string, error) {
	if _, err := io.Copy(io.Discard, h.Reader); err != nil {
		return "", err
	}
	return h.sum.Sum(), nil
}

// orChanged returns the error, or why it came where the archive is not the one
// that was wanted.
func (h *hashed) orChanged(name, want string, err error) error {
	if want == "" {
		return err
	}
	got, ferr := h.finish()
	if ferr == nil && got != want {
		return &digest.Changed{File: name, Want: want, Got: got}
	}
	return errors.Join(err, ferr)
}

func (h *hashed) close() { _ = h.file.Close() }
