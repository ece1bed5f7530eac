package fetch

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"hash"
	"io"
	"net/http"
	"net/url"
	"os"
	"path"
	"strconv"
	"strings"
	"time"

	"modwsgi/internal/httpc"
	"modwsgi/internal/recipe"
)

const (
	partialName = "partial"
	stateName   = "partial.json"
	maxState    = 64 << 10 // bytes
)

// maxAttempts limits the attempts on one address even if each of them gets a little
// further.
const maxAttempts = 50

// partialState records of which address, and of which version of it, the partial file is
// the beginning.
type partialState struct {
	URL       string `json:"url"`       // without credentials
	Validator string `json:"validator"` // strong ETag or Last-Modified; "" without one
}

// fromURLs downloads from the first mirror or address that has the archive and is fast
// enough.
func (f *Fetcher) fromURLs(ctx context.Context, s *search) (*File, error) {
	a, e, p, q := s.archive, s.entry, s.progress, s.queue
	for i, u := range f.addresses(a) {
		at := place{url: u, users: s.indexed || i < 2*len(f.mirrors)}
		file, err := f.fromURL(ctx, a, e, at, p, q.turn(f.opts.MinRate))
		if file != nil || err == nil || !tryNext(ctx, err) {
			return file, err
		}
		s.missing.add(URL, httpc.Redact(u), err)
		if httpc.TooSlow(err) {
			q.slow = append(q.slow, at)
			e.keepSlow()
			p.text(fmt.Sprintf("%s: %v; trying the next server", u.Host, err))
		}
		e.dropEmptyPartial()
	}
	return nil, nil
}

// place is an address that may have an archive.
type place struct {
	url   *url.URL
	users bool // the user named it, or the hash comes from a signed index: http will do
}

// elsewhere is a failure of one server, after which another one may succeed.
type elsewhere struct{ error }

func (e elsewhere) Unwrap() error { return e.error }

// tryNext reports whether an error concerns only that server.
func tryNext(ctx context.Context, err error) bool {
	var one elsewhere
	return ctx.Err() == nil && errors.As(err, &one)
}

// fromURL downloads, checks and places the archive.
func (f *Fetcher) fromURL(ctx context.Context, a recipe.Archive, e *entry, s place, p *progress, t turn) (*File, error) {
	err := f.download(ctx, a, e, s.url, s.users, p, t)
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	var local *localError
	if errors.As(err, &local) {
		return nil, cacheFault(e.dir, local.err)
	}
	if err != nil {
		return nil, elsewhere{err}
	}
	beside := *s.url
	beside.Path, beside.RawPath = s.url.Path+".asc", ""
	signer, err := f.signatureFromURL(ctx, a, e, &beside, s.users)
	if err != nil {
		e.drop(partialName, stateName)
		return nil, err
	}
	file, err := e.place(e.path(partialName), a)
	if err != nil {
		return nil, err
	}
	return &File{Path: file, Archive: a, Provider: URL, From: httpc.Redact(s.url), Trust: a.Trust, Signer: signer}, nil
}

// localError is a failure of the local disk, which no other address can fix.
type localError struct{ err error }

func (l *localError) Error() string { return l.err.Error() }
func (l *localError) Unwrap() error { return l.err }

// download brings the archive into the entry's partial file, verified. It retries an
// address while that may help, and resumes where it was interrupted. After an error it
// leaves nothing but, if useful, a beginning to resume from.
func (f *Fetcher) download(ctx context.Context, a recipe.Archive, e *entry, u *url.URL, allowHTTP bool, p *progress, t turn) error {
	ctx, cancel := context.WithTimeoutCause(ctx, t.time, &httpc.Late{Limit: t.time})
	defer cancel()
	retry := f.retry()
	retry.Limit = maxAttempts
	retry.Wants = func(err error, _ int) bool {
		var local *localError
		return !errors.As(err, &local) && !httpc.TooSlow(err)
	}
	retry.Before = func(err error, wait time.Duration) {
		p.text(fmt.Sprintf("%v; trying again in %s", err, wait.Round(100*time.Millisecond)))
	}
	return retry.Do(ctx, func() (bool, error) { return f.attempt(ctx, a, e, u, allowHTTP, p, t) })
}

// attempt makes one request. gained reports whether the partial file has grown.
func (f *Fetcher) attempt(ctx context.Context, a recipe.Archive, e *entry, u *url.URL, allowHTTP bool, p *progress, t turn) (gained bool, err error) {
	part, err := openPartial(e, a)
	if err != nil {
		return false, &localError{err}
	}
	defer part.file.Close()
	from := httpc.Redact(u)
	if done, err := part.wholeAlready(e, from, a); done || err != nil {
		return done, err
	}
	before := part.size
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	resp, err := f.get(ctx, u, allowHTTP, part.header(from))
	if err != nil {
		return false, err
	}
	defer resp.Body.Close()
	if err := part.accept(e, resp); err != nil {
		return false, err
	}
	if err := part.checkLength(a, resp); err != nil {
		e.drop(partialName, stateName)
		return false, httpc.Final(err)
	}
	if err := part.saveState(e, from, resp); err != nil {
		return false, &localError{err}
	}
	resumed := part.size > 0
	err = part.receive(f.pace(t.rate).Paced(resp.Body, cancel), a, part.total(a, resp), p)
	gained = part.size > before
	if cause := context.Cause(ctx); err != nil && cause != nil {
		return gained, cause
	}
	if err != nil {
		var final httpc.Permanent
		if errors.As(err, &final) {
			e.drop(partialName, stateName)
		}
		return gained, err
	}
	return gained, part.judge(e, from, a, isPage(resp), resumed)
}

// wholeAlready reports whether an earlier run was interrupted between the last byte and
// the rename. A complete file with the wrong contents is dropped.
func (p *partial) wholeAlready(e *entry, from string, a recipe.Archive) (bool, error) {
	if p.size == 0 || a.Size > 0 && p.size != a.Size || a.SHA256 == "" {
		return false, nil
	}
	err := p.verify(from, a, false)
	if err == nil {
		return true, nil
	}
	if a.Size == 0 {
		return false, nil // only a beginning
	}
	return false, p.restart(e, err)
}

// judge verifies the download. Wrong contents are dropped. If the beginning was from an
// earlier run, that may be the wrong part, and another request may help.
func (p *partial) judge(e *entry, from string, a recipe.Archive, page, resumed bool) error {
	err := p.verify(from, a, page)
	if err == nil {
		return nil
	}
	err = p.restart(e, err)
	var mismatch *Mismatch
	if errors.As(err, &mismatch) && !resumed {
		return httpc.Final(err)
	}
	return err
}

func isPage(resp *http.Response) bool {
	return strings.HasPrefix(resp.Header.Get("Content-Type"), "text/html")
}

// partial is the partial file, open, with the hash of its contents.
type partial struct {
	file  *os.File
	size  int64
	hash  hash.Hash
	state partialState
}

func openPartial(e *entry, a recipe.Archive) (*partial, error) {
	// A link in its place could redirect writes.
	if fi, err := e.root.Lstat(partialName); err == nil && (!fi.Mode().IsRegular() || fi.Size() > sizeLimit(a)) {
		e.drop(partialName, stateName)
	}
	file, err := e.root.Root().OpenFile(partialName, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	p := &partial{file: file, hash: sha256.New()}
	if p.size, err = io.Copy(p.hash, file); err != nil {
		_ = file.Close()
		return nil, err
	}
	if data, err := e.root.ReadFile(stateName, maxState); err == nil {
		_ = json.Unmarshal(data, &p.state) // a torn one costs only the validator
	}
	return p, nil
}

func sizeLimit(a recipe.Archive) int64 {
	if a.Size > 0 {
		return a.Size
	}
	return MaxUnknownSize
}

// header requests the rest of a partial file. The validator of another address means
// nothing to this one; the hash alone then decides.
func (p *partial) header(from string) http.Header {
	h := http.Header{}
	if p.size > 0 {
		h.Set("Range", fmt.Sprintf("bytes=%d-", p.size))
		if p.state.URL == from && p.state.Validator != "" {
			h.Set("If-Range", p.state.Validator)
		}
	}
	return h
}

// accept decides by the answer's status whether its body is the rest, or the whole from
// the start (RFC 9110, sections 14.2 and 15.3.7).
func (p *partial) accept(e *entry, resp *http.Response) error {
	switch {
	case resp.StatusCode == http.StatusOK:
		return p.truncate()
	case resp.StatusCode == http.StatusPartialContent && p.size > 0:
		if begin, ok := rangeStart(resp.Header.Get("Content-Range")); ok && begin == p.size {
			return nil
		}
		return p.restart(e, errors.New("the answer has another range than requested"))
	case resp.StatusCode == http.StatusRequestedRangeNotSatisfiable && p.size > 0:
		return p.restart(e, errors.New("the server does not have this range"))
	}
	return httpc.NewStatusError(resp)
}

// rangeStart reads "bytes 100-199/200".
func rangeStart(v string) (int64, bool) {
	spec, ok := strings.CutPrefix(v, "bytes ")
	if !ok {
		return 0, false
	}
	first, _, ok := strings.Cut(spec, "-")
	n, err := strconv.ParseInt(first, 10, 64)
	return n, ok && err == nil
}

// restart empties the partial file and returns why.
func (p *partial) restart(e *entry, why error) error {
	e.drop(stateName)
	if err := p.truncate(); err != nil {
		return err
	}
	e.drop(partialName)
	return why
}

func (p *partial) truncate() error {
	if err := p.file.Truncate(0); err != nil {
		return &localError{err}
	}
	if _, err := p.file.Seek(0, io.SeekStart); err != nil {
		return &localError{err}
	}
	p.size = 0
	p.hash.Reset()
	return nil
}

// total returns the expected total size in bytes, 0 if unknown.
func (p *partial) total(a recipe.Archive, resp *http.Response) int64 {
	if a.Size > 0 {
		return a.Size
	}
	if resp.ContentLength >= 0 {
		return p.size + resp.ContentLength
	}
	return 0
}

// checkLength compares the announced length before a byte is read.
func (p *partial) checkLength(a recipe.Archive, resp *http.Response) error {
	if resp.ContentLength < 0 {
		return nil
	}
	will := p.size + resp.ContentLength
	if a.Size > 0 && will != a.Size {
		page := ""
		if isPage(resp) {
			page = ", an HTML page"
		}
		return fmt.Errorf("the server announces %d bytes%s, the archive has %d", will, page, a.Size)
	}
	if limit := sizeLimit(a); will > limit {
		return fmt.Errorf("the server announces %d bytes, more than the limit of %d", will, limit)
	}
	return nil
}

func (p *partial) saveState(e *entry, from string, resp *http.Response) error {
	s := partialState{URL: from, Validator: resp.Header.Get("ETag")}
	if s.Validator == "" || strings.HasPrefix(s.Validator, "W/") {
		s.Validator = resp.Header.Get("Last-Modified")
	}
	data, err := json.Marshal(s)
	if err != nil {
		return err
	}
	return e.root.Root().WriteFile(stateName, data, 0o600)
}

// receive appends the body, hashing on the way and never writing more than the limit.
func (p *partial) receive(body io.Reader, a recipe.Archive, total int64, pr *progress) error {
	buf := make([]byte, 128<<10)
	limit := sizeLimit(a)
	for {
		n, rerr := body.Read(buf)
		if p.size+int64(n) > limit {
			return httpc.Final(fmt.Errorf("the server sends more than %d bytes", limit))
		}
		if _, err := p.file.Write(buf[:n]); err != nil {
			return &localError{err}
		}
		p.hash.Write(buf[:n])
		p.size += int64(n)
		pr.bytes(p.size, total)
		switch {
		case rerr == io.EOF && a.Size > 0 && p.size < a.Size:
			return fmt.Errorf("the answer ended after %d of %d bytes", p.size, a.Size)
		case rerr == io.EOF:
			return nil
		case errors.Is(rerr, io.ErrUnexpectedEOF):
			return fmt.Errorf("the connection ended after %d bytes", p.size)
		case rerr != nil:
			return httpc.Plain(rerr)
		}
	}
}

// verify compares the whole file with the pin, and makes it durable. An archive without a
// hash (Resolve) is accepted; its signature decides.
func (p *partial) verify(from string, a recipe.Archive, page bool) error {
	if a.SHA256 != "" {
		if err := compareHash(from, hex.EncodeToString(p.hash.Sum(nil)), p.size, a); err != nil {
			var m *Mismatch
			if errors.As(err, &m) {
				m.File, m.LooksLikeAPage = path.Base(from), page
			}
			return err
		}
	}
	if err := p.file.Sync(); err != nil {
		return &localError{err}
	}
	return nil
}
