package catalogue

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"net/url"
	"path/filepath"
	"strings"
	"time"

	"github.com/theupdateframework/go-tuf/v2/metadata"

	"modwsgi/internal/fault"
	"modwsgi/internal/httpc"
	"modwsgi/internal/owned"
	"modwsgi/internal/version"
)

// base stands for the repository's address in what the library asks for. So an address
// with credentials appears in none of its errors, and a directory needs no address.
const base = "repository"

// maxTotal is the default time limit of one file, and of all together.
const maxTotal = 5 * time.Minute

// source gets files of a repository, from a server or a directory, for the library. It
// only answers what exists, up to a size, in a limited time.
type source struct {
	ctx    context.Context // of the update: the library passes none
	at     *url.URL        // nil for a directory
	dir    string
	client *http.Client
}

// newSource returns the source of a repository. where is an http or https address, or a
// directory, relative to wd.
func newSource(ctx context.Context, where, wd string, env []string, limits httpc.Limits) (*source, error) {
	u, err := url.Parse(where)
	if err != nil || u.Scheme != "https" && u.Scheme != "http" {
		if strings.Contains(where, "://") {
			return nil, fault.New(fault.Usage, "give an https address or a directory", "use repository %q: not an http or https address", httpc.RedactText(where))
		}
		if !filepath.IsAbs(where) {
			where = filepath.Join(wd, where)
		}
		return &source{ctx: ctx, dir: where}, nil
	}
	if u.Host == "" || u.RawQuery != "" || u.Fragment != "" {
		return nil, fault.New(fault.Usage, "give the address of the directory that has timestamp.json", "use repository %q: not the address of a directory", httpc.Redact(u))
	}
	if limits == (httpc.Limits{}) {
		if limits, err = httpc.ReadLimits(env); err != nil {
			return nil, err
		}
	}
	if !limits.Set {
		limits.Total = maxTotal
	}
	transport, err := httpc.NewTransport(httpc.Options{Env: env, HeaderTimeout: 30 * time.Second})
	if err != nil {
		return nil, err
	}
	client := httpc.NewClient(limits.Transport(transport), func(to *url.URL) error {
		if to.Scheme != "https" && to.Scheme != u.Scheme {
			return &httpc.RedirectError{Text: "redirect to " + httpc.Redact(to) + ", which is not https"}
		}
		return nil
	})
	return &source{ctx: ctx, at: u, client: client}, nil
}

// String returns where the repository is, without credentials.
func (s *source) String() string {
	if s.at == nil {
		return s.dir
	}
	public := *s.at
	public.User = nil
	return public.String()
}

// DownloadFile returns a file of at most limit bytes. A root that does not exist is the
// end of the chain of roots, for which the library waits as status 404. Some hosts of
// static files answer 403 or 410 instead; whoever can do that could answer 404 as well.
func (s *source) DownloadFile(name string, limit int64, _ time.Duration) ([]byte, error) {
	name = strings.TrimPrefix(name, base+"/")
	if !filepath.IsLocal(filepath.FromSlash(name)) {
		return nil, fmt.Errorf("get %q: not a file of the repository", name)
	}
	data, err := s.get(name, limit)
	var status *httpc.StatusError
	missing := errors.Is(err, fs.ErrNotExist) ||
		errors.As(err, &status) && (status.Status == http.StatusNotFound || status.Status == http.StatusForbidden || status.Status == http.StatusGone)
	if missing && strings.HasSuffix(name, ".root.json") {
		return nil, &metadata.ErrDownloadHTTP{StatusCode: http.StatusNotFound, URL: name}
	}
	if err != nil {
		return nil, fmt.Errorf("get %s: %w", name, err)
	}
	return data, nil
}

func (s *source) get(name string, limit int64) (data []byte, err error) {
	if s.at == nil {
		if err := s.ctx.Err(); err != nil {
			return nil, context.Cause(s.ctx)
		}
		return owned.ReadInput(filepath.Join(s.dir, filepath.FromSlash(name)), limit)
	}
	retry := httpc.Retry{Again: 2, Delay: 200 * time.Millisecond, Max: 5 * time.Second}
	err = retry.Do(s.ctx, func() (bool, error) {
		data, err = s.request(name, limit)
		return false, err
	})
	return data, err
}

// request makes one attempt.
func (s *source) request(name string, limit int64) ([]byte, error) {
	req, err := http.NewRequestWithContext(s.ctx, http.MethodGet, s.at.JoinPath(name).String(), nil)
	if err != nil {
		return nil, httpc.Final(err)
	}
	req.Header.Set("User-Agent", "modwsgi/"+version.Release)
	req.Header.Set("Cache-Control", "no-cache") // a proxy must not answer for the repository
	resp, err := s.client.Do(req)
	if err != nil {
		err = httpc.Plain(err)
		if httpc.Unreachable(err) || httpc.RefusedForGood(err) || httpc.TooSlow(err) {
			err = httpc.Final(err)
		}
		return nil, err
	}
	defer func() { _ = resp.Body.Close() }()
	if resp.StatusCode != http.StatusOK {
		return nil, httpc.NewStatusError(resp)
	}
	data, err := io.ReadAll(io.LimitReader(resp.Body, limit+1))
	if httpc.TooSlow(err) {
		return nil, httpc.Final(err)
	}
	if err == nil && int64(len(data)) > limit {
		return nil, httpc.Final(fmt.Errorf("more than %d bytes", limit))
	}
	return data, err
}
