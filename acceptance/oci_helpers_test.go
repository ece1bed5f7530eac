//go:build acceptance

package acceptance

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/remote"

	"modwsgi/internal/freeport"
)

// registryUser is "shop" with the password "s3cret", as htpasswd -B writes it.
const registryUser = "shop:$2b$05$abcdefghijklmnopqrstuuLK7U1u6pVRmL7L1BBM2aS35PSZnDXlK\n"

// registry is the distribution's registry server, with TLS and a password.
type registry struct {
	address string
	ca      string // file with its certificate
	docker  string // DOCKER_CONFIG of a logged-in user
	options []remote.Option
}

func startRegistry(t *testing.T) *registry {
	t.Helper()
	dir := t.TempDir()
	r := &registry{address: fmt.Sprintf("127.0.0.1:%d", freeport.Get(t)), ca: filepath.Join(dir, "ca.pem"), docker: filepath.Join(dir, "docker")}
	key := filepath.Join(dir, "key.pem")
	certificate(t, r.ca, key)
	config := fmt.Sprintf("version: 0.1\nlog: {level: error, accesslog: {disabled: true}}\nstorage: {filesystem: {rootdirectory: %q}}\nhttp: {addr: %q, tls: {certificate: %q, key: %q}}\nauth: {htpasswd: {realm: test, path: %q}}\n",
		filepath.Join(dir, "data"), r.address, r.ca, key, filepath.Join(dir, "htpasswd"))
	for file, text := range map[string]string{
		"config.yml": config, "htpasswd": registryUser,
		"docker/config.json": `{"auths": {"` + r.address + `": {"username": "shop", "password": "s3cret"}}}`,
	} {
		file = filepath.Join(dir, file)
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	pool := x509.NewCertPool()
	data, _ := os.ReadFile(r.ca)
	pool.AppendCertsFromPEM(data)
	transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool}}
	r.options = []remote.Option{remote.WithTransport(transport), remote.WithAuth(&authn.Basic{Username: "shop", Password: "s3cret"})}
	serveRegistry(t, filepath.Join(dir, "config.yml"), &http.Client{Transport: transport}, "https://"+r.address)
	return r
}

// serveRegistry starts the registry server, and waits until it answers at an address. It
// returns the file with what the server prints.
func serveRegistry(t *testing.T, config string, client *http.Client, address string) (log string) {
	t.Helper()
	program, err := exec.LookPath("docker-registry")
	if err != nil {
		t.Skip("the registry server is not installed (Debian: apt-get install docker-registry): nothing is pushed")
	}
	log = config + ".log"
	out, err := os.Create(log)
	if err != nil {
		t.Fatal(err)
	}
	c := exec.CommandContext(t.Context(), program, "serve", config)
	c.Stdout, c.Stderr, c.Env = out, out, bareEnv()
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	printed := func() string {
		data, _ := os.ReadFile(log)
		return string(data)
	}
	t.Cleanup(func() {
		_ = c.Process.Signal(syscall.SIGTERM)
		_ = c.Wait()
		_ = out.Close()
		if t.Failed() {
			t.Logf("registry: %s", printed())
		}
	})
	for range 1200 {
		if resp, err := client.Get(address + "/v2/"); err == nil {
			_ = resp.Body.Close()
			return log
		}
		time.Sleep(50 * time.Millisecond) // between two tries
	}
	t.Fatalf("the registry does not answer: %s", printed())
	return ""
}

// certificate makes one for the loopback address.
func certificate(t *testing.T, file, keyFile string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test"}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	private, err := x509.MarshalECPrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	for name, b := range map[string]*pem.Block{file: {Type: "CERTIFICATE", Bytes: der}, keyFile: {Type: "EC PRIVATE KEY", Bytes: private}} {
		if err := os.WriteFile(name, pem.EncodeToMemory(b), 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

func (r *registry) ref(t *testing.T, text string) name.Reference {
	t.Helper()
	ref, err := name.ParseReference(r.address + "/" + text)
	if err != nil {
		t.Fatal(err)
	}
	return ref
}

// pull fetches an image.
func (r *registry) pull(t *testing.T, text string) v1.Image {
	t.Helper()
	img, err := remote.Image(r.ref(t, text), append(r.options, remote.WithPlatform(v1.Platform{OS: "linux", Architecture: "amd64"}))...)
	if err != nil {
		t.Fatal(err)
	}
	return img
}

// unpack creates the root directory of an image.
func unpack(t *testing.T, img v1.Image, dir string) {
	t.Helper()
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	from := mutate.Extract(img)
	defer func() { _ = from.Close() }()
	c := exec.CommandContext(t.Context(), "tar", "-xpf", "-", "--numeric-owner", "-C", dir)
	c.Stdin = from
	if out, err := c.CombinedOutput(); err != nil {
		t.Fatalf("unpack: %v\n%s", err, out)
	}
}

// container is a running image.
type container struct {
	t      *testing.T
	root   string
	config v1.Config
	port   int
	c      *exec.Cmd
	out    *bytes.Buffer
	ended  chan error
}

// account is the image's user, for a tool of util-linux.
func account(config v1.Config) []string {
	uid, gid, _ := strings.Cut(config.User, ":")
	return []string{"--setgid", gid, "--setuid", uid}
}

// runImage runs an image's command in private namespaces.
func runImage(t *testing.T, img v1.Image, root string, more ...string) *container {
	t.Helper()
	cfg, err := img.ConfigFile()
	if err != nil {
		t.Fatal(err)
	}
	k := &container{t: t, root: root, config: cfg.Config, out: &bytes.Buffer{}, ended: make(chan error, 1)}
	for p := range cfg.Config.ExposedPorts {
		if _, err := fmt.Sscanf(p, "%d/tcp", &k.port); err != nil {
			t.Fatal(err)
		}
	}
	argv := append(append([]string{}, cfg.Config.Entrypoint...), cfg.Config.Cmd...)
	script := `set -e
root=$1 dir=$2; shift 2
PATH=/usr/bin:/bin:/usr/sbin:/sbin
mount --rbind /dev "$root/dev"; mount -t proc proc "$root/proc"; mount -t tmpfs -o mode=1777 tmpfs "$root/tmp"
exec /usr/bin/unshare --root="$root" --wd="$dir" ` + strings.Join(account(cfg.Config), " ") + ` -- "$@"
`
	line := append([]string{"-m", "-p", "-f", "--kill-child", "/bin/sh", "-c", script, "sh", root, cfg.Config.WorkingDir}, append(argv, more...)...)
	k.c = exec.CommandContext(t.Context(), "unshare", line...)
	// The engine's environment is the image's, but its tools are found on the host's
	// PATH.
	k.c.Dir, k.c.Env, k.c.Stdout, k.c.Stderr = "/", cfg.Config.Env, k.out, k.out
	if err := k.c.Start(); err != nil {
		t.Fatal(err)
	}
	go func() { k.ended <- k.c.Wait() }()
	t.Cleanup(func() { _ = k.c.Process.Kill() })
	return k
}

// first is the first process of the container, as seen from the host.
func (k *container) first() int {
	k.t.Helper()
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/task/%d/children", k.c.Process.Pid, k.c.Process.Pid))
	pid := 0
	if err == nil {
		_, err = fmt.Sscan(string(data), &pid)
	}
	if err != nil {
		k.t.Fatalf("the container has no process: %v\n%s", err, k.out)
	}
	return pid
}

// exec runs a command in the container, as an engine does for health checks.
func (k *container) exec(argv ...string) result {
	k.t.Helper()
	line := append([]string{"nsenter", "-t", fmt.Sprint(k.first()), "-m", "-p", "-r", "-w"}, account(k.config)...)
	return command(k.t, "/", k.config.Env, append(append(line, "--"), argv...)...)
}

// healthy runs the image's health check.
func (k *container) healthy() result {
	k.t.Helper()
	if k.config.Healthcheck == nil || k.config.Healthcheck.Test[0] != "CMD" {
		k.t.Fatalf("no health check: %+v", k.config.Healthcheck)
	}
	return k.exec(k.config.Healthcheck.Test[1:]...)
}

// stop sends the image's signal to the first process and returns the exit code.
func (k *container) stop() int {
	k.t.Helper()
	if k.config.StopSignal != "SIGTERM" {
		k.t.Errorf("the image is stopped with %s", k.config.StopSignal)
	}
	if err := syscall.Kill(k.first(), syscall.SIGTERM); err != nil {
		k.t.Fatal(err)
	}
	return k.wait()
}

func (k *container) wait() int {
	k.t.Helper()
	select {
	case <-k.ended:
		return k.c.ProcessState.ExitCode()
	case <-time.After(30 * time.Second):
		k.t.Fatalf("it does not stop\n%s", k.out)
		return -1
	}
}

// needContainers skips the test if namespaces are unavailable.
func needContainers(t *testing.T) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("only root can enter the root directory of an image")
	}
	if r := command(t, "/", os.Environ(), "unshare", "-m", "-p", "-f", "true"); r.code != 0 {
		t.Skipf("namespaces are unavailable here: %v", r)
	}
}

// pack runs modwsgi package with the tests' cache.
func pack(t *testing.T, dir string, env []string, args ...string) result {
	t.Helper()
	argv := []string{program(t, "modwsgi"), "package"}
	if !strings.HasPrefix(args[0], "-") { // a format; arguments after -- are for start-server
		argv, args = append(argv, args[0]), args[1:]
	}
	return command(t, dir, env, append(append(argv, "--cache-dir", setting(t, "MODWSGI_TEST_CACHE")), args...)...)
}

// lastJSON is the final result of --json.
func lastJSON(t *testing.T, r result, into any) {
	t.Helper()
	if r.code != 0 {
		t.Fatal(r)
	}
	lines := strings.Split(strings.TrimSpace(r.stdout), "\n")
	if err := json.Unmarshal([]byte(lines[len(lines)-1]), into); err != nil {
		t.Fatalf("%v: %v", err, r)
	}
}

// absent fails if something exists.
func absent(t *testing.T, name string) {
	t.Helper()
	if _, err := os.Lstat(name); err == nil {
		entries, _ := os.ReadDir(name)
		t.Errorf("%s exists: %v", name, entries)
	}
}
