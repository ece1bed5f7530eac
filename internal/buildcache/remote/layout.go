package remote

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"modwsgi/internal/atomicfile"
	"modwsgi/internal/flock"
)

// layout is a directory with the OCI image layout. Blobs are added by rename, and the
// index is changed under a lock on the directory.
type layout struct {
	dir   string
	limit time.Duration // how long another process may change the index
}

type index struct {
	SchemaVersion int          `json:"schemaVersion"`
	MediaType     string       `json:"mediaType,omitempty"`
	Manifests     []indexEntry `json:"manifests"`
}

type indexEntry struct {
	descriptor
	ArtifactType string            `json:"artifactType,omitempty"`
	Annotations  map[string]string `json:"annotations,omitempty"`
	Platform     json.RawMessage   `json:"platform,omitempty"` // of entries added by other programs
}

const (
	refNote   = "org.opencontainers.image.ref.name"
	indexType = "application/vnd.oci.image.index.v1+json"
	maxIndex  = 32 << 20
)

func (l *layout) index() (*index, error) {
	x := &index{SchemaVersion: 2, MediaType: indexType, Manifests: []indexEntry{}}
	data, err := readLimited(filepath.Join(l.dir, "index.json"), maxIndex)
	if errors.Is(err, fs.ErrNotExist) {
		return x, nil
	}
	if err != nil {
		return nil, err
	}
	if err := json.Unmarshal(data, x); err != nil || x.SchemaVersion != 2 {
		return nil, errors.New("its index.json is not that of an OCI image layout")
	}
	return x, nil
}

func (l *layout) manifest(_ context.Context, tag string) ([]byte, error) {
	x, err := l.index()
	if err != nil {
		return nil, err
	}
	for _, e := range x.Manifests {
		if e.Annotations[refNote] != tag {
			continue
		}
		if !e.is(manifestType, maxManifest) {
			return nil, &Refused{tag, "its manifest is of another kind, or too large"}
		}
		data, err := readLimited(l.path(e.Digest), maxManifest)
		if errors.Is(err, fs.ErrNotExist) {
			return nil, &Refused{tag, "its manifest is missing"}
		}
		if err == nil && describe(manifestType, data).Digest != e.Digest {
			return nil, &Refused{tag, "its manifest does not match the digest in its name"}
		}
		return data, err
	}
	return nil, errMissing
}

func (l *layout) path(digest string) string {
	return filepath.Join(l.dir, "blobs", "sha256", strings.TrimPrefix(digest, "sha256:"))
}

func readLimited(name string, most int64) ([]byte, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }()
	data, err := io.ReadAll(io.LimitReader(f, most+1))
	if err == nil && int64(len(data)) > most {
		err = fmt.Errorf("%s has more than %d bytes", name, most)
	}
	return data, err
}

func (l *layout) blob(_ context.Context, d descriptor, w io.Writer) error {
	f, err := os.Open(l.path(d.Digest))
	if errors.Is(err, fs.ErrNotExist) {
		return errMissing
	}
	if err != nil {
		return err
	}
	defer func() { _ = f.Close() }()
	return copyVerified(w, f, d)
}

// copyVerified copies a blob and checks size and digest.
func copyVerified(w io.Writer, r io.Reader, d descriptor) error {
	h := sha256.New()
	n, err := io.Copy(io.MultiWriter(w, h), io.LimitReader(r, d.Size+1))
	if err != nil {
		return err
	}
	if n != d.Size || "sha256:"+hex.EncodeToString(h.Sum(nil)) != d.Digest {
		return &contentError{fmt.Sprintf("a part of it does not match its digest (%.19s…, %d of %d bytes)", d.Digest, n, d.Size)}
	}
	return nil
}

func (l *layout) putBlob(ctx context.Context, d descriptor, open func() (io.ReadCloser, error)) error {
	name := l.path(d.Digest)
	// A blob of the right size may have the wrong contents: then it is replaced.
	if info, err := os.Stat(name); err == nil && info.Size() == d.Size && l.blob(ctx, d, io.Discard) == nil {
		return nil
	}
	if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
		return err
	}
	r, err := open()
	if err != nil {
		return err
	}
	defer func() { _ = r.Close() }()
	return atomicfile.Copy(name, r, 0o644)
}

func (l *layout) putManifest(ctx context.Context, tag string, data []byte) error {
	release, err := l.lock(ctx)
	if err != nil {
		return err
	}
	defer release()
	d := describe(manifestType, data)
	if err := l.putBlob(ctx, d, func() (io.ReadCloser, error) { return io.NopCloser(strings.NewReader(string(data))), nil }); err != nil {
		return err
	}
	if err := atomicfile.Write(filepath.Join(l.dir, "oci-layout"), []byte(`{"imageLayoutVersion":"1.0.0"}`+"\n"), 0o644); err != nil {
		return err
	}
	x, err := l.index()
	if err != nil {
		return err
	}
	kept := x.Manifests[:0]
	for _, e := range x.Manifests {
		if e.Annotations[refNote] != tag {
			kept = append(kept, e)
		}
	}
	x.Manifests = append(kept, indexEntry{descriptor: d, ArtifactType: artifactType, Annotations: map[string]string{refNote: tag}})
	out, err := json.MarshalIndent(x, "", " ")
	if err != nil {
		return err
	}
	return atomicfile.Write(filepath.Join(l.dir, "index.json"), append(out, '\n'), 0o644)
}

// lock waits for the lock on the directory, up to the limit.
func (l *layout) lock(ctx context.Context) (func(), error) {
	if err := os.MkdirAll(l.dir, 0o755); err != nil {
		return nil, err
	}
	lock, err := flock.Wait(ctx, flock.Options{Dir: l.dir, Limit: l.limit, Busy: "writes to that shared cache"})
	if err != nil {
		return nil, err
	}
	return func() { _ = lock.Release() }, nil
}
