package aptrepo

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"modwsgi/internal/digest"
	"modwsgi/internal/fault"
	"modwsgi/packaging/publish"
	"modwsgi/packaging/publish/publishtest"
	"modwsgi/packaging/publish/repodir"
	"modwsgi/packaging/sign"
)

func carryOut(t *testing.T, dist string, o Options) (*publish.Plan, error) {
	t.Helper()
	set, err := publish.Open(dist, sign.VerifyKeys{}, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer set.Close()
	if o.Now == nil {
		o.Now = time.Now
	}
	r, err := New(set, o)
	if err != nil {
		return nil, err
	}
	plans, err := publish.Run(t.Context(), []publish.Destination{r}, publish.Options{
		Dry: o.Dry, Step: func(_ string, do func() error) error { return do() }, Done: func(publish.Change) {},
	})
	if err != nil {
		return nil, err
	}
	return plans[0], nil
}

func read(t *testing.T, parts ...string) string {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(parts...))
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

// visible reads the repository as apt does, by hash from InRelease, checks that nothing is
// missing or changed, and returns the versions of the packages.
func visible(t *testing.T, o Options) []string {
	t.Helper()
	dir := filepath.Join(o.Dir.Path, "dists", o.Suite)
	data, err := os.ReadFile(filepath.Join(dir, "InRelease"))
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		t.Fatal(err)
	}
	text, err := o.Signer.VerifyClear(data)
	if err != nil {
		t.Fatal(err)
	}
	s, err := readSuite(string(text))
	if err != nil || s.fields["acquire-by-hash"] != "yes" {
		t.Fatalf("%v: %s", err, text)
	}
	var out []string
	for name, f := range s.files {
		index := read(t, dir, filepath.Dir(name), "by-hash/SHA256", f.sum)
		if digest.Bytes([]byte(index)) != f.sum || int64(len(index)) != f.size {
			t.Errorf("%s has other contents", name)
		}
		if !strings.HasSuffix(name, "/Packages") {
			continue
		}
		all, err := parse(index)
		if err != nil {
			t.Fatal(err)
		}
		for _, p := range all {
			if sum := digest.Bytes([]byte(read(t, o.Dir.Path, p.get("Filename")))); sum != p.get("SHA256") {
				t.Errorf("%s has other contents", p.get("Filename"))
			}
			out = append(out, filepath.Dir(name)+" "+p.key())
		}
	}
	return out
}

func options(t *testing.T) Options {
	private, _ := publishtest.Key(t)
	return Options{Dir: repodir.Options{Path: filepath.Join(t.TempDir(), "apt")}, Suite: "stable", Component: "main", Signer: publishtest.Signer(t, private)}
}

func TestEverythingStays(t *testing.T) {
	o := options(t)
	o.Origin, o.Valid = "Example", 48*time.Hour
	deb := func(name, version, arch string) publishtest.File {
		return publishtest.Package(t, "deb", name, version, arch, version)
	}
	must := func(o Options, files ...publishtest.File) {
		t.Helper()
		if _, err := carryOut(t, publishtest.Dist(t, nil, files...), o); err != nil {
			t.Fatal(err)
		}
	}
	must(o, deb("hello", "1.0.0", "amd64"), deb("shared", "1.0.0", "all"))
	o.Origin, o.Valid = "", 0
	must(o, deb("hello", "1.0.0", "arm64"))
	other := o
	other.Component = "extra"
	must(other, deb("more", "1.0.0", "amd64"))
	o.Suite = "unstable"
	must(o, deb("hello", "2.0.0", "amd64"))
	o.Suite = "stable"
	must(o, deb("late", "1.0.0", "all"))
	got := strings.Join(visible(t, o), "\n")
	for _, want := range []string{
		"main/binary-amd64 hello 1.0.0-1 amd64", "main/binary-amd64 shared 1.0.0-1 all", "main/binary-amd64 late 1.0.0-1 all", "main/binary-arm64 hello 1.0.0-1 arm64",
		"main/binary-arm64 shared 1.0.0-1 all", "main/binary-arm64 late 1.0.0-1 all", "main/binary-all shared 1.0.0-1 all", "main/binary-all late 1.0.0-1 all",
		"extra/binary-amd64 more 1.0.0-1 amd64",
	} {
		if strings.Count(got, want) != 1 {
			t.Errorf("lacks %q or has several:\n%s", want, got)
		}
	}
	text := read(t, o.Dir.Path, "dists/stable/Release")
	for _, want := range []string{"Origin: Example\n", "Components: extra main\n", "Architectures: all amd64 arm64\n", "\nValid-Until: "} {
		if !strings.Contains(text, want) {
			t.Errorf("lacks %q:\n%s", want, text)
		}
	}
	for _, want := range []string{"hello_1.0.0-1_amd64.deb", "hello_1.0.0-1_arm64.deb", "hello_2.0.0-1_amd64.deb"} {
		read(t, o.Dir.Path, "pool/main/h/hello", want)
	}
	if err := o.Signer.VerifyDetached([]byte(text), []byte(read(t, o.Dir.Path, "dists/stable/Release.gpg"))); err != nil {
		t.Error(err)
	}
}

// TestInterruptedEverywhere ends a run before each file appears. A reader sees the old
// repository or the new one, and the same command completes.
func TestInterruptedEverywhere(t *testing.T) {
	one := publishtest.Dist(t, nil, publishtest.Package(t, "deb", "hello", "1.0.0", "amd64", "one"))
	two := publishtest.Dist(t, nil, publishtest.Package(t, "deb", "hello", "2.0.0", "amd64", "two"), publishtest.Package(t, "deb", "more", "2.0.0", "amd64", "two"))
	boom := errors.New("boom")
	for at := 0; ; at++ {
		o := options(t)
		if at%2 == 0 { // the repository exists
			if _, err := carryOut(t, one, o); err != nil {
				t.Fatal(err)
			}
		}
		before, n := len(visible(t, o)), 0
		o.Dir.Appears = func(string) error {
			if n++; n > at {
				return boom
			}
			return nil
		}
		_, err := carryOut(t, two, o)
		if err == nil {
			if at < 10 {
				t.Errorf("only %d files", at)
			}
			return
		}
		if !errors.Is(err, boom) || fault.ClassOf(err) != fault.Environment {
			t.Fatal(err)
		}
		if after := len(visible(t, o)); after != before {
			t.Errorf("%d: %d packages, before %d", at, after, before)
		}
		o.Dir.Appears = nil
		if _, err := carryOut(t, two, o); err != nil || len(visible(t, o)) != before+2 {
			t.Errorf("again after %d: %v, %q", at, err, visible(t, o))
		}
	}
}

func TestConflicts(t *testing.T) {
	o := options(t)
	one := publishtest.Dist(t, nil, publishtest.Package(t, "deb", "hello", "1.0.0", "amd64", "one"))
	if _, err := carryOut(t, one, o); err != nil {
		t.Fatal(err)
	}
	before := read(t, o.Dir.Path, "dists/stable/InRelease")
	other := publishtest.Dist(t, nil, publishtest.Package(t, "deb", "hello", "1.0.0", "amd64", "another"), publishtest.Package(t, "deb", "a-new-one", "1.0.0", "amd64", "x"))
	_, err := carryOut(t, other, o)
	if fault.ClassOf(err) != fault.Usage || !strings.Contains(err.Error(), "the suite has another hello 1.0.0-1 amd64") {
		t.Errorf("%v", err)
	}
	o.Suite = "testing" // the pool is shared
	if _, err := carryOut(t, other, o); fault.ClassOf(err) != fault.Usage || !strings.Contains(err.Error(), "the pool has another file") {
		t.Errorf("%v", err)
	}
	o.Suite = "stable"
	stranger := o
	private, _ := publishtest.Key(t)
	stranger.Signer = publishtest.Signer(t, private)
	if _, err := carryOut(t, one, stranger); fault.ClassOf(err) != fault.Usage || !strings.Contains(err.Error(), "is signed by another key") {
		t.Errorf("%v", err)
	}
	stranger.Signer = nil
	if _, err := carryOut(t, one, stranger); fault.ClassOf(err) != fault.Usage || !strings.Contains(err.Error(), "is signed, and would no longer be") {
		t.Errorf("%v", err)
	}
	if read(t, o.Dir.Path, "dists/stable/InRelease") != before {
		t.Error("the repository changed")
	}
	if _, err := os.Stat(filepath.Join(o.Dir.Path, "pool/main/a")); err == nil {
		t.Error("a package was added before the conflict was found")
	}
}

func TestDirectoriesThatAreNotRepositories(t *testing.T) {
	one := publishtest.Dist(t, nil, publishtest.Package(t, "deb", "hello", "1.0.0", "amd64", "one"))
	o := options(t)
	o.Dir.Path = filepath.Dir(one) // contains dist
	if _, err := carryOut(t, one, o); fault.ClassOf(err) != fault.Usage || !strings.Contains(err.Error(), "is not a repository") {
		t.Errorf("%v", err)
	}
	o = options(t)
	if _, err := carryOut(t, one, o); err != nil {
		t.Fatal(err)
	}
	name := filepath.Join(o.Dir.Path, "dists/stable/InRelease")
	data := []byte(read(t, name))
	if err := os.WriteFile(name, bytes.Replace(data, []byte("Components: main"), []byte("Components: evil"), 1), 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := carryOut(t, one, o); fault.ClassOf(err) != fault.Verify || !strings.Contains(err.Error(), "is damaged") {
		t.Errorf("%v", err)
	}
}

// TestLostFile: a package that the index names but the pool lost is added again.
func TestLostFile(t *testing.T) {
	o := options(t)
	one := publishtest.Dist(t, nil, publishtest.Package(t, "deb", "hello", "1.0.0", "amd64", "one"))
	if _, err := carryOut(t, one, o); err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(filepath.Join(o.Dir.Path, "pool/main/h/hello/hello_1.0.0-1_amd64.deb")); err != nil {
		t.Fatal(err)
	}
	p, err := carryOut(t, one, o)
	if err != nil || p.Changes[0].State != publish.Add || len(visible(t, o)) != 1 {
		t.Errorf("%+v, %v", p, err)
	}
}

// TestOldIndexesAreRemoved: those of readers stay for a day.
func TestOldIndexesAreRemoved(t *testing.T) {
	o := options(t)
	now := time.Now()
	o.Now = func() time.Time { return now }
	count := func() int {
		all, err := os.ReadDir(filepath.Join(o.Dir.Path, "dists/stable/main/binary-amd64/by-hash/SHA256"))
		if err != nil {
			t.Fatal(err)
		}
		return len(all)
	}
	for i, version := range []string{"1.0.0", "2.0.0", "3.0.0"} {
		if i == 2 {
			now = now.Add(25 * time.Hour)
		}
		if _, err := carryOut(t, publishtest.Dist(t, nil, publishtest.Package(t, "deb", "hello", version, "amd64", "x")), o); err != nil {
			t.Fatal(err)
		}
		if want := []int{3, 6, 3}[i]; count() != want {
			t.Errorf("%s: %d indexes, not %d", version, count(), want)
		}
	}
}
