package fetch

import (
	"bytes"
	"context"
	"embed"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"net/url"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/ProtonMail/go-crypto/openpgp"
	"github.com/ProtonMail/go-crypto/openpgp/armor"
	pgperrors "github.com/ProtonMail/go-crypto/openpgp/errors"
	"github.com/ProtonMail/go-crypto/openpgp/packet"

	"modwsgi/internal/fault"
	"modwsgi/internal/recipe"
)

// maxSignature is how many bytes a detached signature may have.
const maxSignature = 64 << 10

// signatureTimeout bounds the attempt to get a signature: with a pinned hash it
// is an addition, not a need.
const signatureTimeout = 5 * time.Second

//go:embed keys/*.asc
var keyFiles embed.FS

// releaseKeys returns the release keys of the Apache projects. The files hold
// keys of thirty years; blocks that cannot be read (PGP 2 keys, foreign
// packets) are passed over, they could not verify anything either.
var releaseKeys = sync.OnceValues(func() (openpgp.EntityList, error) {
	var ring openpgp.EntityList
	names, err := fs.Glob(keyFiles, "keys/*.asc")
	if err != nil {
		return nil, err
	}
	for _, name := range names {
		data, err := keyFiles.ReadFile(name)
		if err != nil {
			return nil, err
		}
		ring = append(ring, readKeys(data)...)
	}
	if len(ring) == 0 {
		return nil, errors.New("read the embedded release keys: none is readable")
	}
	return ring, nil
})

// readKeys reads every armored block of a KEYS file, tolerantly.
func readKeys(data []byte) openpgp.EntityList {
	var ring openpgp.EntityList
	const begin = "-----BEGIN PGP PUBLIC KEY BLOCK-----"
	for _, text := range strings.Split(string(data), begin)[1:] {
		block, err := armor.Decode(strings.NewReader(begin + text))
		if err != nil {
			continue
		}
		if keys, err := openpgp.ReadKeyRing(block.Body); err == nil {
			ring = append(ring, keys...)
		}
	}
	return ring
}

// errNotASignature is for content that is no armored signature at all, such as
// an error page: the same as none.
var errNotASignature = errors.New("not an OpenPGP signature")

// errStranger is for a signature by a key that we do not know, about which
// nothing can be said.
var errStranger = errors.New("it is by a key that is not among the embedded release keys")

// verifySignature checks a detached armored signature (RFC 9580) and returns
// the fingerprint of the primary key behind it. A key that has expired since
// the signature was made is fine. Of several signatures one good one by an
// embedded key is enough.
func (f *Fetcher) verifySignature(signed io.ReadSeeker, signature []byte, signedBy string) (string, error) {
	if !bytes.Contains(signature, []byte("-----BEGIN PGP SIGNATURE-----")) {
		return "", errNotASignature
	}
	block, err := armor.Decode(bytes.NewReader(signature))
	if err != nil {
		return "", fmt.Errorf("read it: %w", err)
	}
	signatures, err := readSignatures(block.Body)
	if err != nil {
		return "", fmt.Errorf("read it: %w", err)
	}
	verdict := errStranger
	for _, sig := range signatures {
		if _, err := signed.Seek(0, io.SeekStart); err != nil {
			return "", err
		}
		fingerprint, err := f.verifyOne(signed, sig)
		switch {
		case errors.Is(err, pgperrors.ErrUnknownIssuer):
		case err != nil:
			verdict = err
		case signedBy != "" && fingerprint != strings.ToUpper(signedBy):
			verdict = fmt.Errorf("it is by key %s, expected %s", fingerprint, signedBy)
		default:
			return fingerprint, nil
		}
	}
	return "", verdict
}

// verifyOne checks one signature at the time when it says it was made; that
// time is part of what is signed.
func (f *Fetcher) verifyOne(signed io.Reader, sig *packet.Signature) (string, error) {
	if sig.SigType != packet.SigTypeBinary {
		return "", errors.New("it is not a signature over a file")
	}
	if sig.CreationTime.After(time.Now().Add(24 * time.Hour)) {
		return "", fmt.Errorf("it is dated in the future (%s)", sig.CreationTime.Format(time.DateOnly))
	}
	keys, err := f.keys()
	if err != nil {
		return "", err
	}
	var one bytes.Buffer
	if err := sig.Serialize(&one); err != nil {
		return "", err
	}
	config := &packet.Config{Time: func() time.Time { return sig.CreationTime }}
	_, signer, err := openpgp.VerifyDetachedSignature(keys, signed, &one, config)
	if err != nil {
		return "", err
	}
	return fmt.Sprintf("%X", signer.PrimaryKey.Fingerprint), nil
}

func readSignatures(r io.Reader) ([]*packet.Signature, error) {
	var out []*packet.Signature
	packets := packet.NewReader(io.LimitReader(r, maxSignature))
	for {
		p, err := packets.Next()
		if err == io.EOF && len(out) > 0 {
			return out, nil
		}
		if err != nil {
			return nil, err
		}
		sig, ok := p.(*packet.Signature)
		if !ok {
			return nil, errors.New("it holds something other than signatures")
		}
		out = append(out, sig)
	}
}

// BadSignature is the error for a signature that is there and not right.
type BadSignature struct {
	Archive recipe.Archive
	From    string // where the signature came from, without credentials
	Err     error
}

func (b *BadSignature) Error() string {
	return fmt.Sprintf("verify the signature of %s (%s): %v", b.Archive, b.From, b.Err)
}

func (b *BadSignature) Unwrap() error { return b.Err }

// Hint says what to do with it.
func (b *BadSignature) Hint() string {
	return "do not use this archive; get it and its signature from upstream again, and tell upstream if that does not help"
}

// checkSignatureFile checks an archive with a signature file beside it. No
// signature file is no error and gives no signer.
func (f *Fetcher) checkSignatureFile(a recipe.Archive, archive, signature string) (signer string, err error) {
	data, err := readLimited(signature)
	if err != nil {
		return "", nil // the pin has decided already
	}
	return f.checkSignature(a, archive, signature, data)
}

func (f *Fetcher) checkSignature(a recipe.Archive, archive, where string, signature []byte) (signer string, err error) {
	if !f.hasKeysFor(a) {
		return "", nil
	}
	file, err := os.Open(archive)
	if err != nil {
		return "", err
	}
	defer file.Close()
	signer, err = f.verifySignature(file, signature, a.SignedBy)
	if errors.Is(err, errNotASignature) {
		return "", nil
	}
	if errors.Is(err, errStranger) && a.SignedBy == "" && (a.Trust == "" || a.Trust == recipe.Pinned) {
		// Projects get new release managers; the pin is the stronger proof.
		f.opts.Events.Note(fmt.Sprintf("the signature of %s is by a key that this release does not know: its pinned hash decides", a))
		return "", nil
	}
	if err != nil {
		return "", fault.Wrap(fault.Source, "", &BadSignature{Archive: a, From: where, Err: err})
	}
	return signer, nil
}

// hasKeysFor says whether the embedded keys are the right ones to check an
// archive with: a signature of somebody else's project says nothing.
func (f *Fetcher) hasKeysFor(a recipe.Archive) bool {
	return a.SignedBy != "" || apacheFolder(a.Component) != ""
}

func readLimited(name string) ([]byte, error) {
	fi, err := os.Stat(name)
	if err != nil {
		return nil, err
	}
	if !fi.Mode().IsRegular() || fi.Size() > maxSignature {
		return nil, fmt.Errorf("read %s: it is not a signature file", name)
	}
	return os.ReadFile(name)
}

// signatureFromURL gets and checks the signature of the entry's partial file,
// which is complete and verified. Where there is none to be had, or none to be
// checked, there is no signer and no error.
func (f *Fetcher) signatureFromURL(ctx context.Context, a recipe.Archive, e *entry, beside *url.URL, userMirror bool) (signer string, err error) {
	if !f.hasKeysFor(a) {
		return "", nil
	}
	asked := []*url.URL{beside}
	if u, err := url.Parse(a.Signature); err == nil && a.Signature != "" && !userMirror {
		asked = []*url.URL{u, beside}
	}
	ctx, cancel := context.WithTimeout(ctx, signatureTimeout)
	defer cancel()
	for _, u := range asked {
		data, err := f.getSmall(ctx, u, userMirror, maxSignature)
		if err != nil {
			continue
		}
		signer, err := f.checkSignature(a, e.path(partialName), redact(u), data)
		if err != nil {
			return "", err
		}
		if signer != "" {
			return signer, e.keepSignature(a, data)
		}
	}
	return "", nil
}

// keepSignature stores a good signature beside the archive.
func (e *entry) keepSignature(a recipe.Archive, data []byte) error {
	if err := e.root.WriteFile(a.File+".asc", data, 0o600); err != nil {
		return cacheFault(e.dir, err)
	}
	return nil
}

// getSmall returns the whole of a small document with status 200, in one
// attempt.
func (f *Fetcher) getSmall(ctx context.Context, u *url.URL, allowHTTP bool, limit int64) ([]byte, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	resp, err := f.get(ctx, u, allowHTTP, nil)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		err := &statusError{resp.StatusCode, retryAfter(resp.Header, time.Now())}
		if resp.StatusCode >= 500 || resp.StatusCode == http.StatusTooManyRequests {
			return nil, err
		}
		return nil, permanent{err}
	}
	data, err := io.ReadAll(io.LimitReader(stallReader(resp.Body, f.opts.StallTimeout, cancel), limit+1))
	if cause := context.Cause(ctx); err != nil && cause != nil {
		return nil, cause
	}
	if err != nil {
		return nil, plain(err)
	}
	if int64(len(data)) > limit {
		return nil, permanent{fmt.Errorf("more than %d bytes", limit)}
	}
	return data, nil
}
