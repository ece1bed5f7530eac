// Package digest computes the SHA-256 of files. It does not know what a digest
// is compared with.
package digest

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"strings"
)

// File returns the SHA-256 of a file's content, in lower case hex.
func File(name string) (string, error) {
	f, err := Open(name)
	if err != nil {
		return "", err
	}
	defer func() { _ = f.Close() }()
	sum, err := Of(f)
	if err != nil {
		return "", fmt.Errorf("read %s: %w", name, err)
	}
	return sum, nil
}

// Of returns the SHA-256 of everything that a reader returns, in lower case hex.
func Of(r io.Reader) (string, error) {
	h := sha256.New()
	if _, err := io.Copy(h, r); err != nil {
		return "", err
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}

// Valid reports whether a text is a SHA-256 in the form that this package writes.
func Valid(s string) bool {
	b, err := hex.DecodeString(s)
	return err == nil && len(b) == sha256.Size && s == strings.ToLower(s)
}

// Bytes returns the SHA-256 of data, in lower case hex.
func Bytes(data []byte) string {
	sum := sha256.Sum256(data)
	return hex.EncodeToString(sum[:])
}
