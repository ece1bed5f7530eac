package aptrepo

import (
	"archive/tar"
	"errors"
	"fmt"
	"io"
	"path"
	"strconv"
	"strings"

	"modwsgi/packaging/publish/repodir"
)

// maxControl is the maximum size in bytes of a package's control file.
const maxControl = 1 << 20

// readControl returns the control file of a binary package (deb(5)): an ar archive whose
// second member is a compressed tar archive with it.
func readControl(r io.Reader) (string, error) {
	magic := make([]byte, 8)
	if _, err := io.ReadFull(r, magic); err != nil || string(magic) != "!<arch>\n" {
		return "", errors.New("it is not a Debian package")
	}
	for range 16 {
		head := make([]byte, 60)
		if _, err := io.ReadFull(r, head); err != nil || string(head[58:]) != "`\n" {
			return "", errors.New("it is damaged: a member of the archive is missing")
		}
		name := strings.TrimSuffix(strings.TrimSpace(string(head[:16])), "/")
		size, err := strconv.ParseInt(strings.TrimSpace(string(head[48:58])), 10, 64)
		if err != nil || size < 0 {
			return "", errors.New("it is damaged: a member has no size")
		}
		if suffix, ok := strings.CutPrefix(name, "control.tar"); ok {
			return controlIn(io.LimitReader(r, size), suffix)
		}
		if _, err := io.CopyN(io.Discard, r, size+size%2); err != nil {
			return "", fmt.Errorf("it is damaged: %w", err)
		}
	}
	return "", errors.New("it has no control.tar")
}

// controlIn reads the control file in a tar archive with that suffix.
func controlIn(r io.Reader, suffix string) (string, error) {
	open, err := repodir.Decompress(r, suffix)
	if err != nil {
		return "", err
	}
	defer func() { _ = open.Close() }()
	t := tar.NewReader(open)
	for {
		h, err := t.Next()
		if err != nil {
			return "", fmt.Errorf("it has no control file: %w", err)
		}
		if path.Clean(h.Name) != "control" {
			continue
		}
		data, err := io.ReadAll(io.LimitReader(t, maxControl))
		return strings.TrimRight(string(data), "\n") + "\n", err
	}
}
