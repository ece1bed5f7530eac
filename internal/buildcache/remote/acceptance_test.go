//go:build acceptance

package remote

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"modwsgi/internal/buildcache"
	"modwsgi/internal/freeport"
)

// registryProgram is Debian's docker-registry: the installed one, or one that is unpacked
// without installing it.
func registryProgram(t *testing.T) string {
	t.Helper()
	if path, err := exec.LookPath("docker-registry"); err == nil {
		return path
	}
	dir := filepath.Join(os.TempDir(), "modwsgi-test-docker-registry")
	program := filepath.Join(dir, "usr/bin/docker-registry")
	if _, err := os.Stat(program); err == nil {
		return program
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	c := exec.Command("sh", "-euc", "apt-get download docker-registry >&2 && dpkg -x docker-registry_*.deb .")
	c.Dir = dir
	if out, err := c.CombinedOutput(); err != nil {
		_ = os.RemoveAll(dir)
		t.Skipf("SKIPPED: docker-registry is not installed, and apt-get download does not provide it: %v\n%s", err, out)
	}
	return program
}

// realRegistry is one running registry.
type realRegistry struct {
	host, dir string
	stop      func()
}

func (r *realRegistry) address() string { return "oci://" + r.host + "/team/cache" }

// startRegistry starts the real registry on a free port of the loopback interface, with
// its files in a directory of the test.
func startRegistry(t *testing.T, dir, more string) *realRegistry {
	t.Helper()
	program := registryProgram(t)
	host := fmt.Sprintf("127.0.0.1:%d", freeport.Get(t))
	config := filepath.Join(dir, "config.yml")
	text := fmt.Sprintf("version: 0.1\nlog: {level: error, accesslog: {disabled: true}}\nstorage: {filesystem: {rootdirectory: %s/data}}\nhttp: {addr: %s}\n%s", dir, host, more)
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	c := exec.Command(program, "serve", config)
	var out bytes.Buffer
	c.Stdout, c.Stderr = &out, &out
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	r := &realRegistry{host: host, dir: dir, stop: func() { _ = c.Process.Kill(); _ = c.Wait() }}
	t.Cleanup(r.stop)
	for range 1200 {
		if resp, err := http.Get("http://" + host + "/v2/"); err == nil {
			_ = resp.Body.Close()
			return r
		}
		time.Sleep(50 * time.Millisecond)
	}
	t.Fatalf("the registry does not answer: %s", out.String())
	return nil
}

// TestMain lets the test binary be a process that pushes.
func TestMain(m *testing.M) {
	if os.Getenv("MODWSGI_TEST_PUSH") == "" {
		os.Exit(m.Run())
	}
	f := strings.Split(os.Getenv("MODWSGI_TEST_PUSH"), "|") // address, key file, cache, key
	s, err := ReadSigner(f[1], "/")
	var trust *Trust
	if err == nil {
		trust, err = ReadTrust(nil, "/", s)
	}
	var c *Cache
	if err == nil {
		c, err = Open(f[0], Options{Signer: s, Trust: trust})
	}
	if err == nil {
		ctx, stop := context.WithTimeout(context.Background(), time.Minute)
		defer stop()
		_, err = c.Push(ctx, f[3], buildcache.Cache{Dir: f[2]})
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(0)
}

func pusher(address, keyFile string, from buildcache.Cache) *exec.Cmd {
	c := exec.Command(os.Args[0])
	c.Env = append(os.Environ(), "MODWSGI_TEST_PUSH="+strings.Join([]string{address, keyFile, from.Dir, key}, "|"))
	c.Stderr = os.Stderr
	return c
}

// keyPair creates key files.
func keyPair(t *testing.T) (file string, s *Signer, trust *Trust) {
	t.Helper()
	file = filepath.Join(t.TempDir(), "key")
	if _, err := GenerateKey(file); err != nil {
		t.Fatal(err)
	}
	s, err := ReadSigner(file, "/")
	if err != nil {
		t.Fatal(err)
	}
	trust, err = ReadTrust([]string{file + ".pub"}, "/", nil)
	if err != nil {
		t.Fatal(err)
	}
	return file, s, trust
}

// bigEntry is an incompressible entry that takes a moment to upload.
func bigEntry(t *testing.T, size int) buildcache.Cache {
	t.Helper()
	dir := t.TempDir()
	data := make([]byte, size)
	x := uint64(1)
	for i := range data {
		x = x*6364136223846793005 + 1442695040888963407
		data[i] = byte(x >> 56)
	}
	if err := os.WriteFile(filepath.Join(dir, "noise"), data, 0o644); err != nil {
		t.Fatal(err)
	}
	c := buildcache.Cache{Dir: filepath.Join(t.TempDir(), "builds")}
	if err := c.Store(t.Context(), key, dir, buildcache.About{Kind: "test", Name: "noise"}); err != nil {
		t.Fatal(err)
	}
	return c
}

func TestRealRegistry(t *testing.T) {
	reg := startRegistry(t, t.TempDir(), "")
	file, s, trust := keyPair(t)
	from := entry(t)

	t.Run("concurrent pushes of several processes", func(t *testing.T) {
		var all []*exec.Cmd
		for range 8 {
			c := pusher(reg.address(), file, from)
			if err := c.Start(); err != nil {
				t.Fatal(err)
			}
			all = append(all, c)
		}
		for _, c := range all {
			if err := c.Wait(); err != nil {
				t.Error(err)
			}
		}
		into := empty(t)
		if hit, err := open(t, reg.address(), nil, trust).Pull(t.Context(), key, into, nil); !hit || err != nil {
			t.Fatalf("%v, %v", hit, err)
		}
		if err := into.Verify(t.Context(), key); err != nil {
			t.Error(err)
		}
	})
	t.Run("unknown key", func(t *testing.T) {
		_, _, strangers := keyPair(t)
		into := empty(t)
		hit, err := open(t, reg.address(), nil, strangers).Pull(t.Context(), key, into, nil)
		refused(t, hit, err, "not trusted")
		nothing(t, into)
	})
	t.Run("nothing under another key", func(t *testing.T) {
		if hit, err := open(t, reg.address(), nil, trust).Pull(t.Context(), other, empty(t), nil); hit || err != nil {
			t.Errorf("%v, %v", hit, err)
		}
	})
	t.Run("replayed under another key", func(t *testing.T) {
		c := open(t, reg.address(), s, trust)
		raw, err := c.store.manifest(t.Context(), key)
		if err == nil {
			err = c.store.putManifest(t.Context(), other, raw)
		}
		if err != nil {
			t.Fatal(err)
		}
		into := empty(t)
		hit, err := c.Pull(t.Context(), other, into, nil)
		refused(t, hit, err, "another key")
		if into.Has(other) {
			t.Error("it was taken")
		}
	})
	t.Run("tampered manifest", func(t *testing.T) {
		name := biggest(t, reg, func(data []byte) bool {
			return bytes.Contains(data, []byte(signatureNote)) && bytes.Contains(data, []byte(key))
		})
		change(t, name, func(data []byte) []byte {
			return bytes.Replace(data, []byte(`"org.opencontainers.image.title":"httpd`), []byte(`"org.opencontainers.image.title":"evil!`), 1)
		})
		into := empty(t)
		hit, err := open(t, reg.address(), nil, trust).Pull(t.Context(), key, into, nil)
		if hit || err == nil {
			t.Errorf("got %v, %v", hit, err)
		}
		nothing(t, into)
	})
	t.Run("registry goes away", func(t *testing.T) {
		reg.stop()
		if hit, err := open(t, reg.address(), nil, trust).Pull(t.Context(), key, empty(t), nil); hit || err == nil || !strings.Contains(err.Error(), "refused") {
			t.Errorf("%v, %v", hit, err)
		}
	})
}

// biggest finds the largest matching blob in the registry's storage.
func biggest(t *testing.T, r *realRegistry, wanted func([]byte) bool) string {
	t.Helper()
	all, _ := filepath.Glob(filepath.Join(r.dir, "data/docker/registry/v2/blobs/sha256/*/*/data"))
	best, size := "", -1
	for _, name := range all {
		data, err := os.ReadFile(name)
		if err == nil && wanted(data) && len(data) > size {
			best, size = name, len(data)
		}
	}
	if best == "" {
		t.Fatalf("the registry has no such blob among %v", all)
	}
	return best
}

func change(t *testing.T, name string, do func([]byte) []byte) {
	t.Helper()
	data, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	changed := do(bytes.Clone(data))
	if bytes.Equal(changed, data) {
		t.Fatal("nothing was changed")
	}
	if err := os.WriteFile(name, changed, 0o644); err != nil {
		t.Fatal(err)
	}
}

func TestRealRegistryTamperedBlob(t *testing.T) {
	reg := startRegistry(t, t.TempDir(), "")
	_, s, trust := keyPair(t)
	shared := open(t, reg.address(), s, trust)
	if _, err := shared.Push(t.Context(), key, bigEntry(t, 1<<20)); err != nil {
		t.Fatal(err)
	}
	name := biggest(t, reg, func([]byte) bool { return true })
	change(t, name, func(data []byte) []byte { data[len(data)/2] ^= 1; return data })
	into := empty(t)
	hit, err := shared.Pull(t.Context(), key, into, nil)
	refused(t, hit, err, "")
	nothing(t, into)
	if err := os.Truncate(name, 1000); err != nil {
		t.Fatal(err)
	}
	if hit, err := shared.Pull(t.Context(), key, into, nil); hit || err == nil {
		t.Errorf("truncated: %v, %v", hit, err)
	}
	nothing(t, into)
}

// TestRealRegistryInterruptedUpload kills a pushing process at several moments. Nobody
// may see a partial entry, and the next push must work.
func TestRealRegistryInterruptedUpload(t *testing.T) {
	reg := startRegistry(t, t.TempDir(), "")
	file, _, trust := keyPair(t)
	from := bigEntry(t, 24<<20)
	reader := open(t, reg.address(), nil, trust)
	killed := 0
	for _, after := range []time.Duration{30, 60, 120, 250} {
		c := pusher(reg.address(), file, from)
		c.Stderr = nil
		if err := c.Start(); err != nil {
			t.Fatal(err)
		}
		time.Sleep(after * time.Millisecond)
		if c.Process.Kill() == nil {
			killed++
		}
		var exit *exec.ExitError
		if err := c.Wait(); err != nil && !errors.As(err, &exit) {
			t.Fatal(err)
		}
		into := empty(t)
		hit, err := reader.Pull(t.Context(), key, into, nil)
		if err != nil {
			t.Errorf("after a kill: %v", err)
		}
		if hit && into.Verify(t.Context(), key) != nil {
			t.Error("a part was taken")
		}
	}
	if killed == 0 {
		t.Error("nothing was killed")
	}
	if out, err := pusher(reg.address(), file, from).Output(); err != nil {
		t.Fatalf("the clean push: %v\n%s", err, out)
	}
	into := empty(t)
	if hit, err := reader.Pull(t.Context(), key, into, nil); !hit || err != nil {
		t.Fatalf("%v, %v", hit, err)
	}
	if err := into.Verify(t.Context(), key); err != nil {
		t.Error(err)
	}
}

const htpasswdLine = "me:$2y$12$b21d4erqtwTvXOa0HocDlu//vtRrN8pJeEDlYzv4ZrUvfPXdIbMJK\n"

// TestRealRegistryLogin uses the registry's htpasswd authentication.
func TestRealRegistryLogin(t *testing.T) {
	dir := t.TempDir()
	// "me" with "s3cret", by htpasswd -nbB.
	if err := os.WriteFile(filepath.Join(dir, "htpasswd"), []byte(htpasswdLine), 0o600); err != nil {
		t.Fatal(err)
	}
	reg := startRegistry(t, dir, "auth: {htpasswd: {realm: test, path: "+dir+"/htpasswd}}\n")
	_, s, trust := keyPair(t)
	tryLogins(t, reg.address(), s, trust, map[string]login{
		"good": {[]string{"MODWSGI_CACHE_USERNAME=me", "MODWSGI_CACHE_PASSWORD=s3cret"}, ""},
		"bad":  {[]string{"MODWSGI_CACHE_USERNAME=me", "MODWSGI_CACHE_PASSWORD=s3cretX"}, "refuses the credentials"},
		"none": {nil, "docker login"},
	})
}
