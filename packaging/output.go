package packaging

import (
	"encoding/hex"
	"hash"
	"io/fs"
	"os"
	"path/filepath"

	"modwsgi/internal/fault"
	"modwsgi/internal/filetree"
)

// Output is a file being written. Callers must call Close and check its error.
type Output struct {
	file *os.File
	hash hash.Hash
	size int64
	name string
}

func (o *Output) Write(b []byte) (int, error) {
	n, err := o.file.Write(b)
	o.hash.Write(b[:n])
	o.size += int64(n)
	if err != nil {
		err = writing(o.name, err)
	}
	return n, err
}

// Close makes the content durable.
func (o *Output) Close() error {
	err := o.file.Chmod(0o644)
	if serr := o.file.Sync(); err == nil {
		err = serr
	}
	if cerr := o.file.Close(); err == nil {
		err = cerr
	}
	if err != nil {
		return writing(o.name, err)
	}
	return nil
}

// SHA256 is the digest of what was written so far, in lowercase hex.
func (o *Output) SHA256() string { return hex.EncodeToString(o.hash.Sum(nil)) }

// Size is the number of bytes written so far.
func (o *Output) Size() int64 { return o.size }

func writing(name string, err error) error {
	return fault.New(fault.Environment, "check that the output directory is writable and its file system has free space", "write %s: %w", name, err)
}

// CopyFile copies a regular file to a new one with that mode, whatever the umask.
func CopyFile(from, to string, mode fs.FileMode) error {
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer func() { _ = in.Close() }()
	if err := filetree.Create(to, in, mode); err != nil {
		return writing(filepath.Base(to), err)
	}
	return nil
}
