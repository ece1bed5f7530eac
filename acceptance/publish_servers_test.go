//go:build acceptance && linux

package acceptance

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/v1/remote"

	"modwsgi/packaging/publish/publishtest"
)

// TestPublishIndex uploads real wheels to an index with PyPI's upload API. twine uploads
// the same wheels: both send the same form. pip installs the result.
func TestPublishIndex(t *testing.T) {
	dir := workdir(t, "index")
	dist := filepath.Join(dir, "dist")
	must(t, dir, bareEnv(), packageArgs(t, "--python", systemPython, "--out", dist)...)
	x := publishtest.NewIndex(t)
	env := bareEnv("MODWSGI_INDEX_TOKEN=" + x.Password)
	args := publishArgs(t, dist, "-v", "-x", "--index-url", x.URL+"legacy/")
	outputs := ""
	run := func(more ...string) result {
		r := must(t, dir, env, append(slices.Clone(args), more...)...)
		outputs += r.stdout + r.stderr
		return r
	}
	if r := run("--dry-run"); len(x.Order()) > 0 || !strings.Contains(r.stdout, "would be published") {
		t.Errorf("dry run: %v", r)
	}
	run()
	order := x.Order()
	if len(order) != 2 || !strings.HasPrefix(order[0], "mod_wsgi_httpd-") {
		t.Fatalf("order: %q", order)
	}
	ours := map[string]publishtest.Upload{}
	for _, name := range order {
		ours[name], _ = x.Get(name)
	}
	if r := run("--json"); !strings.Contains(r.stdout, `"state":"present"`) || len(x.Order()) != 2 {
		t.Errorf("again: %v", r)
	}
	if strings.Contains(outputs, x.Password) {
		t.Error("the token is in the output")
	}
	pip := filepath.Join(dir, "env/bin/pip")
	must(t, dir, bareEnv(), systemPython, "-m", "venv", filepath.Join(dir, "env"))
	must(t, dir, bareEnv(), pip, "install", "-q", "--disable-pip-version-check", "--index-url", x.URL+"simple/", "mod_wsgi")
	must(t, dir, bareEnv(), filepath.Join(dir, "env/bin/mod_wsgi-express"), "--help")
	likeTwine(t, x, dist, ours)
}

// likeTwine compares the forms with those of twine.
func likeTwine(t *testing.T, x *publishtest.Index, dist string, ours map[string]publishtest.Upload) {
	if _, err := exec.LookPath("/usr/bin/twine"); err != nil {
		t.Skip("SKIPPED: twine is not installed (Debian: apt-get install twine)")
	}
	x.Remove()
	argv := []string{"/usr/bin/twine", "upload", "--non-interactive", "--disable-progress-bar", "--repository-url", x.URL + "legacy/", "-u", x.User, "-p", x.Password}
	for name := range ours {
		argv = append(argv, filepath.Join(dist, name))
	}
	must(t, dist, bareEnv(), argv...)
	for name, mine := range ours {
		theirs, ok := x.Get(name)
		if !ok {
			t.Fatalf("twine did not upload %s", name)
		}
		for field, want := range theirs.Fields {
			got := mine.Fields[field]
			if field == "name" { // twine 4 sends a normalized name
				want, got = []string{strings.ReplaceAll(want[0], "-", "_")}, []string{strings.ReplaceAll(got[0], "-", "_")}
			}
			if field == "description" {
				want, got = []string{strings.TrimSpace(want[0])}, []string{strings.TrimSpace(got[0])}
			}
			if !slices.Equal(got, want) && strings.Join(want, "") != "" && want[0] != "None" {
				t.Errorf("%s: %s is %q, twine sends %q", name, field, got, want)
			}
		}
		for field := range mine.Fields {
			if len(theirs.Fields[field]) == 0 {
				t.Errorf("%s: twine does not send %s", name, field)
			}
		}
	}
}

// TestPublishOCI pushes an image with its descriptions to the distribution's registry,
// which has no referrers API. skopeo reads the image and the list of referrers, oras
// (if it is installed) finds them.
func TestPublishOCI(t *testing.T) {
	r := startRegistry(t)
	dir := workdir(t, "oci")
	dist := publishtest.Dist(t, nil, publishtest.Image(t, "one", "amd64", "arm64"))
	env := bareEnv("DOCKER_CONFIG=" + r.docker)
	reference := r.address + "/shop/web:1.0"
	args := publishArgs(t, dist, "--oci", reference, "--ca", r.ca)
	if got := command(t, dir, bareEnv("DOCKER_CONFIG=/nonexistent", "HOME=/nonexistent"), args...); got.code != 4 || !strings.Contains(got.stderr, "docker login") {
		t.Errorf("without credentials: %v", got)
	}
	if got := must(t, dir, env, append(slices.Clone(args), "--dry-run")...); strings.Count(got.stdout, "would be") != 4 {
		t.Errorf("dry run: %v", got)
	}
	must(t, dir, env, args...)
	if got := must(t, dir, env, args...); !strings.Contains(got.stdout, "nothing to do") {
		t.Errorf("again: %v", got)
	}
	ref, err := name.ParseReference(reference)
	if err != nil {
		t.Fatal(err)
	}
	top, err := remote.Head(ref, r.options...)
	if err != nil {
		t.Fatal(err)
	}
	index, err := remote.Referrers(ref.Context().Digest(top.Digest.String()), r.options...)
	if err != nil {
		t.Fatal(err)
	}
	m, err := index.IndexManifest()
	if err != nil || len(m.Manifests) != 2 {
		t.Fatalf("%+v, %v", m, err)
	}
	skopeoReads(t, r, top.Digest.Hex)
	orasFinds(t, r, reference)
}

// skopeoReads reads the fallback tag and the bill of materials.
func skopeoReads(t *testing.T, r *registry, image string) {
	repository := "docker://" + r.address + "/shop/web"
	ran := onMachine(t, `
export DEBIAN_FRONTEND=noninteractive
if ! command -v skopeo >/dev/null; then
	apt-get update -qq || true
	apt-get install -y -qq --no-install-recommends skopeo >/dev/null || { echo UNAVAILABLE; exit 0; }
fi
mkdir -p /tmp/certs
cp `+r.ca+` /tmp/certs/ca.crt
inspect() { skopeo inspect --creds shop:s3cret --cert-dir /tmp/certs "$@"; }
inspect --override-arch arm64 --format '{{.Architecture}}' `+repository+`:1.0
inspect --raw `+repository+`:1.0 | sha256sum
inspect --raw `+repository+`:sha256-`+image+`
skopeo copy -q --src-creds shop:s3cret --src-cert-dir /tmp/certs `+repository+`:1.0 dir:/tmp/copy
inspect --raw `+repository+`:1.0 | grep -q "$(sha256sum </tmp/copy/manifest.json | cut -c-64)" && echo COPIED
`)
	if strings.Contains(ran.stdout, "UNAVAILABLE") {
		t.Skip("SKIPPED: skopeo is not installed, and apt-get does not provide it")
	}
	for _, want := range []string{"arm64\n", image + "  -", `"artifactType":"application/vnd.cyclonedx+json"`, `"artifactType":"application/vnd.in-toto+json"`, "COPIED"} {
		if !strings.Contains(ran.stdout, want) {
			t.Errorf("lacks %q: %v", want, ran)
		}
	}
	if ran.code != 0 {
		t.Error(ran)
	}
}

// orasFinds lists and downloads the attachments with oras, if it is installed.
func orasFinds(t *testing.T, r *registry, reference string) {
	oras, err := exec.LookPath("oras")
	if err != nil {
		t.Log("SKIPPED: oras is not installed")
		return
	}
	login := []string{"--ca-file", r.ca, "-u", "shop", "-p", "s3cret"}
	got := must(t, "/", bareEnv(), append([]string{oras, "discover", "--format", "json", reference}, login...)...)
	var found struct {
		Referrers []struct{ Reference, ArtifactType string }
	}
	if err := json.Unmarshal([]byte(got.stdout), &found); err != nil || len(found.Referrers) != 2 {
		t.Fatalf("%v: %v", err, got)
	}
	dir := t.TempDir()
	for _, f := range found.Referrers {
		must(t, dir, bareEnv(), append([]string{oras, "pull", f.Reference}, login...)...)
	}
	for _, name := range []string{"web-1.0.oci.tar.cdx.json", "web-1.0.oci.tar.intoto.json"} {
		if _, err := os.Stat(filepath.Join(dir, name)); err != nil {
			t.Error(err)
		}
	}
}

// TestPublishVerifiesFirst: nothing that differs from SHA256SUMS, or that the given keys
// did not sign, is sent anywhere.
func TestPublishVerifiesFirst(t *testing.T) {
	dir := workdir(t, "verify")
	private, public := publishtest.Key(t)
	_, other := publishtest.Key(t)
	x := publishtest.NewIndex(t)
	env := bareEnv("MODWSGI_INDEX_TOKEN=" + x.Password)
	dist := publishtest.Dist(t, nil, publishtest.Wheel(t, "a", "1.0", "", "x"))
	signed := publishtest.Dist(t, nil, publishtest.Wheel(t, "b", "1.0", "", "x"))
	sums, err := os.ReadFile(filepath.Join(signed, "SHA256SUMS"))
	if err != nil {
		t.Fatal(err)
	}
	signature, err := publishtest.Signer(t, private).Sign("SHA256SUMS", sums, publishtest.At)
	if err == nil {
		err = os.WriteFile(filepath.Join(signed, "SHA256SUMS.asc"), signature, 0o644)
	}
	if err != nil {
		t.Fatal(err)
	}
	to := []string{"--index-url", x.URL + "legacy/"}
	if r := command(t, dir, env, publishArgs(t, signed, append(to, "--verify-openpgp", other)...)...); r.code != 7 || !strings.Contains(r.stderr, "unknown key") {
		t.Errorf("another key: %v", r)
	}
	if r := command(t, dir, env, publishArgs(t, dist, append(to, "--verify-openpgp", public)...)...); r.code != 7 {
		t.Errorf("unsigned: %v", r)
	}
	must(t, dir, env, publishArgs(t, signed, append(to, "--verify-openpgp", public)...)...)
	file := filepath.Join(dist, "a-1.0-py3-none-any.whl")
	data, err := os.ReadFile(file)
	if err == nil {
		err = os.WriteFile(file, append(data, 'x'), 0o644)
	}
	if err != nil {
		t.Fatal(err)
	}
	if r := command(t, dir, env, publishArgs(t, dist, to...)...); r.code != 7 || !strings.Contains(r.stderr, "was changed") {
		t.Errorf("a changed wheel: %v", r)
	}
	sum := sha256.Sum256(data)
	if u, ok := x.Get("a-1.0-py3-none-any.whl"); ok {
		t.Errorf("uploaded %d bytes, verified was %s", len(u.Data), hex.EncodeToString(sum[:]))
	}
	for _, q := range x.Requests() {
		if strings.Contains(q, "/simple/a/") || strings.HasPrefix(q, http.MethodPost) && len(x.Order()) != 1 {
			t.Errorf("asked: %s", q)
		}
	}
}
