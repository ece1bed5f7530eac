package ociref

import (
	"encoding/json"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/registry"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/remote"

	"modwsgi/internal/fault"
	"modwsgi/internal/httpc"
	"modwsgi/packaging/publish"
	"modwsgi/packaging/publish/publishtest"
	"modwsgi/packaging/sign"
)

// server is a registry in memory that records the requests which change it.
type server struct {
	host   string
	mu     sync.Mutex
	writes []string
	fail   func(r *http.Request) bool
}

func serve(t *testing.T, api bool) *server {
	t.Helper()
	s := &server{}
	inner := registry.New(registry.WithReferrersSupport(api), registry.Logger(log.New(io.Discard, "", 0)))
	h := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.mu.Lock()
		if r.Method == http.MethodPut {
			s.writes = append(s.writes, r.URL.Path)
		}
		fail := s.fail != nil && s.fail(r)
		s.mu.Unlock()
		if fail {
			w.WriteHeader(http.StatusForbidden)
			return
		}
		inner.ServeHTTP(w, r)
	}))
	t.Cleanup(h.Close)
	s.host = strings.TrimPrefix(h.URL, "http://")
	return s
}

func (s *server) count() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.writes)
}

func carryOut(t *testing.T, dir string, o Options, dry bool) (*publish.Plan, error) {
	t.Helper()
	set, err := publish.Open(dir, sign.VerifyKeys{}, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer set.Close()
	o.Pace, o.Delay = httpc.Limits{Window: 5 * time.Second, Total: time.Minute}, time.Millisecond
	d, err := New(set, o)
	if err != nil {
		return nil, err
	}
	plans, err := publish.Run(t.Context(), []publish.Destination{d}, publish.Options{
		Dry: dry, Step: func(_ string, do func() error) error { return do() }, Done: func(publish.Change) {},
	})
	if err != nil {
		return nil, err
	}
	return plans[0], nil
}

// referrers are the attachments of a tag, by their titles. (The registry of these tests
// does not list the types of artifacts.)
func referrers(t *testing.T, reference string) (top v1.Hash, all map[string]v1.Descriptor) {
	t.Helper()
	ref, err := name.ParseReference(reference)
	if err != nil {
		t.Fatal(err)
	}
	d, err := remote.Head(ref)
	if err != nil {
		t.Fatal(err)
	}
	index, err := remote.Referrers(ref.Context().Digest(d.Digest.String()))
	if err != nil {
		t.Fatal(err)
	}
	m, err := index.IndexManifest()
	if err != nil {
		t.Fatal(err)
	}
	all = map[string]v1.Descriptor{}
	for _, d := range m.Manifests {
		all[d.Annotations["org.opencontainers.image.title"]] = d
	}
	return d.Digest, all
}

func TestPublish(t *testing.T) {
	for name, c := range map[string]struct {
		api  bool
		cpus []string
	}{
		"referrers API":        {true, []string{"amd64"}},
		"fallback tag":         {false, []string{"amd64"}},
		"index, API":           {true, []string{"amd64", "arm64"}},
		"index, fallback tags": {false, []string{"amd64", "arm64"}},
	} {
		t.Run(name, func(t *testing.T) {
			s, dir := serve(t, c.api), publishtest.Dist(t, nil, publishtest.Image(t, "one", c.cpus...))
			o := Options{Reference: s.host + "/shop/web:1.0"}
			p, err := carryOut(t, dir, o, true)
			if err != nil || !p.Pending() || s.count() != 0 {
				t.Fatalf("dry run: %+v, %v, %d writes", p, err, s.count())
			}
			if _, err := carryOut(t, dir, o, false); err != nil {
				t.Fatal(err)
			}
			if last := s.writes[len(s.writes)-1]; last != "/v2/shop/web/manifests/1.0" {
				t.Errorf("the last write is %s", last)
			}
			top, all := referrers(t, o.Reference)
			if len(all) != 2 || all["web-1.0.oci.tar.cdx.json"].Size == 0 {
				t.Fatalf("%+v", all)
			}
			checkStatement(t, s.host+"/shop/web", top, all["web-1.0.oci.tar.intoto.json"].Digest)
			count := s.count()
			if p, err = carryOut(t, dir, o, false); err != nil || p.Pending() || s.count() != count {
				t.Errorf("again: %+v, %v, %d writes", p, err, s.count()-count)
			}
			moved(t, s, o, c.cpus)
		})
	}
}

// checkStatement compares the attached provenance with the image.
func checkStatement(t *testing.T, repository string, top, at v1.Hash) {
	t.Helper()
	repo, err := name.NewRepository(repository)
	if err != nil {
		t.Fatal(err)
	}
	img, err := remote.Image(repo.Digest(at.String()))
	if err != nil {
		t.Fatal(err)
	}
	m, err := img.Manifest()
	if err != nil {
		t.Fatal(err)
	}
	if m.Subject == nil || m.Subject.Digest != top || m.ArtifactType != "application/vnd.in-toto+json" || m.Config.MediaType != "application/vnd.oci.empty.v1+json" {
		t.Errorf("the attachment is %+v", m)
	}
	layer, err := remote.Layer(repo.Digest(m.Layers[0].Digest.String()))
	if err != nil {
		t.Fatal(err)
	}
	r, err := layer.Compressed()
	if err != nil {
		t.Fatal(err)
	}
	var s struct {
		Subject []struct {
			Name   string
			Digest map[string]string
		}
		Predicate map[string]any
	}
	if err := json.NewDecoder(r).Decode(&s); err != nil {
		t.Fatal(err)
	}
	if len(s.Subject) != 2 || s.Subject[0].Digest["sha256"] != top.Hex || s.Subject[0].Name != repository || s.Subject[1].Name != "web-1.0.oci.tar" || len(s.Predicate) == 0 {
		t.Errorf("the statement is about %+v", s.Subject)
	}
}

// moved checks that a tag is only moved on request.
func moved(t *testing.T, s *server, o Options, cpus []string) {
	other, before := publishtest.Dist(t, nil, publishtest.Image(t, "two", cpus...)), s.count()
	_, err := carryOut(t, other, o, false)
	if fault.ClassOf(err) != fault.Usage || !strings.Contains(err.Error(), "--oci-move-tag") || s.count() != before {
		t.Fatalf("%v, %d writes", err, s.count()-before)
	}
	o.Move = true
	if _, err := carryOut(t, other, o, false); err != nil {
		t.Fatal(err)
	}
	if _, all := referrers(t, o.Reference); len(all) != 2 {
		t.Errorf("%+v", all)
	}
}

// TestInterrupted: each write fails once; the tag is never set before everything else
// is there, and the same command completes.
func TestInterrupted(t *testing.T) {
	dir := publishtest.Dist(t, nil, publishtest.Image(t, "one", "amd64", "arm64"))
	for _, api := range []bool{true, false} {
		for at := 0; ; at++ {
			s := serve(t, api)
			n := 0
			s.fail = func(r *http.Request) bool {
				if r.Method == http.MethodPut {
					n++
				}
				return r.Method == http.MethodPut && n == at+1
			}
			o := Options{Reference: s.host + "/shop/web:1.0"}
			_, err := carryOut(t, dir, o, false)
			if err == nil {
				if at < 5 {
					t.Errorf("only %d writes", at)
				}
				break
			}
			if fault.ClassOf(err) != fault.Source || slices.Contains(s.writes[:len(s.writes)-1], "/v2/shop/web/manifests/1.0") {
				t.Errorf("write %d: %v, %q", at, err, s.writes)
			}
			s.fail = nil
			if _, err := carryOut(t, dir, o, false); err != nil {
				t.Errorf("again after %d: %v", at, err)
			}
			if _, all := referrers(t, o.Reference); len(all) != 2 {
				t.Errorf("after %d: %+v", at, all)
			}
		}
	}
}

func TestReferences(t *testing.T) {
	dir := publishtest.Dist(t, nil, publishtest.Image(t, "one", "amd64"))
	for _, reference := range []string{"web:1.0", "shop/web:1.0", "registry.example.org/shop/web", "registry.example.org/web@sha256:" + strings.Repeat("a", 64), "registry.example.org/Web:1.0", "https://me:s3cret@registry.example.org/web:1"} {
		_, err := carryOut(t, dir, Options{Reference: reference}, true)
		if fault.ClassOf(err) != fault.Usage || strings.Contains(err.Error(), "s3cret") {
			t.Errorf("%s: %v", reference, err)
		}
	}
}

func TestSignedEnvelopesStay(t *testing.T) {
	h := v1.Hash{Algorithm: "sha256", Hex: strings.Repeat("a", 64)}
	for _, text := range []string{`{"payloadType":"application/vnd.in-toto+json","payload":"e30=","signatures":[]}`, `{"bomFormat":"CycloneDX"}`, "text"} {
		if got, err := about([]byte(text), "r", h); err != nil || string(got) != text {
			t.Errorf("%s became %s, %v", text, got, err)
		}
	}
}
