// Package pyindex uploads wheels and source distributions to a package index: PyPI, or
// any server with its upload API (https://docs.pypi.org/api/upload/), as twine does.
//
// An index has no transactions, so the order of the uploads keeps it usable: what others
// require comes first, and wheels before the source distribution that an installer would
// build otherwise. What the index has is read from its simple API (PEP 503, 691) before
// the first upload. A file of the same name with other contents there is a conflict: an
// index never replaces a file.
//
// Credentials go only to the host of the index, over TLS, and never to where it redirects
// to. They are never part of an error.
package pyindex

import (
	"cmp"
	"context"
	"crypto/md5" // #nosec G501 -- old servers compare it; nothing here trusts it
	"crypto/tls"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"golang.org/x/crypto/blake2b"

	"modwsgi/internal/fault"
	"modwsgi/internal/httpc"
	"modwsgi/internal/pydist"
	"modwsgi/packaging"
	"modwsgi/packaging/publish"
)

// Option is the command line option of this destination.
const Option = "--index-url"

const agent = "modwsgi"

// Options describe the destination.
type Options struct {
	URL       string // of the upload API
	CheckURL  string // of the simple API; "" derives it from URL
	TokenFile string // absolute; "" for none
	Env       []string
	Pace      httpc.Limits
	TLS       *tls.Config   // nil trusts the system's authorities
	Insecure  bool          // allow plain http to other machines
	Delay     time.Duration // before the first retry; 0 is a second
}

// dist is a file to upload.
type dist struct {
	artifact packaging.Artifact
	project  string // normalized
	requires []string
	form     [][2]string
	state    publish.State
	reason   string
}

// Index implements [publish.Destination].
type Index struct {
	o              Options
	set            *publish.Set
	upload, check  *url.URL
	login          login
	client, sender *http.Client // the former follows redirects
	dists          []*dist
	projects       map[string]map[string]remoteFile // what the index has
}

// New returns the destination. Its errors are of class Usage.
func New(set *publish.Set, o Options) (*Index, error) {
	x := &Index{o: o, set: set}
	var err error
	if x.upload, err = x.address(Option, o.URL); err != nil {
		return nil, err
	}
	check := o.CheckURL
	if check == "" {
		check = simpleOf(x.upload).String()
	}
	if x.check, err = x.address("--index-check-url", check); err != nil {
		return nil, err
	}
	chosen, err := set.Of(Option, "wheel", "sdist")
	if err != nil {
		return nil, err
	}
	if x.login, err = findLogin(&x.o, x.upload); err != nil {
		return nil, err
	}
	base, err := httpc.NewTransport(httpc.Options{Env: o.Env, ConnectTimeout: 30 * time.Second, TLS: o.TLS})
	if err != nil {
		return nil, err
	}
	limits := o.Pace
	limits.Idle = cmp.Or(limits.Idle, 4*limits.Window) // an index reads the whole file before it answers
	x.client = httpc.NewClient(limits.Transport(base), x.allowed)
	follow := x.client.CheckRedirect
	x.client.CheckRedirect = func(r *http.Request, via []*http.Request) error {
		if !sameHost(r.URL, via[0].URL) {
			r.Header.Del("Authorization")
		}
		return follow(r, via)
	}
	x.sender = &http.Client{Transport: x.client.Transport, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	for _, a := range chosen {
		x.dists = append(x.dists, &dist{artifact: a, project: pydist.NormalName(a.Project)})
	}
	return x, nil
}

// Close implements [publish.Destination].
func (x *Index) Close() {}

// address reads an address of the index.
func (x *Index) address(option, text string) (*url.URL, error) {
	u, err := url.Parse(text)
	switch {
	case err != nil || u.Host == "" || u.Scheme != "https" && u.Scheme != "http":
		return nil, fault.New(fault.Usage, "write an address as in https://upload.pypi.org/legacy/", "%s %q is not an address", option, httpc.RedactText(text))
	case u.User != nil:
		return nil, fault.New(fault.Usage, "set "+TokenVariable+", or pass --index-token-file: other users see a command line", "%s contains credentials", option)
	case u.RawQuery != "" || u.Fragment != "":
		return nil, fault.New(fault.Usage, "leave out what follows ? and #", "%s %q is not the address of an index", option, httpc.RedactText(text))
	}
	if err := x.allowed(u); err != nil {
		return nil, fault.New(fault.Usage, "use https, or pass --insecure", "%s %q: %w", option, httpc.RedactText(text), err)
	}
	return u, nil
}

// allowed refuses addresses to which nothing may be sent: plain http to another machine.
func (x *Index) allowed(u *url.URL) error {
	if u.Scheme == "https" || u.Scheme == "http" && (x.o.Insecure || loopback(u.Hostname())) {
		return nil
	}
	return &httpc.RedirectError{Text: "not over an encrypted connection: " + httpc.Redact(u)}
}

func loopback(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}

// simpleOf derives the address of the simple API from that of the upload API. PyPI has
// its files on another host; other servers have both next to each other.
func simpleOf(upload *url.URL) *url.URL {
	out := *upload
	if out.Host == "upload.pypi.org" {
		out.Host = "pypi.org"
	}
	parts := strings.Split(strings.Trim(out.Path, "/"), "/")
	if last := parts[len(parts)-1]; last == "legacy" || last == "upload" {
		parts = parts[:len(parts)-1]
	}
	out.Path = strings.ReplaceAll("/"+strings.Join(append(parts, "simple"), "/")+"/", "//", "/")
	return &out
}

func (x *Index) retry() httpc.Retry {
	return httpc.Retry{Again: 3, Delay: cmp.Or(x.o.Delay, time.Second), Max: time.Minute}
}

// Address implements [publish.Destination].
func (x *Index) Address() string { return httpc.Redact(x.upload) }

// Plan implements [publish.Destination].
func (x *Index) Plan(ctx context.Context) (*publish.Plan, error) {
	p := &publish.Plan{Kind: "index", Address: x.Address()}
	for _, d := range x.dists {
		if err := x.describe(d); err != nil {
			return nil, err
		}
	}
	x.sort()
	x.projects = map[string]map[string]remoteFile{}
	found := false
	for _, d := range x.dists {
		if _, asked := x.projects[d.project]; asked {
			continue
		}
		files, err := x.project(ctx, d.project)
		if err != nil && !errors.Is(err, errNoProject) {
			return nil, x.problem("ask "+httpc.Redact(x.check)+" for "+d.project, err)
		}
		x.projects[d.project] = files
		found = found || err == nil
	}
	if !found {
		if err := x.checkRoot(ctx); err != nil {
			return nil, err
		}
	}
	for _, d := range x.dists {
		var err error
		if d.state, d.reason, err = x.compare(ctx, d, x.projects[d.project]); err != nil {
			return nil, x.problem("compare "+d.artifact.Name+" with "+httpc.Redact(x.check), err)
		}
		p.Changes = append(p.Changes, publish.Change{
			Name: d.artifact.Name, State: d.state, Where: httpc.Redact(x.upload), Size: d.artifact.Size, SHA256: d.artifact.SHA256, Reason: d.reason,
		})
	}
	return p, nil
}

// checkRoot asks for the list of projects. An index with none of the projects cannot be
// distinguished from a wrong address otherwise, and every file would look new.
func (x *Index) checkRoot(ctx context.Context) error {
	err := x.retry().Do(ctx, func() (bool, error) {
		resp, err := x.get(ctx, x.check, accepted)
		if err != nil {
			return false, err
		}
		_ = resp.Body.Close() // of PyPI, it has 40 MB
		if resp.StatusCode == http.StatusOK {
			return true, nil
		}
		return false, httpc.NewStatusError(resp)
	})
	var status *httpc.StatusError
	if errors.As(err, &status) && status.Status == http.StatusNotFound {
		return fault.New(fault.Usage, "name the address that pip would use as --index-url with --index-check-url, so that existing files are found before anything is uploaded",
			"%s is not a package index: %w", httpc.Redact(x.check), err)
	}
	if err != nil {
		return x.problem("ask "+httpc.Redact(x.check), err)
	}
	return nil
}

// look asks the index again about one file.
func (x *Index) look(ctx context.Context, d *dist) (publish.State, string, error) {
	files, err := x.project(ctx, d.project)
	if err != nil && !errors.Is(err, errNoProject) {
		return "", "", err
	}
	return x.compare(ctx, d, files)
}

func (x *Index) compare(ctx context.Context, d *dist, files map[string]remoteFile) (publish.State, string, error) {
	if why := x.foreign(d); why != "" {
		return publish.Conflict, why, nil
	}
	there, ok := files[d.artifact.Name]
	if !ok {
		return publish.Add, "", nil
	}
	sum, err := x.sumOf(ctx, there, d.artifact.Size)
	switch {
	case err != nil:
		return "", "", err
	case sum != d.artifact.SHA256:
		return publish.Conflict, "the index has another file of that name", nil
	}
	return publish.Present, "", nil
}

// foreign is why PyPI refuses a file, which it would only report after other files were
// uploaded.
func (x *Index) foreign(d *dist) string {
	if !slices.Contains([]string{"upload.pypi.org", "test.pypi.org"}, x.upload.Host) {
		return ""
	}
	switch {
	case strings.Contains(d.artifact.Version, "+"):
		return "PyPI accepts no local version (+LABEL)"
	case d.artifact.Kind == "wheel" && strings.Contains(d.artifact.Name, "-linux_"):
		return "PyPI accepts no wheel for one machine (linux_…); see --allow-foreign"
	}
	return ""
}

// describe reads the metadata of a file, and makes its upload form.
func (x *Index) describe(d *dist) error {
	unusable := func(err error) error {
		return fault.New(fault.Verify, "make it again with modwsgi package", "read %s: %w", d.artifact.Name, err)
	}
	f, err := x.set.Open(d.artifact.Name)
	if err != nil {
		return err
	}
	defer func() { _ = f.Close() }()
	var m *metadata
	kind, python := "sdist", "source"
	if d.artifact.Kind == "wheel" {
		kind, python = "bdist_wheel", pythonTag(d.artifact.Name)
		m, err = wheelMetadata(f, f.Size)
	} else {
		m, err = sdistMetadata(f)
	}
	if err != nil {
		return unusable(err)
	}
	if pydist.NormalName(m.get("Name")) != d.project {
		return unusable(fmt.Errorf("its metadata is about %q", m.get("Name")))
	}
	for _, r := range m.fields["requires-dist"] {
		d.requires = append(d.requires, pydist.NormalName(r[:len(r)-len(strings.TrimLeft(r, nameChars))]))
	}
	md := md5.New() // #nosec G401 -- as above
	blake, err := blake2b.New256(nil)
	if err != nil {
		return err
	}
	if _, err := io.Copy(io.MultiWriter(md, blake), f.Checked()); err != nil {
		return err
	}
	d.form = append([][2]string{{":action", "file_upload"}, {"protocol_version", "1"}, {"filetype", kind}, {"pyversion", python}}, m.form()...)
	d.form = append(d.form, [2]string{"sha256_digest", d.artifact.SHA256},
		[2]string{"blake2_256_digest", hex.EncodeToString(blake.Sum(nil))}, [2]string{"md5_digest", hex.EncodeToString(md.Sum(nil))})
	return nil
}

// nameChars are the characters of a project's name.
const nameChars = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-"

// pythonTag is the tag of the Pythons in a wheel's name: cp311, py3.
func pythonTag(name string) string {
	parts := strings.Split(strings.TrimSuffix(name, ".whl"), "-")
	return parts[max(0, len(parts)-3)]
}

// sort puts what others require first, and wheels before source distributions.
func (x *Index) sort() {
	depth := map[string]int{}
	for range x.dists { // the longest chain has as many projects
		for _, d := range x.dists {
			for _, r := range d.requires {
				for _, other := range x.dists {
					if other.project == r && r != d.project && depth[d.project] <= depth[r] && depth[r] < len(x.dists) {
						depth[d.project] = depth[r] + 1
					}
				}
			}
		}
	}
	slices.SortStableFunc(x.dists, func(a, b *dist) int {
		return cmp.Or(cmp.Compare(depth[a.project], depth[b.project]), strings.Compare(a.project, b.project),
			-strings.Compare(a.artifact.Kind, b.artifact.Kind), strings.Compare(a.artifact.Name, b.artifact.Name))
	})
}

// Publish implements [publish.Destination].
func (x *Index) Publish(ctx context.Context, done func(publish.Change)) error {
	for _, d := range x.dists {
		if d.state != publish.Add {
			continue
		}
		if err := x.put(ctx, d); err != nil {
			return err
		}
		done(publish.Change{Name: d.artifact.Name, State: publish.Add, Where: httpc.Redact(x.upload), Size: d.artifact.Size, SHA256: d.artifact.SHA256})
	}
	return nil
}
