package remote

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"sync"
	"time"

	"modwsgi/internal/httpc"
)

// registry is a repository of a registry, by the OCI distribution specification.
type registry struct {
	base   *url.URL // "https://host"
	host   string
	repo   string
	client *http.Client
	o      Options
	// scheme says how a registry on this machine is spoken to: it may have TLS or
	// not. nil where that is known beforehand.
	scheme func() string
	mu     sync.Mutex
	creds  *credentials      // nil until they are looked for
	tokens map[string]string // Authorization by action ("pull", "pull,push")
}

var (
	hostForm = regexp.MustCompile(`^([a-zA-Z0-9][a-zA-Z0-9.-]*|\[[0-9a-fA-F:]+\])(:[0-9]{1,5})?$`)
	repoForm = regexp.MustCompile(`^[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*(/[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*)*$`)
)

const connectTimeout = 5 * time.Second

func newRegistry(address string, o Options) (*registry, error) {
	host, repo, ok := strings.Cut(strings.TrimRight(address, "/"), "/")
	switch {
	case strings.Contains(host, "@"):
		return nil, errors.New("credentials do not belong into the address: log in with docker login or podman login, or set MODWSGI_CACHE_USERNAME and MODWSGI_CACHE_PASSWORD")
	case !hostForm.MatchString(host):
		return nil, fmt.Errorf("%q is no host", host)
	case !ok || len(repo) > 255 || !repoForm.MatchString(repo):
		return nil, fmt.Errorf("%q is no repository (lower case letters, digits, and ._- between them)", repo)
	}
	scheme := "https"
	if o.HTTP || loopback(host) {
		scheme = "http"
	}
	transport, err := httpc.NewTransport(httpc.Options{Env: o.Env, HeaderTimeout: o.Stall})
	if err != nil {
		return nil, err
	}
	r := &registry{base: &url.URL{Scheme: scheme, Host: host}, host: host, repo: repo, o: o, tokens: map[string]string{}}
	if loopback(host) && !o.HTTP {
		r.scheme = sync.OnceValue(func() string { return schemeOf(host, min(o.Stall, connectTimeout)) })
	}
	r.client = httpc.NewClient(transport, r.allowed)
	return r, nil
}

// schemeOf is "https" where what listens at a host of this machine speaks TLS,
// with whatever certificate: whether that is good is the client's to say.
func schemeOf(host string, limit time.Duration) string {
	if _, _, err := net.SplitHostPort(host); err != nil {
		host = net.JoinHostPort(strings.Trim(host, "[]"), "80")
	}
	conn, err := net.DialTimeout("tcp", host, limit)
	if err != nil {
		return "http"
	}
	defer func() { _ = conn.Close() }()
	_ = conn.SetDeadline(time.Now().Add(limit))
	err = tls.Client(conn, &tls.Config{InsecureSkipVerify: true}).Handshake() // #nosec G402 -- nothing is sent
	var alert tls.AlertError
	if err == nil || errors.As(err, &alert) {
		return "https"
	}
	return "http"
}

// allowed refuses plain http to anywhere but this machine, unless the user
// asked for it.
func (r *registry) allowed(u *url.URL) error {
	if u.Scheme == "https" || u.Scheme == "http" && (r.o.HTTP || loopback(u.Host)) {
		return nil
	}
	return fmt.Errorf("it leads to %s://%s, which is not https", u.Scheme, u.Host)
}

func loopback(hostport string) bool {
	host := hostport
	if h, _, err := net.SplitHostPort(hostport); err == nil {
		host = h
	}
	ip := net.ParseIP(strings.Trim(host, "[]"))
	return host == "localhost" || ip != nil && ip.IsLoopback()
}

func (r *registry) url(parts ...string) *url.URL {
	return r.base.JoinPath(append([]string{"v2", r.repo}, parts...)...)
}

// statusError is an answer that is not the wanted one.
type statusError struct {
	status int
	code   string // of the distribution specification; empty where the registry gives none
	text   string
}

func (e *statusError) Error() string { return e.text }

// unsettled says whether the same request can succeed in a moment.
func (e *statusError) unsettled() bool {
	switch e.code {
	case "DIGEST_INVALID", "MANIFEST_BLOB_UNKNOWN", "BLOB_UNKNOWN", "BLOB_UPLOAD_INVALID", "BLOB_UPLOAD_UNKNOWN":
		return true
	}
	return e.status >= 500 || e.status == http.StatusTooManyRequests
}

// send sends a request, with the authorization that an action needs, and
// returns an answer with one of the wanted statuses. A body is opened anew for
// each attempt. Errors name neither query strings nor credentials.
func (r *registry) send(ctx context.Context, action, method string, u *url.URL, header http.Header, size int64, open func() (io.ReadCloser, error), wanted ...int) (*http.Response, error) {
	if r.scheme != nil && u.Host == r.base.Host {
		same := *u
		same.Scheme = r.scheme()
		u = &same
	}
	for attempt := 0; ; attempt++ {
		req, err := http.NewRequestWithContext(ctx, method, u.String(), nil)
		if err != nil {
			return nil, errors.New("it gives an address that is none")
		}
		for k, v := range header {
			req.Header[k] = v
		}
		req.Header.Set("User-Agent", "modwsgi")
		if auth := r.authorization(action); auth != "" && u.Host == r.base.Host {
			req.Header.Set("Authorization", auth)
		}
		if open != nil {
			if req.Body, err = open(); err != nil {
				return nil, err
			}
			req.ContentLength = size
			if size == 0 {
				req.Body = http.NoBody
			}
		}
		resp, err := r.client.Do(req)
		if err != nil {
			return nil, plain(ctx, err)
		}
		for _, s := range wanted {
			if resp.StatusCode == s {
				return resp, nil
			}
		}
		challenge := resp.Header.Values("WWW-Authenticate")
		code, said := r.readSome(resp)
		switch {
		case resp.StatusCode == http.StatusUnauthorized && attempt == 0:
			if err := r.authorize(ctx, action, challenge); err != nil {
				return nil, err
			}
			continue
		case resp.StatusCode == http.StatusNotFound && (method == http.MethodGet || method == http.MethodHead):
			return nil, errMissing
		}
		return nil, r.refusal(ctx, resp.StatusCode, code, said)
	}
}

// refusal says what an answer means.
func (r *registry) refusal(ctx context.Context, status int, code, said string) error {
	text := fmt.Sprintf("the registry answers %d %s", status, http.StatusText(status))
	switch status {
	case http.StatusUnauthorized:
		text += ": log in with docker login " + r.host
		if r.credentials(ctx).some() {
			text = fmt.Sprintf("the registry refuses the credentials (401, from %s)", r.credentials(ctx).from)
		}
	case http.StatusForbidden:
		text += ": these credentials do not allow that"
	}
	if said != "" {
		text += " (" + said + ")"
	}
	return &statusError{status, code, text}
}

// readSome returns the code of an error and what it says (distribution specification, "Error
// Codes"), cut and made harmless.
func (r *registry) readSome(resp *http.Response) (code, said string) {
	body := r.patient(resp.Body)
	data, _ := io.ReadAll(io.LimitReader(body, 4<<10))
	_ = body.Close()
	var all struct {
		Errors []struct{ Code, Message string }
	}
	if json.Unmarshal(data, &all) != nil || len(all.Errors) == 0 {
		return "", ""
	}
	return all.Errors[0].Code, fmt.Sprintf("%.80s", printable(strings.TrimSpace(all.Errors[0].Code+" "+all.Errors[0].Message)))
}

// plain takes the address, in which there may be a secret, out of an error.
func plain(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	var ue *url.Error
	if errors.As(err, &ue) {
		return ue.Err
	}
	return err
}

func (r *registry) manifest(ctx context.Context, tag string) ([]byte, error) {
	resp, err := r.send(ctx, "pull", http.MethodGet, r.url("manifests", tag), http.Header{"Accept": {manifestType}}, 0, nil, http.StatusOK)
	if err != nil {
		return nil, err
	}
	body := r.patient(resp.Body)
	defer func() { _ = body.Close() }()
	data, err := io.ReadAll(io.LimitReader(body, maxManifest+1))
	if err != nil {
		return nil, fmt.Errorf("the manifest breaks off: %w", plain(ctx, err))
	}
	if len(data) > maxManifest {
		return nil, &Refused{tag, fmt.Sprintf("its manifest has more than %d bytes", maxManifest)}
	}
	return data, nil
}

func (r *registry) blob(ctx context.Context, d descriptor, w io.Writer) error {
	resp, err := r.send(ctx, "pull", http.MethodGet, r.url("blobs", d.Digest), nil, 0, nil, http.StatusOK)
	if err != nil {
		return err
	}
	body := r.patient(resp.Body)
	defer func() { _ = body.Close() }()
	err = copyVerified(w, body, d)
	var content *contentError
	if err != nil && !errors.As(err, &content) && !errors.Is(err, errEnough) {
		return fmt.Errorf("the answer breaks off: %w", plain(ctx, err))
	}
	return err
}

// putBlob uploads a blob that is not there yet.
func (r *registry) putBlob(ctx context.Context, d descriptor, open func() (io.ReadCloser, error)) error {
	return r.settled(ctx, func() error { return r.upload(ctx, d, open) })
}

// settled tries a write again that met somebody else's of the same thing: the
// registry's file storage writes in place, so that it can read another one's
// half-written file or link and then calls our content wrong or missing. The
// waits are of random length, so that those who met once do not again.
func (r *registry) settled(ctx context.Context, write func() error) error {
	const attempts = 8
	attempt := 0
	for wait := 100 * time.Millisecond; ; wait = min(2*wait, 2*time.Second) {
		err := write()
		var answer *statusError
		if err == nil || !errors.As(err, &answer) || !answer.unsettled() {
			return err
		}
		if attempt++; attempt == attempts || answer.status >= 500 && attempt == 3 {
			return err
		}
		select {
		case <-ctx.Done():
			return err
		case <-time.After(wait/2 + rand.N(wait)): // #nosec G404 -- no secret
		}
	}
}

func (r *registry) upload(ctx context.Context, d descriptor, open func() (io.ReadCloser, error)) error {
	resp, err := r.send(ctx, "pull,push", http.MethodHead, r.url("blobs", d.Digest), nil, 0, nil, http.StatusOK)
	if err == nil {
		_ = resp.Body.Close()
		return nil
	}
	if !errors.Is(err, errMissing) {
		return err
	}
	resp, err = r.send(ctx, "pull,push", http.MethodPost, r.url("blobs", "uploads", "/"), nil, 0, nil, http.StatusAccepted)
	if err != nil {
		return err
	}
	_ = resp.Body.Close()
	to, err := resp.Location()
	if err != nil {
		return errors.New("the registry does not say where to upload to")
	}
	if err := r.allowed(to); err != nil {
		return err
	}
	query := to.Query()
	query.Set("digest", d.Digest)
	to.RawQuery = query.Encode()
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	resp, err = r.send(ctx, "pull,push", http.MethodPut, to, http.Header{"Content-Type": {"application/octet-stream"}}, d.Size, func() (io.ReadCloser, error) {
		f, err := open()
		if err != nil {
			return nil, err
		}
		return newPatient(f, r.o.Stall, cancel), nil
	}, http.StatusCreated, http.StatusNoContent)
	if err != nil {
		return fmt.Errorf("upload: %w", err)
	}
	return resp.Body.Close()
}

func (r *registry) putManifest(ctx context.Context, tag string, data []byte) error {
	return r.settled(ctx, func() error {
		resp, err := r.send(ctx, "pull,push", http.MethodPut, r.url("manifests", tag), http.Header{"Content-Type": {manifestType}}, int64(len(data)),
			func() (io.ReadCloser, error) { return io.NopCloser(strings.NewReader(string(data))), nil }, http.StatusCreated, http.StatusOK, http.StatusAccepted)
		if err != nil {
			return err
		}
		return resp.Body.Close()
	})
}

// patient ends a body that stalls, or comes too slowly.
func (r *registry) patient(body io.ReadCloser) io.ReadCloser {
	limits := httpc.Limits{Rate: r.o.Rate, Window: r.o.Stall}
	return newPatient(struct {
		io.Reader
		io.Closer
	}{limits.Reader(body), body}, r.o.Stall, nil)
}

// patience is a reader that waits only so long for the next bytes.
type patience struct {
	io.ReadCloser
	timer *time.Timer
	limit time.Duration
	once  sync.Once
	mu    sync.Mutex
	why   error
}

// newPatient closes r when nothing was read for so long, and calls end where it
// is given: a body that is being sent is not read any more by a server that
// hangs.
func newPatient(r io.ReadCloser, limit time.Duration, end context.CancelCauseFunc) *patience {
	p := &patience{ReadCloser: r, limit: limit}
	p.timer = time.AfterFunc(limit, func() {
		err := fmt.Errorf("nothing moved for %s", limit)
		p.mu.Lock()
		p.why = err
		p.mu.Unlock()
		if end != nil {
			end(err)
			return
		}
		_ = p.ReadCloser.Close()
	})
	return p
}

func (p *patience) Read(b []byte) (int, error) {
	p.timer.Reset(p.limit)
	n, err := p.ReadCloser.Read(b)
	if err == io.EOF {
		p.timer.Stop() // what the other side does with it is the header's time-out
	}
	if err != nil && err != io.EOF {
		p.mu.Lock()
		defer p.mu.Unlock()
		if p.why != nil {
			err = p.why
		}
	}
	return n, err
}

func (p *patience) Close() error {
	p.timer.Stop()
	var err error
	p.once.Do(func() { err = p.ReadCloser.Close() })
	return err
}
