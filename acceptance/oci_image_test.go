//go:build acceptance

package acceptance

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"modwsgi/internal/freeport"
)

// imageApp reports its user and location, can be slow, and can be unhealthy.
const imageApp = `import json, os, sys, time
import shopping

def application(environ, start_response):
    path = environ["PATH_INFO"]
    if path == "/slow":
        open("/tmp/slow", "w").close()
        time.sleep(1.5)
    if path == "/sick":
        open("/tmp/sick", "w").close()
    if path == "/health" and os.path.exists("/tmp/sick"):
        start_response("503 Sick", [("Content-Type", "text/plain")])
        return [b"sick"]
    body = json.dumps({"prefix": sys.prefix, "base": sys.base_prefix, "uid": os.getuid(), "gid": os.getgid(), "cwd": os.getcwd(),
                       "path": path, "shop": os.environ.get("SHOP"), "shopping": shopping.where, "zlib": __import__("ssl").OPENSSL_VERSION}).encode()
    start_response("200 OK", [("Content-Type", "application/json"), ("Content-Length", str(len(body)))])
    return [body]
`

type imageAnswer struct {
	Prefix, Base, Cwd, Path, Shopping string
	UID, GID                          int
}

// imageWorld is an environment with a package, and an application.
type imageWorld struct {
	dir, env, app string
	source        []string // flags that select what to package
}

func newImageWorld(t *testing.T) *imageWorld {
	t.Helper()
	needContainers(t)
	w := &imageWorld{dir: workdir(t, "shop with blank")}
	w.app = filepath.Join(w.dir, "app")
	w.env = venv(t, setting(t, "MODWSGI_TEST_PYTHON"), filepath.Join(w.app, ".venv"), "--without-pip")
	for file, text := range map[string]string{
		"wsgi.py": imageApp, ".git/config": "secret", "__pycache__/wsgi.pyc": "x", "templates/page.html": "<p>",
	} {
		writeFile(t, filepath.Join(w.app, file), text, 0o644)
	}
	site := must(t, "/", bareEnv(), filepath.Join(w.env, "bin/python"), "-c", "import sysconfig; print(sysconfig.get_path('purelib'), end='')").stdout
	writeFile(t, filepath.Join(site, "shopping.py"), "where = __file__\n", 0o600)
	writeFile(t, filepath.Join(site, "shopping-1.0.dist-info/METADATA"), "Metadata-Version: 2.1\nName: shopping\nVersion: 1.0\n", 0o644)
	writeFile(t, filepath.Join(w.env, "bin/shop"), "#!"+filepath.Join(w.env, "bin/python")+"\nimport shopping, sys\nprint(shopping.where, sys.prefix)\n", 0o755)
	w.source = []string{"--python", w.env, "--lock-file", filepath.Join(w.dir, "modwsgi.lock")}
	return w
}

func writeFile(t *testing.T, name, text string, mode os.FileMode) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(name, []byte(text), mode); err != nil {
		t.Fatal(err)
	}
}

func (w *imageWorld) oci(t *testing.T, env []string, args ...string) result {
	t.Helper()
	return pack(t, w.dir, env, append(append([]string{"oci"}, w.source...), args...)...)
}

type imageResult struct {
	Digest, Pushed string
	Artifacts      []struct{ Name, SHA256 string }
}

// TestImageFromNothing makes an image without a base, pushes it to a real registry
// with TLS and a password, pulls it, and runs it as a container engine would.
func TestImageFromNothing(t *testing.T) {
	t.Parallel()
	w := newImageWorld(t)
	reg := startRegistry(t)
	ref := reg.address + "/shop/web:1.0"
	port := freeport.Get(t)
	args := []string{"--app", "app", "--port", fmt.Sprint(port), "--push", ref, "--label", "shop=1", "--env", "SHOP=open now"}
	login := bareEnv("DOCKER_CONFIG=" + reg.docker)
	for _, c := range []struct {
		env  []string
		args []string
		want string
		code int
	}{
		{login, args, "certificate", 4},
		{bareEnv("DOCKER_CONFIG=/nonexistent"), append(args, "--registry-ca", reg.ca), "docker login", 4},
		{login, append(slices.Clone(args), "--push", fmt.Sprintf("127.0.0.1:%d/a:1", freeport.Get(t))), "check that the registry is running", 4},
		{login, append(slices.Clone(args), "--push", reg.address+"/shop"), "names no tag", 2},
	} {
		r := w.oci(t, c.env, append(c.args, "--out", "failed")...)
		if r.code != c.code || !strings.Contains(r.stderr, c.want) || strings.Contains(r.stderr, "s3cret") || strings.Contains(r.stderr, "fetch ") {
			t.Errorf("want %q and no build: %v", c.want, r)
		}
		absent(t, filepath.Join(w.dir, "failed"))
	}
	began := time.Now()
	var made imageResult
	keys := ecdsaKeys(t, w.dir)
	lastJSON(t, w.oci(t, login, append(args, "--registry-ca", reg.ca, "--sign-ecdsa", keys+".pem", "--json")...), &made)
	t.Logf("made and pushed in %v", time.Since(began))
	img := reg.pull(t, "shop/web:1.0")
	digest, err := img.Digest()
	if err != nil || digest.String() != made.Digest || !strings.HasSuffix(made.Pushed, "@"+made.Digest) {
		t.Fatalf("pulled %s, made %+v (%v)", digest, made, err)
	}
	checkAttached(t, reg, digest)
	checkSigned(t, reg, digest, keys+".pub")
	checkAttested(t, reg, digest, keys)
	root := filepath.Join(w.dir, "root")
	unpack(t, img, root)
	checkRoot(t, root)
	k := runImage(t, img, root)
	k.serves(t)
	if body, err := get(k.port, "/a", k.ended); err != nil || !strings.Contains(string(body), `"shop": "open now"`) {
		t.Errorf("the environment that --env gives does not reach the application: %s (%v)", body, err)
	}
	if r := k.exec("/opt/mod_wsgi/bin/shop"); r.stdout != "/opt/mod_wsgi/lib/"+libName(t, root)+"/site-packages/shopping.py /opt/mod_wsgi\n" {
		t.Errorf("a program of the environment: %v", r)
	}
	if r := k.healthy(); r.code != 0 {
		t.Errorf("the health check of one that serves: %v", r)
	}
	k.drains(t)

	// Made again at another path, the image is the same.
	var again imageResult
	lastJSON(t, w.oci(t, bareEnv(), "--app", "app", "--port", fmt.Sprint(port), "--label", "shop=1", "--env", "SHOP=open now", "--tag", ref, "--json", "--out", "again"), &again)
	if again.Digest != made.Digest || again.Artifacts[0] != made.Artifacts[0] {
		t.Errorf("made again, it differs: %+v, %+v", again, made)
	}
	must(t, filepath.Join(w.dir, "dist"), bareEnv(), "sha256sum", "-c", "SHA256SUMS")
}

// ecdsaKeys makes a key pair with openssl, NAME.pem and NAME.pub.
func ecdsaKeys(t *testing.T, dir string) string {
	t.Helper()
	pair := filepath.Join(dir, "images")
	must(t, dir, bareEnv(), "openssl", "genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256", "-out", pair+".pem")
	must(t, dir, bareEnv(), "openssl", "pkey", "-in", pair+".pem", "-pubout", "-out", pair+".pub")
	return pair
}

// checkSigned does what cosign verify does with a key: it looks for the signatures
// under the image's digest, and openssl verifies the one it finds.
func checkSigned(t *testing.T, reg *registry, digest v1.Hash, public string) {
	t.Helper()
	img := reg.pull(t, "shop/web:sha256-"+digest.Hex+".sig")
	list, err := img.Manifest()
	if err != nil || len(list.Layers) != 1 || list.Layers[0].MediaType != "application/vnd.dev.cosign.simplesigning.v1+json" {
		t.Fatalf("signatures: %+v, %v", list, err)
	}
	layers, err := img.Layers()
	if err != nil {
		t.Fatal(err)
	}
	from, err := layers[0].Compressed()
	if err != nil {
		t.Fatal(err)
	}
	payload, err := io.ReadAll(from)
	if err != nil || !strings.Contains(string(payload), `"docker-manifest-digest":"`+digest.String()+`"`) || !strings.Contains(string(payload), `"docker-reference":"`+reg.address+`/shop/web"`) {
		t.Fatalf("the signed payload is %s (%v)", payload, err)
	}
	raw, err := base64.StdEncoding.DecodeString(list.Layers[0].Annotations["dev.cosignproject.cosign/signature"])
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	writeFile(t, filepath.Join(dir, "payload"), string(payload), 0o644)
	writeFile(t, filepath.Join(dir, "sig"), string(raw), 0o644)
	must(t, dir, bareEnv(), "openssl", "dgst", "-sha256", "-verify", public, "-signature", "sig", "payload")
}

// serves requests an answer and compares it.
func (k *container) serves(t *testing.T) {
	t.Helper()
	body, err := get(k.port, "/a", k.ended)
	if err != nil {
		t.Fatalf("no answer: %v\n%s", err, k.out)
	}
	var a imageAnswer
	if err := json.Unmarshal(body, &a); err != nil {
		t.Fatal(err)
	}
	if a.UID != 65532 || a.GID != 65532 || a.Cwd != "/app" || a.Prefix != "/opt/mod_wsgi" || a.Path != "/a" || !strings.HasPrefix(a.Shopping, "/opt/mod_wsgi/") {
		t.Errorf("got %+v", a)
	}
}

// drains stops the container during a request, which is answered before everything
// ends cleanly.
func (k *container) drains(t *testing.T) {
	t.Helper()
	done := make(chan error, 1)
	go func() {
		resp, err := http.Get(fmt.Sprintf("http://127.0.0.1:%d/slow", k.port))
		if err == nil {
			var body []byte
			body, err = io.ReadAll(resp.Body)
			_ = resp.Body.Close()
			if err == nil && !strings.Contains(string(body), `"/slow"`) {
				err = fmt.Errorf("%s: %s", resp.Status, body)
			}
		}
		done <- err
	}()
	eventually(t, "the request is under way", func() bool {
		_, err := os.Stat(fmt.Sprintf("/proc/%d/root/tmp/slow", k.first()))
		return err == nil
	})
	if code := k.stop(); code != 0 {
		t.Errorf("it ends with %d\n%s", code, k.out)
	}
	if err := <-done; err != nil {
		t.Errorf("the request that ran was not answered: %v\n%s", err, k.out)
	}
}

func libName(t *testing.T, root string) string {
	t.Helper()
	found, _ := filepath.Glob(filepath.Join(root, "opt/mod_wsgi/lib/python3*"))
	if len(found) != 1 {
		t.Fatalf("libraries: %v", found)
	}
	return filepath.Base(found[0])
}

// checkRoot checks the files of the image.
func checkRoot(t *testing.T, root string) {
	t.Helper()
	for _, there := range []string{
		"usr/share/licenses/mod_wsgi/httpd/LICENSE", "usr/share/licenses/mod_wsgi/cpython/LICENSE", "usr/share/licenses/mod_wsgi/modwsgi/LICENSE",
		"usr/share/doc/mod_wsgi/sbom.cdx.json", "app/templates/page.html", "etc/passwd",
	} {
		if _, err := os.Stat(filepath.Join(root, there)); err != nil {
			t.Error(err)
		}
	}
	for _, gone := range []string{"app/.venv", "app/.git", "app/__pycache__", "opt/mod_wsgi/bin/activate", "bin/sh", "etc/ssl", "opt/mod_wsgi/bin/mod_wsgi-apxs"} {
		absent(t, filepath.Join(root, gone))
	}
	for file, text := range map[string]string{"usr/share/doc/mod_wsgi/sbom.cdx.json": "pkg:pypi/shopping@1.0", "etc/passwd": "nonroot:x:65532:65532"} {
		if data, err := os.ReadFile(filepath.Join(root, file)); err != nil || !strings.Contains(string(data), text) {
			t.Errorf("%s lacks %q (%v)", file, text, err)
		}
	}
}

// checkAttached checks the image's attachments in the registry.
func checkAttached(t *testing.T, reg *registry, digest v1.Hash) {
	t.Helper()
	index, err := remote.Referrers(reg.ref(t, "shop/web@"+digest.String()).(name.Digest), reg.options...)
	if err != nil {
		t.Fatal(err)
	}
	list, err := index.IndexManifest()
	if err != nil || len(list.Manifests) != 2 {
		t.Fatalf("attached: %+v, %v", list, err)
	}
	for _, d := range list.Manifests {
		img := reg.pull(t, "shop/web@"+d.Digest.String())
		layers, err := img.Layers()
		if err != nil || len(layers) != 1 {
			t.Fatal(layers, err)
		}
		from, err := layers[0].Compressed()
		if err != nil {
			t.Fatal(err)
		}
		data, err := io.ReadAll(from)
		if err != nil || !strings.Contains(string(data), digest.Hex) {
			t.Errorf("%s does not name the image: %.200s (%v)", d.ArtifactType, data, err)
		}
		for _, part := range map[string][]string{
			"application/vnd.cyclonedx+json": {`"httpd"`, `"pcre2"`, `"mod_wsgi"`, `"cpython"`, "CycloneDX"},
			"application/vnd.in-toto+json":   {"https://slsa.dev/provenance/v1", `"apr"`, "resolvedDependencies"},
		}[d.ArtifactType] {
			if !strings.Contains(string(data), part) {
				t.Errorf("%s lacks %s", d.ArtifactType, part)
			}
		}
	}
}

// bottom makes a base from the layers of an image that are below ours: libraries and
// Python. With keep it uses only that many.
func bottom(t *testing.T, from string, keep int, arch string, more ...v1.Layer) v1.Image {
	t.Helper()
	index, err := layout.ImageIndexFromPath(from)
	if err != nil {
		t.Fatal(err)
	}
	list, err := index.IndexManifest()
	if err != nil {
		t.Fatal(err)
	}
	img, err := index.Image(list.Manifests[0].Digest)
	if err != nil {
		t.Fatal(err)
	}
	layers, err := img.Layers()
	if err != nil {
		t.Fatal(err)
	}
	base, err := mutate.AppendLayers(mutate.ConfigMediaType(mutate.MediaType(empty.Image, types.OCIManifestSchema1), types.OCIConfigJSON), append(slices.Clone(layers[:keep]), more...)...)
	if err != nil {
		t.Fatal(err)
	}
	cfg, err := base.ConfigFile()
	if err != nil {
		t.Fatal(err)
	}
	cfg = cfg.DeepCopy()
	cfg.OS, cfg.Architecture = "linux", arch
	cfg.Config = v1.Config{
		Cmd: []string{"/never"}, User: "root", Env: []string{"PATH=/opt/python/bin", "FROM_BASE=1", "LANG=C.UTF-8"},
		Labels: map[string]string{"base": "yes", "org.opencontainers.image.title": "base"},
	}
	if base, err = mutate.ConfigFile(base, cfg); err != nil {
		t.Fatal(err)
	}
	return base
}

// TestImageOnBase makes an image on a base from a layout and from a registry, with a
// health check that queries the application.
func TestImageOnBase(t *testing.T) {
	t.Parallel()
	w := newImageWorld(t)
	low := filepath.Join(w.dir, "low")
	lastJSON(t, w.oci(t, bareEnv(), "--no-packages", "--layout", low, "--out", "first", "--json"), &imageResult{})
	base := bottom(t, low, 2, "amd64")
	foreign := bottom(t, low, 2, "arm64")
	noPython := bottom(t, low, 1, "amd64")
	oldLibc := bottom(t, low, 2, "amd64", fakeLibc(t))
	layouts := map[string]string{}
	for name, images := range map[string][]v1.Image{"list": {foreign, base}, "foreign": {foreign}, "bare": {noPython}, "old": {oldLibc}, "nothing": {bottom(t, low, 0, "amd64")}} {
		index := v1.ImageIndex(empty.Index)
		for _, img := range images {
			cfg, err := img.ConfigFile()
			if err != nil {
				t.Fatal(err)
			}
			index = mutate.AppendManifests(index, mutate.IndexAddendum{Add: img, Descriptor: v1.Descriptor{Platform: cfg.Platform()}})
		}
		layouts[name] = filepath.Join(w.dir, "base-"+name)
		if _, err := layout.Write(layouts[name], index); err != nil {
			t.Fatal(err)
		}
	}
	for name, want := range map[string]string{
		"foreign": "is for linux/arm64, but the build is for linux/amd64", "bare": "has no Python", "old": "has glibc 2.17, but the build requires", "nothing": "lacks libc.so.6",
	} {
		r := w.oci(t, bareEnv(), "--app", "app", "--base", "oci-layout:"+layouts[name], "--out", "failed", "--layout", "failed-layout")
		if r.code != 2 || !strings.Contains(r.stderr, want) || !strings.Contains(r.stderr, "hint: ") {
			t.Errorf("%s: want %q: %v", name, want, r)
		}
		absent(t, filepath.Join(w.dir, "failed"))
		absent(t, filepath.Join(w.dir, "failed-layout"))
	}
	out := filepath.Join(w.dir, "out", "shop.tar")
	port := freeport.Get(t)
	r := w.oci(t, bareEnv(), "--app", "app", "--base", "oci-layout:"+layouts["list"], "--out", out, "--port", fmt.Sprint(port), "--health-path", "/health",
		"--media-types", "docker", "--tag", "shop/web:2", "--", "--threads", "3")
	if r.code != 0 {
		t.Fatal(r)
	}
	tag, err := name.NewTag("shop/web:2")
	if err != nil {
		t.Fatal(err)
	}
	img, err := tarball.ImageFromPath(out, &tag) // as docker load reads it
	if err != nil {
		t.Fatal(err)
	}
	cfg, err := img.ConfigFile()
	if err != nil {
		t.Fatal(err)
	}
	c := cfg.Config
	if !slices.Contains(c.Env, "FROM_BASE=1") || !slices.Contains(c.Env, "PATH=/opt/mod_wsgi/bin:/opt/python/bin") || c.User != "65532:65532" ||
		c.Labels["base"] != "yes" || !strings.HasPrefix(c.Labels["org.opencontainers.image.base.digest"], "sha256:") || !slices.Equal(c.Cmd, []string{"wsgi.py", "--threads", "3"}) {
		t.Errorf("configuration: %+v", c)
	}
	root := filepath.Join(w.dir, "root")
	unpack(t, img, root)
	k := runImage(t, img, root)
	k.serves(t)
	if r := k.healthy(); r.code != 0 {
		t.Errorf("the health check of a healthy application: %v", r)
	}
	if _, err := get(k.port, "/sick", k.ended); err != nil {
		t.Error(err)
	}
	if r := k.healthy(); r.code == 0 {
		t.Errorf("the health check of a sick application: %v", r)
	}
	k.drains(t)
}

// fakeLibc is a layer with a file that claims to be an old C library.
func fakeLibc(t *testing.T) v1.Layer {
	t.Helper()
	return tarLayer(t, map[string]string{"lib/x86_64-linux-gnu/libc.so.6": "\x7fELF\x00GLIBC_2.2.5\x00GLIBC_2.17\x00"})
}

// tarLayer is a layer of small files.
func tarLayer(t *testing.T, files map[string]string) v1.Layer {
	t.Helper()
	dir := t.TempDir()
	for name, text := range files {
		writeFile(t, filepath.Join(dir, name), text, 0o755)
	}
	file := filepath.Join(t.TempDir(), "layer.tar")
	must(t, "/", bareEnv(), "tar", "-C", dir, "-cf", file, ".")
	l, err := tarball.LayerFromFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// TestLayerForADockerfile unpacks the layer over the root directory of a base, as ADD
// does, and runs it.
func TestLayerForADockerfile(t *testing.T) {
	w := newImageWorld(t)
	low := filepath.Join(w.dir, "low")
	lastJSON(t, w.oci(t, bareEnv(), "--no-packages", "--layout", low, "--out", "first", "--json"), &imageResult{})
	base := bottom(t, low, 2, "amd64")
	root := filepath.Join(w.dir, "root")
	unpack(t, base, root)
	lib, _ := filepath.Glob(filepath.Join(root, "opt/python/bin/python3.*"))
	if len(lib) != 1 {
		t.Fatal(lib)
	}
	var made imageResult
	lastJSON(t, w.oci(t, bareEnv(), "--app", "app", "--layer-only", "--base-python", "/opt/python/bin/"+filepath.Base(lib[0]), "--json"), &made)
	must(t, root, bareEnv(), "tar", "-xpzf", filepath.Join(w.dir, "dist", made.Artifacts[0].Name), "--numeric-owner")
	cfg, err := base.ConfigFile()
	if err != nil {
		t.Fatal(err)
	}
	port := freeport.Get(t)
	cfg = cfg.DeepCopy()
	cfg.Config = v1.Config{
		Entrypoint: []string{"/opt/mod_wsgi/bin/mod_wsgi-express", "start-server", "--port", fmt.Sprint(port), "wsgi.py"}, WorkingDir: "/app", User: "65532:65532",
		ExposedPorts: map[string]struct{}{fmt.Sprintf("%d/tcp", port): {}}, StopSignal: "SIGTERM", Env: []string{"LANG=C.UTF-8"},
	}
	img, err := mutate.ConfigFile(base, cfg)
	if err != nil {
		t.Fatal(err)
	}
	k := runImage(t, img, root)
	k.serves(t)
	if code := k.stop(); code != 0 {
		t.Errorf("it ends with %d\n%s", code, k.out)
	}
}

// TestImageIndex makes an index of two stages. No machine with another CPU is
// available here. The second stage is the first with another CPU in the headers of its
// binaries, which shows that platforms come from the binaries and that each stage gets
// its part of the base, but not that it runs.
func TestImageIndex(t *testing.T) {
	t.Parallel()
	w := newImageWorld(t)
	low := filepath.Join(w.dir, "low")
	lastJSON(t, w.oci(t, bareEnv(), "--layout", low, "--out", "first", "--json"), &imageResult{})
	index, err := layout.ImageIndexFromPath(low)
	if err != nil {
		t.Fatal(err)
	}
	list, _ := index.IndexManifest()
	whole, err := index.Image(list.Manifests[0].Digest)
	if err != nil {
		t.Fatal(err)
	}
	root := filepath.Join(w.dir, "root")
	unpack(t, whole, root)
	stage, relabelled := filepath.Join(root, "opt/mod_wsgi"), filepath.Join(w.dir, "relabelled-arm64")
	must(t, "/", bareEnv(), "cp", "-a", stage, relabelled)
	relabel(t, relabelled)
	minor := libName(t, root)
	armBase := bottom(t, low, 0, "arm64", tarLayer(t, map[string]string{
		"lib/aarch64-linux-gnu/libc.so.6": "\x7fELF\x00GLIBC_2.17\x00GLIBC_2.41\x00", "usr/local/bin/" + minor: "", "usr/local/lib/" + minor + "/os.py": "",
		"usr/local/lib/lib" + minor + ".so.1.0": "",
	}))
	both := mutate.AppendManifests(empty.Index,
		mutate.IndexAddendum{Add: bottom(t, low, 2, "amd64"), Descriptor: v1.Descriptor{Platform: &v1.Platform{OS: "linux", Architecture: "amd64"}}},
		mutate.IndexAddendum{Add: armBase, Descriptor: v1.Descriptor{Platform: &v1.Platform{OS: "linux", Architecture: "arm64", Variant: "v8"}}})
	bases := filepath.Join(w.dir, "bases")
	if _, err := layout.Write(bases, both); err != nil {
		t.Fatal(err)
	}
	reg := startRegistry(t)
	args := []string{"oci", "--app", "app", "--base", "oci-layout:" + bases, "--push", reg.address + "/shop/multi:1", "--registry-ca", reg.ca, "--json"}
	login := bareEnv("DOCKER_CONFIG=" + reg.docker)
	var made imageResult
	lastJSON(t, pack(t, w.dir, login, append(args, "--stage", stage, "--stage", relabelled, "--out", "multi")...), &made)
	pulled, err := remote.Index(reg.ref(t, "shop/multi:1"), reg.options...)
	if err != nil {
		t.Fatal(err)
	}
	h, err := pulled.Digest()
	if err != nil || h.String() != made.Digest {
		t.Errorf("pulled %v, made %s (%v)", h, made.Digest, err)
	}
	manifest, err := pulled.IndexManifest()
	if err != nil {
		t.Fatal(err)
	}
	var platforms []string
	for _, m := range manifest.Manifests {
		platforms = append(platforms, m.Platform.String())
	}
	if !slices.Equal(platforms, []string{"linux/amd64", "linux/arm64/v8"}) {
		t.Errorf("got %q", platforms)
	}
	fresh := filepath.Join(w.dir, "fresh")
	img := reg.pull(t, "shop/multi:1")
	unpack(t, img, fresh)
	for _, c := range []struct {
		stages []string
		want   string
	}{{[]string{stage, stage}, "two stages are for linux/amd64"}, {[]string{w.app}, "has 0 modules of mod_wsgi"}, {[]string{mixed(t, w, stage)}, "is for aarch64"}} {
		argv := slices.Clone(args)
		for _, s := range c.stages {
			argv = append(argv, "--stage", s)
		}
		if r := pack(t, w.dir, login, append(argv, "--out", "failed")...); r.code == 0 || !strings.Contains(r.stderr, c.want) {
			t.Errorf("want %q: %v", c.want, r)
		}
		absent(t, filepath.Join(w.dir, "failed"))
	}
}

// mixed is a stage whose launcher is for another CPU than the rest.
func mixed(t *testing.T, w *imageWorld, stage string) string {
	t.Helper()
	dir := filepath.Join(w.dir, "mixed")
	must(t, "/", bareEnv(), "cp", "-a", stage, dir)
	relabel(t, filepath.Join(dir, "bin"))
	return dir
}

// relabel writes the number of ARM's 64-bit CPUs into the header of every ELF file
// (e_machine, at 18).
func relabel(t *testing.T, dir string) {
	t.Helper()
	n := 0
	err := filepath.WalkDir(dir, func(name string, d os.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		f, err := os.OpenFile(name, os.O_RDWR, 0)
		if err != nil {
			return err
		}
		var magic [4]byte
		if k, _ := f.ReadAt(magic[:], 0); k == 4 && string(magic[:]) == "\x7fELF" {
			n++
			_, err = f.WriteAt([]byte{183, 0}, 18)
		}
		return errors.Join(err, f.Close())
	})
	if err != nil || n == 0 {
		t.Fatalf("relabelled %d files: %v", n, err)
	}
}

// TestImageContent makes images of a copy of an environment with pip and setuptools,
// without naming a base: the Python is that of this machine. Neither they nor headers and
// test suites are in it unless asked for, and it serves in both cases.
func TestImageContent(t *testing.T) {
	t.Parallel()
	w := newImageWorld(t)
	stage := filepath.Join(w.dir, "copy")
	must(t, "/", bareEnv(), "cp", "-a", setting(t, "MODWSGI_TEST_ENV"), stage)
	site := filepath.Join(stage, "lib", libOf(t, stage), "site-packages")
	writeFile(t, filepath.Join(site, "shopping.py"), "where = __file__\n", 0o644)
	writeFile(t, filepath.Join(site, "cart/__init__.py"), "", 0o644)
	writeFile(t, filepath.Join(site, "cart/tests/test_cart.py"), "", 0o644)
	if _, err := os.Stat(filepath.Join(site, "setuptools")); err != nil {
		t.Fatal(err)
	}
	extra := []string{
		"opt/mod_wsgi/bin/pip", "opt/mod_wsgi/bin/mod_wsgi-apxs", "opt/mod_wsgi/lib/" + libOf(t, stage) + "/site-packages/pip", "opt/mod_wsgi/lib/" + libOf(t, stage) + "/site-packages/setuptools",
		"opt/mod_wsgi/lib/" + libOf(t, stage) + "/site-packages/mod_wsgi_packages/httpd/include/httpd.h", "opt/mod_wsgi/lib/" + libOf(t, stage) + "/site-packages/cart/tests/test_cart.py",
	}
	sizes := map[bool]int64{}
	for _, all := range []bool{false, true} {
		part := fmt.Sprintf("all %v", all)
		out, port := filepath.Join(w.dir, part, "shop.tar"), freeport.Get(t)
		args := []string{"oci", "--stage", stage, "--app", "app", "--port", fmt.Sprint(port), "--out", out, "--tag", "shop/web:1"}
		if all {
			args = append(args, "--include", "pip", "--include", "headers,tests")
		}
		if r := pack(t, w.dir, bareEnv(), args...); r.code != 0 {
			t.Fatal(r)
		}
		tag, err := name.NewTag("shop/web:1")
		if err != nil {
			t.Fatal(err)
		}
		img, err := tarball.ImageFromPath(out, &tag)
		if err != nil {
			t.Fatal(err)
		}
		root := filepath.Join(w.dir, part, "root")
		unpack(t, img, root)
		info, err := os.Stat(out)
		if err != nil {
			t.Fatal(err)
		}
		sizes[all] = info.Size()
		for _, file := range extra {
			if _, err := os.Lstat(filepath.Join(root, file)); (err == nil) != all {
				t.Errorf("with all of it %v: %s: %v", all, file, err)
			}
		}
		bom, err := os.ReadFile(filepath.Join(root, "usr/share/doc/mod_wsgi/sbom.cdx.json"))
		if err != nil || strings.Contains(string(bom), "pkg:pypi/pip@") != all {
			t.Errorf("with all of it %v, the bill of materials names pip: %v (%v)", all, !all, err)
		}
		k := runImage(t, img, root)
		k.serves(t)
		if r := k.exec("/opt/mod_wsgi/bin/python", "-m", "pip", "--version"); (r.code == 0) != all || !all && !strings.Contains(r.stderr, "No module named pip") {
			t.Errorf("with all of it %v, pip: %v", all, r)
		}
		k.drains(t)
	}
	t.Logf("%d bytes, %d with all of it", sizes[false], sizes[true])
	if sizes[false] >= sizes[true] {
		t.Errorf("%v", sizes)
	}

	// The Python of a copy for another CPU is not on this machine.
	foreign := filepath.Join(w.dir, "foreign")
	must(t, "/", bareEnv(), "cp", "-a", stage, foreign)
	relabel(t, filepath.Join(foreign, "lib"))
	relabel(t, filepath.Join(foreign, "bin"))
	for want, args := range map[string][]string{
		"is for x86_64, but the environment is for aarch64": {"--stage", foreign},
		"--include docs: unknown part":                      {"--stage", stage, "--include", "docs"},
	} {
		if r := pack(t, w.dir, bareEnv(), append([]string{"oci", "--out", "failed"}, args...)...); r.code != 2 || !strings.Contains(r.stderr, want) || !strings.Contains(r.stderr, "hint: ") {
			t.Errorf("want %q: %v", want, r)
		}
		absent(t, filepath.Join(w.dir, "failed"))
	}
}

// libOf is the name of the directory of an environment's library, such as "python3.11".
func libOf(t *testing.T, env string) string {
	t.Helper()
	found, _ := filepath.Glob(filepath.Join(env, "lib/python3*"))
	if len(found) != 1 {
		t.Fatalf("libraries: %v", found)
	}
	return filepath.Base(found[0])
}
