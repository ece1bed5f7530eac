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
// An archive was verified some time ago, by its name. It may be in a directory of another
// user (--source-dir), who can replace it in the meantime. Even an open file can be
// changed by a process that has it open for writing. Checking again before unpacking
// would only make the window smaller. So each byte is read once and passed to the hash
// and then to the decoder. The tree gets its final name only if the hash of everything,
// from the first byte to what follows the compressed stream, is the required one. Until
// then it is a hidden directory that nothing is built from.

// hashed reads a file from the beginning, each byte once.
type hashed struct {
	file *os.File
	*bufio.Reader
	sum *digest.Reader
}

// newHashed reads at most one byte more than the file's size when it was opened. That
// byte gives a file that has grown another hash, and the limit stops a writer that never
// ends.
func newHashed(f *os.File, size int64) *hashed {
	h := &hashed{file: f, sum: digest.NewReader(io.LimitReader(f, size+1))}
	h.Reader = bufio.NewReaderSize(h.sum, 64<<10)
	return h
}

// finish reads the rest and returns the hash of everything that was read.
func (h *hashed) finish() (string, error) {
	if _, err := io.Copy(io.Discard, h.Reader); err != nil {
		return "", err
	}
	return h.sum.Sum(), nil
}

// orChanged returns *digest.Changed if the archive does not have the required hash, and
// otherwise the error.
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
