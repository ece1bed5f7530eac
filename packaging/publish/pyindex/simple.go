package pyindex

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
	"path"
	"strings"

	"golang.org/x/net/html"

	"modwsgi/internal/httpc"
)

// maxPage is the maximum size in bytes of a project's page.
const maxPage = 64 << 20

// accepted are the forms of a project's page (PEP 691). Old servers send text/html
// whatever is asked for.
const accepted = "application/vnd.pypi.simple.v1+json, application/vnd.pypi.simple.v1+html;q=0.2, text/html;q=0.1"

// remoteFile is a file that the index has.
type remoteFile struct {
	at  *url.URL
	sum string // SHA-256, lower case hex; "" if the index gives another hash or none
}

// errNoProject is the error for a project that the index does not have.
var errNoProject = errors.New("the index has no such project")

// project returns the files of a project by name.
func (x *Index) project(ctx context.Context, name string) (map[string]remoteFile, error) {
	at := x.check.JoinPath(name, "/")
	var out map[string]remoteFile
	err := x.retry().Do(ctx, func() (bool, error) {
		resp, err := x.get(ctx, at, accepted)
		if err != nil {
			return false, err
		}
		defer func() { _ = resp.Body.Close() }()
		if resp.StatusCode == http.StatusNotFound {
			return false, httpc.Final(errNoProject)
		}
		if resp.StatusCode != http.StatusOK {
			return false, httpc.NewStatusError(resp)
		}
		data, err := io.ReadAll(io.LimitReader(resp.Body, maxPage+1))
		if err != nil {
			return false, fmt.Errorf("the answer ended early: %w", httpc.Plain(err))
		}
		if len(data) > maxPage {
			return false, httpc.Final(fmt.Errorf("the page of %s has more than %d bytes", name, maxPage))
		}
		if strings.HasPrefix(resp.Header.Get("Content-Type"), "application/vnd.pypi.simple.v1+json") {
			out, err = parseJSON(data, resp.Request.URL)
		} else {
			out, err = parseHTML(string(data), resp.Request.URL)
		}
		if err != nil {
			return false, httpc.Final(err)
		}
		return true, nil
	})
	return out, err
}

func parseJSON(data []byte, base *url.URL) (map[string]remoteFile, error) {
	var page struct {
		Files []struct {
			Filename string
			URL      string
			Hashes   map[string]string
		}
	}
	if err := json.Unmarshal(data, &page); err != nil {
		return nil, errors.New("it is not a page of a package index (PEP 691)")
	}
	out := map[string]remoteFile{}
	for _, f := range page.Files {
		at, err := base.Parse(f.URL)
		if err != nil {
			continue
		}
		out[f.Filename] = remoteFile{at, strings.ToLower(f.Hashes["sha256"])}
	}
	return out, nil
}

// parseHTML reads the links of a page (PEP 503).
func parseHTML(text string, base *url.URL) (map[string]remoteFile, error) {
	out := map[string]remoteFile{}
	t := html.NewTokenizer(strings.NewReader(text))
	for {
		switch t.Next() {
		case html.ErrorToken:
			if !strings.Contains(strings.ToLower(text), "<html") && len(out) == 0 && strings.TrimSpace(text) != "" && !strings.Contains(text, "<") {
				return nil, errors.New("it is not a page of a package index (PEP 503)")
			}
			return out, nil
		case html.StartTagToken:
			token := t.Token()
			if token.Data != "a" {
				continue
			}
			for _, a := range token.Attr {
				if a.Key != "href" {
					continue
				}
				at, err := base.Parse(a.Val)
				if err != nil {
					continue
				}
				sum, _ := strings.CutPrefix(at.Fragment, "sha256=")
				if sum == at.Fragment {
					sum = ""
				}
				at.Fragment = ""
				out[path.Base(at.Path)] = remoteFile{at, strings.ToLower(sum)}
			}
		}
	}
}

// sumOf returns the SHA-256 of a file of the index. If the page does not give it, the file
// is downloaded, up to one byte more than the size to compare with.
func (x *Index) sumOf(ctx context.Context, f remoteFile, size int64) (string, error) {
	if len(f.sum) == 2*sha256.Size {
		return f.sum, nil
	}
	var h hash.Hash
	err := x.retry().Do(ctx, func() (bool, error) {
		resp, err := x.get(ctx, f.at, "*/*")
		if err != nil {
			return false, err
		}
		defer func() { _ = resp.Body.Close() }()
		if resp.StatusCode != http.StatusOK {
			return false, httpc.NewStatusError(resp)
		}
		h = sha256.New()
		if _, err := io.Copy(h, io.LimitReader(resp.Body, size+1)); err != nil {
			return false, fmt.Errorf("the answer ended early: %w", httpc.Plain(err))
		}
		return true, nil
	})
	if err != nil {
		return "", err
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}

// get sends a request. Credentials go only to the host of the index, or to one that netrc
// has others for.
func (x *Index) get(ctx context.Context, at *url.URL, accept string) (*http.Response, error) {
	if err := x.allowed(at); err != nil {
		return nil, httpc.Final(err)
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, at.String(), nil)
	if err != nil {
		return nil, httpc.Final(errors.New("the index sends an invalid address"))
	}
	req.Header.Set("Accept", accept)
	req.Header.Set("User-Agent", agent)
	req.Header.Set("Cache-Control", "no-cache")
	l := x.login
	if !sameHost(at, x.upload) {
		if l, err = hostLogin(&x.o, at.Hostname()); err != nil {
			return nil, httpc.Final(err)
		}
	}
	if l.some() {
		req.SetBasicAuth(l.user, l.password)
	}
	resp, err := x.client.Do(req)
	if err != nil {
		err = httpc.Plain(err)
		if httpc.RefusedForGood(err) {
			err = httpc.Final(err)
		}
		return nil, err
	}
	return resp, nil
}

// sameHost reports whether two addresses have the same scheme, host and port.
func sameHost(a, b *url.URL) bool { return a.Scheme == b.Scheme && a.Host == b.Host }
