package fetch

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/ProtonMail/go-crypto/openpgp/packet"
	openpgp "github.com/ProtonMail/go-crypto/openpgp/v2"

	"modwsgi/internal/digest"
	"modwsgi/internal/fault"
	"modwsgi/internal/httpc"
	"modwsgi/internal/pgp"
	"modwsgi/internal/recipe"
)

// maxSignature is the maximum size of a detached signature in bytes.
const maxSignature = 64 << 10

// signatureTimeout limits the attempt to get a signature: with a pinned hash it is
// optional.
const signatureTimeout = 5 * time.Second

// verifySignature checks a detached armored signature of a file. Of several signatures
// one by a valid embedded key is enough; next best is one by a key that has expired
// since. The file is hashed again with each of them, because the signed contents must be
// those that sum, a SHA-256, was computed from ("" if not known yet). It returns the hash
// of the signed contents.
func (f *Fetcher) verifySignature(ring openpgp.EntityList, signed io.ReadSeeker, signature []byte, signedBy, sum string) (*pgp.Signature, string, error) {
	if !bytes.Contains(signature, []byte("-----BEGIN PGP SIGNATURE-----")) {
		return nil, "", errNotASignature
	}
	signatures, err := pgp.Read(signature)
	if err != nil {
		return nil, "", fmt.Errorf("read it: %w", err)
	}
	verdict := errStranger
	var best *pgp.Signature
	var bestSum string
	for _, sig := range signatures {
		good, got, err := f.verifyOne(ring, signed, sig, sum)
		var changed *digest.Changed
		var unfit *pgp.UnfitError
		switch {
		case errors.As(err, &changed):
			return nil, "", err
		case errors.Is(err, pgp.ErrStranger):
		case errors.As(err, &unfit):
			if errors.Is(verdict, errStranger) {
				verdict = err
			}
		case err != nil:
			verdict = err
		case signedBy != "" && good.Signer != strings.ToUpper(signedBy):
			verdict = fmt.Errorf("it is by key %s, expected %s", good.Signer, signedBy)
		case good.Expired.IsZero():
			return good, got, nil
		default:
			best, bestSum = good, got
		}
	}
	if best != nil {
		return best, bestSum, nil
	}
	return nil, "", verdict
}

// verifyOne checks one signature over the current contents of the file, and that they are
// the same as when its hash was computed.
func (f *Fetcher) verifyOne(ring openpgp.EntityList, signed io.ReadSeeker, sig *packet.Signature, sum string) (*pgp.Signature, string, error) {
	if _, err := signed.Seek(0, io.SeekStart); err != nil {
		return nil, "", err
	}
	hashed := digest.NewReader(io.LimitReader(signed, MaxUnknownSize+1))
	good, err := pgp.Check(ring, hashed, sig, f.now())
	if (err == nil || hashed.Count() > 0) && sum != "" && hashed.Sum() != sum {
		return nil, "", &digest.Changed{File: "the archive", Want: sum, Got: hashed.Sum()}
	}
	return good, hashed.Sum(), err
}

// BadSignature is the error for a signature that is present but wrong.
type BadSignature struct {
	Archive recipe.Archive
	From    string // where the signature is from, without credentials
	Err     error
}

func (b *BadSignature) Error() string {
	return fmt.Sprintf("verify the signature of %s (%s): %v", b.Archive, b.From, b.Err)
}

func (b *BadSignature) Unwrap() error { return b.Err }

// Hint returns what to do about it.
func (b *BadSignature) Hint() string {
	return "do not use this archive; get it and its signature from upstream again, and report it to upstream if that does not help"
}

// checkSignatureFile checks an archive with a signature file beside it. A missing
// signature file is not an error and gives no signer.
func (f *Fetcher) checkSignatureFile(a recipe.Archive, archive, signature string) (signer string, err error) {
	data, err := readLimited(signature)
	if err != nil {
		return "", nil // the pin has already decided
	}
	signer, _, err = f.checkSignature(a, archive, signature, data)
	return signer, err
}

// checkSignature checks an archive with a signature. If the signature proves something,
// it returns the fingerprint of the signer, with the SHA-256 of what was signed. A
// signature that proves nothing is reported and ignored, as the hash then decides. A
// wrong one is a *BadSignature.
func (f *Fetcher) checkSignature(a recipe.Archive, archive, where string, signature []byte) (signer, sum string, err error) {
	folder := signersOf(a.Component)
	if folder == "" {
		return "", "", nil
	}
	ring, err := f.keys(folder)
	if err != nil {
		return "", "", err
	}
	file, err := digest.Open(archive)
	if err != nil {
		return "", "", err
	}
	defer func() { _ = file.Close() }()
	good, sum, err := f.verifySignature(ring, file, signature, a.SignedBy, a.SHA256)
	pinned := a.Trust == "" || a.Trust == recipe.Pinned
	var unfit *pgp.UnfitError
	var changed *digest.Changed
	switch {
	case errors.Is(err, errNotASignature):
		return "", "", nil
	case errors.As(err, &changed):
		changed.File = archive
		return "", "", fault.New(fault.Source, "find out who writes to that directory, and keep archives where only you and root can change them", "check the signature of %s: %w", a, changed)
	case errors.Is(err, errStranger) && a.SignedBy == "" && pinned:
		// Projects get new release managers; the pin is the stronger proof.
		f.opts.Events.Note(fmt.Sprintf("the signature of %s is by a key unknown to this release: its pinned hash decides", a))
		return "", "", nil
	case errors.As(err, &unfit):
		f.opts.Events.Note(fmt.Sprintf("the signature of %s is ignored (%v)", a, unfit))
		return "", "", nil
	case err != nil:
		return "", "", fault.Wrap(fault.Source, "", &BadSignature{Archive: a, From: where, Err: err})
	case !good.Expired.IsZero() && !pinned:
		f.opts.Events.Note(fmt.Sprintf("the signature of %s is ignored: key %s expired on %s, and anyone who has it could write any date", a, good.Signer, good.Expired.Format(time.DateOnly)))
		return "", "", nil
	}
	return good.Signer, sum, nil
}

func readLimited(name string) ([]byte, error) {
	file, err := digest.Open(name)
	if err != nil {
		return nil, err
	}
	defer func() { _ = file.Close() }()
	data, err := io.ReadAll(io.LimitReader(file, maxSignature+1))
	if err == nil && len(data) > maxSignature {
		err = fmt.Errorf("read %s: it is not a signature file", name)
	}
	return data, err
}

// signatureFromURL gets and checks the signature of the entry's partial file, which is
// complete and verified. If none is available or none can be checked, there is no signer
// and no error.
func (f *Fetcher) signatureFromURL(ctx context.Context, a recipe.Archive, e *entry, beside *url.URL, userMirror bool) (signer string, err error) {
	if signersOf(a.Component) == "" {
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
		signer, _, err := f.checkSignature(a, e.path(partialName), httpc.Redact(u), data)
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

// getSmall returns the whole of a small document with status 200, in one attempt.
func (f *Fetcher) getSmall(ctx context.Context, u *url.URL, allowHTTP bool, limit int64) ([]byte, error) {
	most := f.opts.Total / 4
	ctx, end := context.WithTimeoutCause(ctx, most, &httpc.Late{Limit: most})
	defer end()
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	resp, err := f.get(ctx, u, allowHTTP, nil)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return nil, httpc.NewStatusError(resp)
	}
	data, err := io.ReadAll(io.LimitReader(f.pace(f.opts.MinRate).Paced(resp.Body, cancel), limit+1))
	if cause := context.Cause(ctx); err != nil && cause != nil {
		err = cause
	}
	if httpc.TooSlow(err) { // and would be again
		return nil, httpc.Final(err)
	}
	if err != nil {
		return nil, httpc.Plain(err)
	}
	if int64(len(data)) > limit {
		return nil, httpc.Final(fmt.Errorf("more than %d bytes", limit))
	}
	return data, nil
}
