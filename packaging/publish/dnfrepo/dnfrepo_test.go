package dnfrepo

import (
	"encoding/xml"
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
	o.Now = time.Now
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

// visible reads the repository as dnf does, checks that nothing is missing or changed, and
// returns the number of packages in each index.
func visible(t *testing.T, o Options) (count int) {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(o.Dir.Path, repomdName))
	if errors.Is(err, os.ErrNotExist) {
		return 0
	}
	if err != nil {
		t.Fatal(err)
	}
	var md repomd
	if err := xml.Unmarshal(data, &md); err != nil {
		t.Fatal(err)
	}
	for _, d := range md.Data {
		index, err := os.ReadFile(filepath.Join(o.Dir.Path, d.Location.Href))
		if err != nil || digest.Bytes(index) != d.Checksum.Sum {
			t.Errorf("%s: %v", d.Location.Href, err)
			continue
		}
		text, err := expand(index, d.Location.Href)
		if err != nil {
			t.Fatal(err)
		}
		_, elements, err := split(text, "package")
		if err != nil || d.Type != "primary" && derived.MatchString(d.Type) && len(elements) != count {
			t.Errorf("%s has %d packages, not %d: %v", d.Type, len(elements), count, err)
		}
		if d.Type != "primary" {
			continue
		}
		count = len(elements)
		for _, e := range elements {
			k, _, err := readPrimary(e)
			if err != nil {
				t.Fatal(err)
			}
			if rpm, err := os.ReadFile(filepath.Join(o.Dir.Path, k.href)); err != nil || digest.Bytes(rpm) != k.id {
				t.Errorf("%s: %v", k.href, err)
			}
		}
	}
	return count
}

func options(t *testing.T) Options {
	private, _ := publishtest.Key(t)
	return Options{Dir: repodir.Options{Path: filepath.Join(t.TempDir(), "dnf")}, Signer: publishtest.Signer(t, private)}
}

// TestInterruptedEverywhere ends a run before each file appears. A reader sees the old
// repository or the new one, and the same command completes.
func TestInterruptedEverywhere(t *testing.T) {
	one := publishtest.Dist(t, nil, publishtest.Package(t, "rpm", "hello", "1.0.0", "x86_64", "one"))
	two := publishtest.Dist(t, nil, publishtest.Package(t, "rpm", "hello", "2.0.0", "x86_64", "two"), publishtest.Package(t, "rpm", "more", "2.0.0", "noarch", "two"))
	boom := errors.New("boom")
	for at := 0; ; at++ {
		o := options(t)
		if at%2 == 0 {
			if _, err := carryOut(t, one, o); err != nil {
				t.Fatal(err)
			}
		}
		before, n := visible(t, o), 0
		o.Dir.Appears = func(string) error {
			if n++; n > at {
				return boom
			}
			return nil
		}
		_, err := carryOut(t, two, o)
		if err == nil {
			if at < 7 {
				t.Errorf("only %d files", at)
			}
			return
		}
		if !errors.Is(err, boom) || fault.ClassOf(err) != fault.Environment {
			t.Fatal(err)
		}
		if after := visible(t, o); after != before {
			t.Errorf("%d: %d packages, before %d", at, after, before)
		}
		o.Dir.Appears = nil
		if _, err := carryOut(t, two, o); err != nil || visible(t, o) != before+2 {
			t.Errorf("again after %d: %v, %d", at, err, visible(t, o))
		}
		md := read(t, o.Dir.Path, repomdName)
		if err := o.Signer.VerifyDetached([]byte(md), []byte(read(t, o.Dir.Path, repomdName+".asc"))); err != nil {
			t.Error(err)
		}
	}
}

func read(t *testing.T, parts ...string) string {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(parts...))
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

func TestConflicts(t *testing.T) {
	o := options(t)
	one := publishtest.Dist(t, nil, publishtest.Package(t, "rpm", "hello", "1.0.0", "x86_64", "one"))
	if _, err := carryOut(t, one, o); err != nil {
		t.Fatal(err)
	}
	if p, err := carryOut(t, one, o); err != nil || p.Pending() {
		t.Errorf("again: %+v, %v", p, err)
	}
	before := read(t, o.Dir.Path, repomdName)
	other := publishtest.Dist(t, nil, publishtest.Package(t, "rpm", "hello", "1.0.0", "x86_64", "another"), publishtest.Package(t, "rpm", "a-new-one", "1.0.0", "x86_64", "x"))
	if _, err := carryOut(t, other, o); fault.ClassOf(err) != fault.Usage || !strings.Contains(err.Error(), "has another hello-0:1.0.0-1.x86_64") {
		t.Errorf("%v", err)
	}
	stranger := o
	private, _ := publishtest.Key(t)
	stranger.Signer = publishtest.Signer(t, private)
	if _, err := carryOut(t, other, stranger); fault.ClassOf(err) != fault.Usage || !strings.Contains(err.Error(), "is signed by another key") {
		t.Errorf("%v", err)
	}
	stranger.Signer = nil
	if _, err := carryOut(t, other, stranger); fault.ClassOf(err) != fault.Usage || !strings.Contains(err.Error(), "would no longer be") {
		t.Errorf("%v", err)
	}
	if all, _ := os.ReadDir(filepath.Join(o.Dir.Path, "Packages")); len(all) != 1 || read(t, o.Dir.Path, repomdName) != before {
		t.Error("the repository changed")
	}
}

// TestOtherDataStays: groups and updates are kept as they are; databases, which would be
// out of date, are not.
func TestOtherDataStays(t *testing.T) {
	o := options(t)
	o.Signer = nil
	if _, err := carryOut(t, publishtest.Dist(t, nil, publishtest.Package(t, "rpm", "hello", "1.0.0", "x86_64", "one")), o); err != nil {
		t.Fatal(err)
	}
	group := "<data type=\"group\">\n    <checksum type=\"sha256\">" + digest.Bytes([]byte("<comps/>")) + "</checksum>\n    <location href=\"repodata/comps.xml\"/>\n  </data>"
	database := strings.ReplaceAll(strings.ReplaceAll(group, "group", "primary_db"), "comps.xml", "primary.sqlite.gz")
	name := filepath.Join(o.Dir.Path, repomdName)
	if err := os.WriteFile(name, []byte(strings.Replace(read(t, name), "</repomd>", "  "+group+"\n  "+database+"\n</repomd>", 1)), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(o.Dir.Path, "repodata/comps.xml"), []byte("<comps/>"), 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := carryOut(t, publishtest.Dist(t, nil, publishtest.Package(t, "rpm", "hello", "2.0.0", "x86_64", "two")), o); err != nil {
		t.Fatal(err)
	}
	if text := read(t, name); !strings.Contains(text, group) || strings.Contains(text, "primary_db") || visible(t, o) != 2 {
		t.Error(text)
	}
}

// TestDamagedPackages: no file of any content makes the reader of headers fail in another
// way than with an error.
func TestDamagedPackages(t *testing.T) {
	f := publishtest.Package(t, "rpm", "hello", "1.0.0", "x86_64", "one")
	if _, err := readRPM(strings.NewReader(string(f.Data))); err != nil {
		t.Fatal(err)
	}
	for i := range min(len(f.Data), 3000) {
		changed := append([]byte{}, f.Data...)
		changed[i] ^= 0xff
		if p, err := readRPM(strings.NewReader(string(changed))); err == nil {
			p.entries(place{})
		}
		_, _ = readRPM(strings.NewReader(string(f.Data[:i])))
	}
}
