package registry

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"sync"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/v1/remote/transport"
)

// Repository is a repository in a registry from which manifests and blobs are read as
// streams, under limits that the caller sets. It is safe for concurrent use.
type Repository struct {
	client   *Client
	name     name.Repository
	base     *url.URL
	host     string // as given
	mu       sync.Mutex
	sessions map[string]*http.Client // by action ("pull", "pull,push")
}

var (
	hostForm = regexp.MustCompile(`^([a-zA-Z0-9][a-zA-Z0-9.-]*|\[[0-9a-fA-F:]+\])(:[0-9]{1,5})?$`)
	repoForm = regexp.MustCompile(`^[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*(/[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*)*$`)
)

// ErrMissing is the error for a manifest or blob that is not in the registry.
var ErrMissing = errors.New("it is not there")

// Repository returns the repository HOST/PATH. Plain http is tried, after https, if clear
// is true. The error is for an invalid address.
func (c *Client) Repository(address string, clear bool) (*Repository, error) {
	host, path, ok := strings.Cut(strings.TrimRight(address, "/"), "/")
	switch {
	case strings.Contains(host, "@"):
		return nil, errors.New("credentials do not belong in the address: log in with docker login or podman login" + c.o.Login.hint())
	case !hostForm.MatchString(host):
		return nil, fmt.Errorf("%q is not a host", host)
	case !ok || len(path) > 255 || !repoForm.MatchString(path):
		return nil, fmt.Errorf("%q is not a repository (lower case letters, digits, and ._- between them)", path)
	}
	var opts []name.Option
	if clear {
		opts = append(opts, name.Insecure)
	}
	reg, err := name.NewRegistry(host, opts...)
	if err != nil {
		return nil, fmt.Errorf("%q is not a host", host)
	}
	return &Repository{
		client: c, name: reg.Repo(path), base: &url.URL{Scheme: reg.Scheme(), Host: reg.RegistryStr()}, host: host, sessions: map[string]*http.Client{},
	}, nil
}

// String returns the address, HOST/PATH.
func (r *Repository) String() string { return r.host + "/" + r.name.RepositoryStr() }

func (r *Repository) url(parts ...string) *url.URL {
	return r.base.JoinPath(append([]string{"v2", r.name.RepositoryStr()}, parts...)...)
}

// session returns a client with the authorization that an action needs.
func (r *Repository) session(ctx context.Context, action string) (*http.Client, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if c := r.sessions[action]; c != nil {
		return c, nil
	}
	auth, err := authn.Resolve(ctx, r.client.keychain, r.name)
	if err != nil {
		return nil, err
	}
	// The order of actions in this scope is arbitrary. go-containerregistry's constant has
	// another one, which registries treat the same.
	scope := []string{"repository:" + r.name.RepositoryStr() + ":" + action}
	t, err := transport.NewWithContext(ctx, r.name.Registry, auth, transport.NewUserAgent(r.client.transport, agent), scope)
	if err != nil {
		return nil, r.loginProblem(ctx, err)
	}
	c := &http.Client{Transport: t}
	r.sessions[action] = c
	return c, nil
}

// loginProblem is the error of a session that was not opened.
func (r *Repository) loginProblem(ctx context.Context, err error) error {
	err = plain(ctx, err)
	var answer *transport.Error
	if errors.As(err, &answer) {
		return r.answered(ctx, answer)
	}
	if ctx.Err() != nil || errors.As(err, new(*standstill)) {
		return err
	}
	return &cut{err}
}

// cut is an error whose text may come in part from a registry.
type cut struct{ error }

func (c *cut) Error() string { return fmt.Sprintf("%.300s", printable(c.error.Error())) }
func (c *cut) Unwrap() error { return c.error }

func (r *Repository) answered(ctx context.Context, e *transport.Error) error {
	var code, said string
	if len(e.Errors) > 0 {
		code, said = string(e.Errors[0].Code), e.Errors[0].Message
	}
	return r.refusal(ctx, e.StatusCode, code, said)
}

// StatusError is an answer with an unexpected status.
type StatusError struct {
	Status int
	Code   string // of the distribution specification; empty if the registry gives none
	text   string
}

func (e *StatusError) Error() string { return e.text }

// unsettled reports whether the same request may succeed in a moment.
func (e *StatusError) unsettled() bool {
	switch e.Code {
	case "DIGEST_INVALID", "MANIFEST_BLOB_UNKNOWN", "BLOB_UNKNOWN", "BLOB_UPLOAD_INVALID", "BLOB_UPLOAD_UNKNOWN":
		return true
	}
	return e.Status >= 500 || e.Status == http.StatusTooManyRequests
}

// request is one request to the registry.
type request struct {
	action, method string
	url            *url.URL
	header         http.Header
	size           int64
	open           func() (io.ReadCloser, error) // the body; nil for none
	wanted         []int
}

// send sends a request and returns an answer with one of the wanted statuses. Errors
// contain neither query strings nor credentials.
func (r *Repository) send(ctx context.Context, q request) (*http.Response, error) {
	client, err := r.session(ctx, q.action)
	if err != nil {
		return nil, err
	}
	req, err := http.NewRequestWithContext(ctx, q.method, q.url.String(), nil)
	if err != nil {
		return nil, errors.New("it sends an invalid address")
	}
	for k, v := range q.header {
		req.Header[k] = v
	}
	if q.open != nil && q.size > 0 {
		req.Body, req.ContentLength = &reopened{open: q.open}, q.size
	}
	resp, err := client.Do(req)
	if err != nil {
		err = plain(ctx, err)
		var answer *transport.Error
		if errors.As(err, &answer) { // of the token server
			return nil, r.answered(ctx, answer)
		}
		return nil, err
	}
	for _, s := range q.wanted {
		if resp.StatusCode == s {
			return resp, nil
		}
	}
	code, said := readSome(resp)
	if resp.StatusCode == http.StatusNotFound && (q.method == http.MethodGet || q.method == http.MethodHead) {
		return nil, ErrMissing
	}
	return nil, r.refusal(ctx, resp.StatusCode, code, said)
}

// reopened is a body that is read from its beginning again after it was closed: the
// request is repeated if its token had expired.
type reopened struct {
	open func() (io.ReadCloser, error)
	at   io.ReadCloser
}

func (b *reopened) Read(p []byte) (int, error) {
	if b.at == nil {
		var err error
		if b.at, err = b.open(); err != nil {
			b.at = nil
			return 0, err
		}
	}
	return b.at.Read(p)
}

func (b *reopened) Close() error {
	if b.at == nil {
		return nil
	}
	err := b.at.Close()
	b.at = nil
	return err
}

// refusal explains an answer.
func (r *Repository) refusal(ctx context.Context, status int, code, said string) error {
	text := fmt.Sprintf("the registry answers %d %s", status, http.StatusText(status))
	switch status {
	case http.StatusUnauthorized:
		text += ": log in with docker login " + r.host
		if c := r.client.keychain.find(ctx, r.name); c.some() {
			text = fmt.Sprintf("the registry refuses the credentials (401, from %s)", c.from)
		}
	case http.StatusForbidden:
		text += ": these credentials do not allow that"
	}
	if words := printable(strings.TrimSpace(code + " " + said)); words != "" {
		text += fmt.Sprintf(" (%.80s)", words)
	}
	return &StatusError{status, code, text}
}

// readSome returns the code of an error and its message (distribution specification,
// "Error Codes").
func readSome(resp *http.Response) (code, said string) {
	data, _ := io.ReadAll(io.LimitReader(resp.Body, 4<<10))
	_ = resp.Body.Close()
	var all struct {
		Errors []struct{ Code, Message string }
	}
	if json.Unmarshal(data, &all) != nil || len(all.Errors) == 0 {
		return "", ""
	}
	return all.Errors[0].Code, all.Errors[0].Message
}

// printable makes text of a registry harmless for a terminal.
func printable(s string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r > '~' {
			return '?'
		}
		return r
	}, s)
}

// Manifest returns the manifest of a tag, and whether it is longer than limit; the rest
// is then not read.
func (r *Repository) Manifest(ctx context.Context, tag, mediaType string, limit int64) (data []byte, more bool, err error) {
	resp, err := r.send(ctx, request{
		action: "pull", method: http.MethodGet, url: r.url("manifests", tag), header: http.Header{"Accept": {mediaType}}, wanted: []int{http.StatusOK},
	})
	if err != nil {
		return nil, false, err
	}
	defer func() { _ = resp.Body.Close() }()
	data, err = io.ReadAll(io.LimitReader(resp.Body, limit+1))
	if err != nil {
		return nil, false, fmt.Errorf("the manifest ended early: %w", plain(ctx, err))
	}
	if int64(len(data)) > limit {
		return nil, true, nil
	}
	return data, false, nil
}

// Blob returns the bytes of a blob as the registry sends them. The caller closes the
// reader, reads no more than the size of the blob, and checks its digest.
func (r *Repository) Blob(ctx context.Context, digest string) (io.ReadCloser, error) {
	resp, err := r.send(ctx, request{action: "pull", method: http.MethodGet, url: r.url("blobs", digest), wanted: []int{http.StatusOK}})
	if err != nil {
		return nil, err
	}
	return &blob{resp.Body, ctx}, nil
}

// blob is an answer's body, with errors for people.
type blob struct {
	io.ReadCloser
	ctx context.Context
}

func (b *blob) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	if err != nil && err != io.EOF {
		err = fmt.Errorf("the answer ended early: %w", plain(b.ctx, err))
	}
	return n, err
}

// PutBlob uploads a blob unless it exists already. It opens the blob again for each
// attempt.
func (r *Repository) PutBlob(ctx context.Context, digest string, size int64, open func() (io.ReadCloser, error)) error {
	return r.settled(ctx, func() error { return r.upload(ctx, digest, size, open) })
}

// PutManifest writes the manifest of a tag.
func (r *Repository) PutManifest(ctx context.Context, tag, mediaType string, data []byte) error {
	return r.settled(ctx, func() error {
		resp, err := r.send(ctx, request{
			action: "pull,push", method: http.MethodPut, url: r.url("manifests", tag), header: http.Header{"Content-Type": {mediaType}}, size: int64(len(data)),
			open:   func() (io.ReadCloser, error) { return io.NopCloser(strings.NewReader(string(data))), nil },
			wanted: []int{http.StatusCreated, http.StatusOK, http.StatusAccepted},
		})
		if err != nil {
			return err
		}
		return resp.Body.Close()
	})
}

// settled repeats a write that collided with another client's write of the same object.
// The registry's file storage writes in place, so it can read a half-written file or link
// and then report the content as wrong or missing. A server that fails by itself is asked
// only three times.
func (r *Repository) settled(ctx context.Context, write func() error) error {
	retry := r.client.o.Retry
	retry.Wants = func(err error, failures int) bool {
		var answer *StatusError
		return errors.As(err, &answer) && answer.unsettled() && (answer.Status < 500 || failures < 3)
	}
	return retry.Do(ctx, func() (bool, error) { return false, write() })
}

func (r *Repository) upload(ctx context.Context, digest string, size int64, open func() (io.ReadCloser, error)) error {
	q := request{action: "pull,push", method: http.MethodHead, url: r.url("blobs", digest), wanted: []int{http.StatusOK}}
	resp, err := r.send(ctx, q)
	if err == nil {
		return resp.Body.Close()
	}
	if !errors.Is(err, ErrMissing) {
		return err
	}
	q.method, q.url, q.wanted = http.MethodPost, r.url("blobs", "uploads", "/"), []int{http.StatusAccepted}
	if resp, err = r.send(ctx, q); err != nil {
		return err
	}
	_ = resp.Body.Close()
	to, err := resp.Location()
	if err != nil {
		return errors.New("the registry does not send an upload location")
	}
	query := to.Query()
	query.Set("digest", digest)
	to.RawQuery = query.Encode()
	q.method, q.url, q.size, q.open = http.MethodPut, to, size, open
	q.header, q.wanted = http.Header{"Content-Type": {"application/octet-stream"}}, []int{http.StatusCreated, http.StatusNoContent}
	if resp, err = r.send(ctx, q); err != nil {
		return fmt.Errorf("upload: %w", err)
	}
	return resp.Body.Close()
}
