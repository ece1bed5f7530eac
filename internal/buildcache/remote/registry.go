package remote

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/url"
	"strings"
	"time"

	"modwsgi/internal/httpc"
	"modwsgi/internal/registry"
)

// repository is a store in a registry.
type repository struct{ *registry.Repository }

// openRepository parses HOST/PATH. Whatever is trusted is signed, so a registry may hold
// anything. Its answers are limited in size and time.
func openRepository(address string, o Options) (*repository, error) {
	login := registry.Login{User: "MODWSGI_CACHE_USERNAME", Password: "MODWSGI_CACHE_PASSWORD"} // #nosec G101 -- names of variables
	client, err := registry.New(registry.Options{
		Env: o.Env, Runner: o.Runner, Login: login,
		Limits: httpc.Limits{Rate: o.Rate, Window: o.Stall, Idle: o.Stall, Total: o.Total},
		// A little less than Idle, whose error does not report that the answer is missing.
		HeaderTimeout: o.Stall - o.Stall/10, TLS: o.tls,
		Allowed: func(u *url.URL) error {
			if u.Scheme == "https" || u.Scheme == "http" && (o.HTTP || local(u.Host)) {
				return nil
			}
			return fmt.Errorf("it leads to %s://%s, which is not https", u.Scheme, u.Host)
		},
		Retry: httpc.Retry{Again: 7, Delay: 150 * time.Millisecond, Max: 3 * time.Second},
	})
	if err != nil {
		return nil, err
	}
	host, _, _ := strings.Cut(address, "/")
	r, err := client.Repository(address, o.HTTP || local(host))
	return &repository{r}, err
}

// local reports whether HOST:PORT is this machine.
func local(hostport string) bool {
	host := hostport
	if h, _, err := net.SplitHostPort(hostport); err == nil {
		host = h
	}
	return httpc.Loopback(strings.Trim(host, "[]"))
}

func (r *repository) manifest(ctx context.Context, tag string) ([]byte, error) {
	data, more, err := r.Manifest(ctx, tag, manifestType, maxManifest)
	if more {
		return nil, &Refused{tag, fmt.Sprintf("its manifest has more than %d bytes", maxManifest)}
	}
	return data, err
}

func (r *repository) blob(ctx context.Context, d descriptor, w io.Writer) error {
	body, err := r.Blob(ctx, d.Digest)
	if err != nil {
		return err
	}
	defer func() { _ = body.Close() }()
	return copyVerified(w, body, d)
}

func (r *repository) putBlob(ctx context.Context, d descriptor, open func() (io.ReadCloser, error)) error {
	return r.PutBlob(ctx, d.Digest, d.Size, open)
}

func (r *repository) putManifest(ctx context.Context, tag string, data []byte) error {
	return r.PutManifest(ctx, tag, manifestType, data)
}
