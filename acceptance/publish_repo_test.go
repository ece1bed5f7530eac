//go:build acceptance && linux

package acceptance

import (
	"encoding/json"
	"encoding/xml"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"modwsgi/packaging/publish/publishtest"
)

func publishArgs(t *testing.T, dist string, args ...string) []string {
	return append([]string{program(t, "modwsgi"), "package", "publish", dist}, args...)
}

// fileServer serves a directory and records what was asked for.
type fileServer struct {
	url string
	mu  sync.Mutex
	got []string
}

func serveDir(t *testing.T, dir string) *fileServer {
	t.Helper()
	s := &fileServer{}
	files := http.FileServer(http.Dir(dir))
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.mu.Lock()
		s.got = append(s.got, r.URL.Path)
		s.mu.Unlock()
		files.ServeHTTP(w, r)
	}))
	t.Cleanup(server.Close)
	s.url = server.URL
	return s
}

func (s *fileServer) asked(part string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.ContainsFunc(s.got, func(p string) bool { return strings.Contains(p, part) })
}

// aptIn returns the beginning of an apt-get command with private directories, which does
// not use the system's sources.
func aptIn(t *testing.T, dir, source string) []string {
	t.Helper()
	for _, d := range []string{"state/lists/partial", "cache/archives/partial", "etc"} {
		if err := os.MkdirAll(filepath.Join(dir, d), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(filepath.Join(dir, "etc/sources.list"), []byte(source+"\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	return []string{
		"apt-get", "-o", "Dir::Etc::sourcelist=" + dir + "/etc/sources.list", "-o", "Dir::Etc::sourceparts=-", "-o", "Dir::State::lists=" + dir + "/state/lists",
		"-o", "Dir::Cache=" + dir + "/cache", "-o", "APT::Sandbox::User=root", "-o", "Acquire::Languages=none", "-o", "Acquire::Retries=0",
	}
}

// TestPublishApt publishes packages to an apt repository twice, and installs them with the
// real apt, by file and by HTTP, on a copy of this machine.
func TestPublishApt(t *testing.T) {
	dir := workdir(t, "apt repo")
	repo := filepath.Join(dir, "repo")
	private, public := publishtest.Key(t)
	key := filepath.Join(filepath.Dir(dir), "key.asc")
	data, err := os.ReadFile(public)
	if err == nil {
		err = os.WriteFile(key, data, 0o644)
	}
	if err != nil {
		t.Fatal(err)
	}
	args := []string{"--apt", repo, "--apt-suite", "test", "--sign-openpgp", private}
	one := publishtest.Dist(t, nil, publishtest.Package(t, "deb", "modwsgi-test-hello", "1.0.0", "amd64", "one"), publishtest.Package(t, "deb", "modwsgi-test-all", "1.0.0", "all", "all"))
	if r := must(t, dir, bareEnv(), publishArgs(t, one, append(args, "--dry-run")...)...); !strings.Contains(r.stdout, "would be published") {
		t.Errorf("dry run: %v", r)
	}
	if _, err := os.Stat(repo); err == nil {
		t.Error("the dry run made the repository")
	}
	must(t, dir, bareEnv(), publishArgs(t, one, args...)...)
	server := serveDir(t, repo)
	apt := aptIn(t, filepath.Join(filepath.Dir(dir), "http"), fmt.Sprintf("deb [signed-by=%s] %s test main", key, server.url))
	script := func(more string) string {
		return fmt.Sprintf("export DEBIAN_FRONTEND=noninteractive\napt='%s'\n$apt update\n%s", strings.Join(apt, " "), more)
	}
	r := onMachine(t, script("$apt install -y modwsgi-test-hello modwsgi-test-all\nmodwsgi-test-hello; modwsgi-test-all; dpkg-query -W modwsgi-test-hello\n"))
	if r.code != 0 || !strings.Contains(r.stdout, "\none\nall\n") || strings.Contains(r.stdout+r.stderr, "W: ") {
		t.Fatalf("install: %v", r)
	}
	if !server.asked("/by-hash/SHA256/") || server.asked("binary-amd64/Packages") {
		t.Errorf("apt did not read the indexes by hash: %q", server.got)
	}
	// A second release is added: apt upgrades, and the first one stays.
	two := publishtest.Dist(t, nil, publishtest.Package(t, "deb", "modwsgi-test-hello", "2.0.0", "amd64", "two"))
	must(t, dir, bareEnv(), publishArgs(t, two, args...)...)
	r = onMachine(t, script("$apt install -y modwsgi-test-hello=1.0.0-1\nmodwsgi-test-hello\n$apt install -y --only-upgrade modwsgi-test-hello\nmodwsgi-test-hello\n$apt install -y modwsgi-test-all\n"))
	if r.code != 0 || !strings.Contains(r.stdout, "\none\n") || !strings.Contains(r.stdout, "\ntwo\n") {
		t.Errorf("upgrade: %v", r)
	}
	file := aptIn(t, filepath.Join(filepath.Dir(dir), "file"), fmt.Sprintf("deb [signed-by=%s] file:%s test main", key, strings.ReplaceAll(repo, " ", "%20")))
	must(t, filepath.Dir(dir), os.Environ(), append(file, "update")...)
	must(t, filepath.Dir(dir), os.Environ(), append(file, "download", "modwsgi-test-hello")...)
	if _, err := os.Stat(filepath.Join(filepath.Dir(dir), "modwsgi-test-hello_2.0.0-1_amd64.deb")); err != nil {
		t.Error(err)
	}
	aptRefuses(t, repo, apt)
}

// aptRefuses checks that a changed index is not accepted: the signature is real.
func aptRefuses(t *testing.T, repo string, apt []string) {
	name := filepath.Join(repo, "dists/test/InRelease")
	data, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(name, []byte(strings.Replace(string(data), "Suite: test", "Suite: evil", 1)), 0o644); err != nil {
		t.Fatal(err)
	}
	if r := command(t, "/", os.Environ(), append(slices.Clone(apt), "update", "--error-on=any")...); r.code == 0 {
		t.Errorf("apt accepts a changed InRelease: %v", r)
	}
}

// TestPublishDnf publishes packages to a dnf repository twice, and installs them with the
// real dnf. createrepo_c makes the indexes of the same packages for comparison.
func TestPublishDnf(t *testing.T) {
	dir := workdir(t, "dnf")
	repo := filepath.Join(dir, "repo")
	private, _ := publishtest.Key(t)
	one := publishtest.Dist(t, nil, publishtest.Package(t, "rpm", "modwsgi-test-hello", "1.0.0", "x86_64", "one"))
	two := publishtest.Dist(t, nil, publishtest.Package(t, "rpm", "modwsgi-test-hello", "2.0.0", "x86_64", "two"), publishtest.Package(t, "rpm", "modwsgi-test-other", "1.0.0", "noarch", "other"))
	for _, dist := range []string{one, two} {
		must(t, dir, bareEnv(), publishArgs(t, dist, "--dnf", repo, "--sign-openpgp", private)...)
	}
	t.Run("createrepo_c", func(t *testing.T) { likeCreaterepo(t, repo) })
	server := serveDir(t, repo)
	r := onMachine(t, `
export DEBIAN_FRONTEND=noninteractive
if ! command -v dnf >/dev/null || ! command -v rpm >/dev/null; then
	apt-get update -qq || true
	apt-get install -y -qq --no-install-recommends dnf rpm >/dev/null || { echo UNAVAILABLE; exit 0; }
fi
root=/tmp/modwsgi-dnf-root
mkdir -p /tmp/repos $root
printf '[test]\nname=test\nbaseurl=%s\nenabled=1\ngpgcheck=0\nrepo_gpgcheck=1\ngpgkey=%s/repodata/repomd.xml.key\n' `+server.url+` `+server.url+` >/tmp/repos/test.repo
dnf="dnf -y --installroot=$root --releasever=1 --setopt=reposdir=/tmp/repos --setopt=cachedir=/tmp/dnf-cache --setopt=keepcache=0"
$dnf repoquery --list modwsgi-test-hello
$dnf repoquery --provides modwsgi-test-hello
$dnf install modwsgi-test-hello-1.0.0
sh $root/usr/bin/modwsgi-test-hello
$dnf upgrade modwsgi-test-hello
sh $root/usr/bin/modwsgi-test-hello
$dnf install /usr/bin/modwsgi-test-other
sh $root/usr/bin/modwsgi-test-other
rpm --root $root -qa
`)
	if strings.Contains(r.stdout, "UNAVAILABLE") {
		t.Skip("SKIPPED: dnf is not installed, and apt-get does not provide it")
	}
	for _, want := range []string{"/usr/bin/modwsgi-test-hello\n", "modwsgi-test-hello-virtual", "one\n", "two\n", "other\n", "modwsgi-test-hello-2.0.0-1.x86_64\n"} {
		if !strings.Contains(r.stdout, want) {
			t.Errorf("lacks %q", want)
		}
	}
	if r.code != 0 || t.Failed() {
		t.Fatal(r)
	}
}

// likeCreaterepo compares our indexes with those that createrepo_c makes.
func likeCreaterepo(t *testing.T, repo string) {
	if _, err := exec.LookPath("createrepo_c"); err != nil {
		t.Skip("createrepo_c is not installed (Debian: apt-get install createrepo-c)")
	}
	theirs := filepath.Join(t.TempDir(), "theirs")
	must(t, "/", os.Environ(), "cp", "-a", repo, theirs)
	if err := os.RemoveAll(filepath.Join(theirs, "repodata")); err != nil {
		t.Fatal(err)
	}
	must(t, "/", os.Environ(), "createrepo_c", "--quiet", theirs)
	for _, name := range []string{"primary", "filelists", "other"} {
		a, b := indexOf(t, repo, name), indexOf(t, theirs, name)
		if len(a) != 3 || len(b) != 3 {
			t.Fatalf("%s: %d and %d packages", name, len(a), len(b))
		}
		for key := range b {
			if a[key] != b[key] {
				t.Errorf("%s of %s:\n%s\ncreaterepo_c:\n%s", name, key, a[key], b[key])
			}
		}
	}
}

// indexOf returns the elements of an index by package, in a form that does not depend on
// how they are written.
func indexOf(t *testing.T, repo, name string) map[string]string {
	t.Helper()
	all, err := filepath.Glob(filepath.Join(repo, "repodata/*-"+name+".xml.gz"))
	if err != nil || len(all) == 0 {
		t.Fatal(all, err)
	}
	out := map[string]string{}
	for _, file := range all { // the newest has all packages
		var doc struct {
			Package []node `xml:"package"`
		}
		if err := xml.Unmarshal([]byte(must(t, "/", os.Environ(), "zcat", file).stdout), &doc); err != nil {
			t.Fatal(err)
		}
		for _, p := range doc.Package {
			id := p.attribute("pkgid")
			for _, c := range p.Nodes {
				if c.XMLName.Local == "checksum" {
					id = c.Text
				}
			}
			out[id] = p.text("")
		}
	}
	return out
}

type node struct {
	XMLName xml.Name
	Attrs   []xml.Attr `xml:",any,attr"`
	Text    string     `xml:",chardata"`
	Nodes   []node     `xml:",any"`
}

func (n node) attribute(name string) string {
	for _, a := range n.Attrs {
		if a.Name.Local == name {
			return a.Value
		}
	}
	return ""
}

func (n node) text(indent string) string {
	var attributes []string
	for _, a := range n.Attrs {
		if n.XMLName.Local != "time" { // of the file
			attributes = append(attributes, a.Name.Local+"="+a.Value)
		}
	}
	slices.Sort(attributes)
	var nodes []string
	for _, c := range n.Nodes {
		nodes = append(nodes, c.text(indent+" "))
	}
	slices.Sort(nodes)
	return fmt.Sprintf("%s%s %v %q\n%s", indent, n.XMLName.Local, attributes, strings.TrimSpace(n.Text), strings.Join(nodes, ""))
}

// TestPublishRepositoryFailures are a full disk, a read-only directory and several
// publishers: the repository is never half published.
func TestPublishRepositoryFailures(t *testing.T) {
	dir := workdir(t, "failures")
	private, _ := publishtest.Key(t)
	one := publishtest.Dist(t, nil, publishtest.Package(t, "deb", "modwsgi-test-hello", "1.0.0", "amd64", "one"))
	full := filepath.Join(dir, "full")
	if err := os.Mkdir(full, 0o755); err != nil {
		t.Fatal(err)
	}
	args := func(repo string) string {
		return strings.Join(publishArgs(t, one, "--json", "--apt", repo, "--sign-openpgp", private), " ")
	}
	for name, mount := range map[string]string{
		"full":      "mount -t tmpfs -o size=16k,mode=755 none " + full,
		"inodes":    "mount -t tmpfs -o nr_inodes=4,mode=755 none " + full,
		"read-only": "mount -t tmpfs -o ro,mode=755 none " + full,
	} {
		r := command(t, dir, bareEnv(), "unshare", "-m", "sh", "-uc", mount+" || exit 99\n"+args(full)+"; code=$?; test ! -e "+full+"/dists/stable/InRelease || exit 98; exit $code")
		if r.code == 99 {
			t.Skip("only root can mount a file system")
		}
		var last struct{ Message, Hint string }
		lines := strings.Split(strings.TrimSpace(r.stdout), "\n")
		if err := json.Unmarshal([]byte(lines[len(lines)-1]), &last); r.code != 3 || err != nil || last.Hint == "" {
			t.Errorf("%s: %v", name, r)
		}
		t.Logf("%s: %s (%s)", name, last.Message, last.Hint)
	}
	publishConcurrently(t, filepath.Join(dir, "repo"), private)
}

// publishConcurrently starts ten publishers with a package each: all of them are in the
// repository afterwards.
func publishConcurrently(t *testing.T, repo, private string) {
	var group sync.WaitGroup
	errs := make([]error, 10)
	for i := range errs {
		dist := publishtest.Dist(t, nil, publishtest.Package(t, "deb", fmt.Sprint("modwsgi-test-", i), "1.0.0", "amd64", "x"), publishtest.Package(t, "rpm", fmt.Sprint("modwsgi-test-", i), "1.0.0", "x86_64", "x"))
		argv := publishArgs(t, dist, "--apt", repo, "--dnf", repo+"-dnf", "--sign-openpgp", private)
		group.Go(func() {
			c := exec.Command(argv[0], argv[1:]...)
			c.Env = bareEnv()
			if out, err := c.CombinedOutput(); err != nil {
				errs[i] = fmt.Errorf("%w: %s", err, out)
			}
		})
	}
	group.Wait()
	if err := errors.Join(errs...); err != nil {
		t.Fatal(err)
	}
	data, err := os.ReadFile(filepath.Join(repo, "dists/stable/main/binary-amd64/Packages"))
	if n := strings.Count(string(data), "\nVersion: "); err != nil || n != 10 {
		t.Errorf("%d packages: %v", n, err)
	}
	if left, _ := filepath.Glob(filepath.Join(repo, ".modwsgi*")); len(left) > 0 {
		t.Errorf("left: %v", left)
	}
}
