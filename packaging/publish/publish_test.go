package publish_test

import (
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"modwsgi/internal/fault"
	"modwsgi/packaging/publish"
	"modwsgi/packaging/publish/publishtest"
	"modwsgi/packaging/sign"
)

// place is a destination in memory.
type place struct {
	name      string
	plan      publish.Plan
	planErr   error
	published *[]string
	closed    bool
}

func (p *place) Address() string                             { return p.name }
func (p *place) Plan(context.Context) (*publish.Plan, error) { return &p.plan, p.planErr }
func (p *place) Close()                                      { p.closed = true }
func (p *place) Publish(_ context.Context, done func(publish.Change)) error {
	*p.published = append(*p.published, p.name)
	done(publish.Change{Name: p.name})
	return nil
}

func TestRun(t *testing.T) {
	boom := errors.New("boom")
	for name, c := range map[string]struct {
		second publish.State
		err    error
		dry    bool
		want   string
		class  fault.Class
	}{
		"both":     {publish.Add, nil, false, "one two", 0},
		"present":  {publish.Present, nil, false, "one", 0},
		"conflict": {publish.Conflict, nil, false, "", fault.Usage},
		"failure":  {publish.Add, boom, false, "", fault.Internal},
		"dry run":  {publish.Add, nil, true, "", 0},
	} {
		var published []string
		one := &place{name: "one", plan: publish.Plan{Changes: []publish.Change{{Name: "a", State: publish.Add}}}, published: &published}
		two := &place{name: "two", plan: publish.Plan{Changes: []publish.Change{{Name: "b", State: c.second, Reason: "other"}}}, planErr: c.err, published: &published}
		_, err := publish.Run(t.Context(), []publish.Destination{one, two}, publish.Options{
			Dry: c.dry, Step: func(_ string, do func() error) error { return do() }, Done: func(publish.Change) {},
		})
		if got := strings.Join(published, " "); got != c.want || (err == nil) != (c.class == 0 && c.err == nil) || err != nil && fault.ClassOf(err) != c.class {
			t.Errorf("%s: published %q, %v", name, got, err)
		}
		if !one.closed || !two.closed {
			t.Errorf("%s: a destination is not closed", name)
		}
	}
}

func TestOpen(t *testing.T) {
	private, public := publishtest.Key(t)
	_, stranger := publishtest.Key(t)
	signers := []sign.Signer{publishtest.Signer(t, private)}
	files := []publishtest.File{publishtest.Wheel(t, "a", "1.0", "", "x"), publishtest.Wheel(t, "b", "1.0", "", "x")}
	set, err := publish.Open(publishtest.Dist(t, signers, files...), sign.VerifyKeys{OpenPGP: public}, []string{"b-*"})
	if err != nil || len(set.Artifacts) != 1 || set.Artifacts[0].Project != "b" {
		t.Fatalf("%+v, %v", set, err)
	}
	set.Close()
	for name, c := range map[string]struct {
		change func(dir string) error
		key    string
		only   []string
		class  fault.Class
		text   string
	}{
		"another key":  {nil, stranger, nil, fault.Verify, "unknown key"},
		"no signature": {func(dir string) error { return os.Remove(filepath.Join(dir, "SHA256SUMS.asc")) }, public, nil, fault.Verify, "cannot be read"},
		"changed sums": {func(dir string) error {
			data, err := os.ReadFile(filepath.Join(dir, "SHA256SUMS"))
			if err != nil {
				return err
			}
			return os.WriteFile(filepath.Join(dir, "SHA256SUMS"), append(data, data...), 0o644)
		}, public, nil, fault.Verify, "is not valid"},
		"added file":    {func(dir string) error { return os.WriteFile(filepath.Join(dir, "x"), nil, 0o644) }, "", nil, fault.Verify, "x is not listed"},
		"removed file":  {func(dir string) error { return os.Remove(filepath.Join(dir, files[0].Artifact.Name)) }, "", nil, fault.Verify, "is missing"},
		"no sums":       {func(dir string) error { return os.Remove(filepath.Join(dir, "SHA256SUMS")) }, "", nil, fault.Usage, "has no SHA256SUMS"},
		"bad pattern":   {nil, "", []string{"["}, fault.Usage, "is not a pattern"},
		"not a key":     {nil, filepath.Join(filepath.Dir(public), "private.asc"), nil, fault.Usage, "is not a usable public key"},
		"no such match": {nil, "", []string{"c*"}, fault.Usage, "matches --only c*"},
	} {
		dir := publishtest.Dist(t, signers, files...)
		if c.change != nil {
			if err := c.change(dir); err != nil {
				t.Fatal(err)
			}
		}
		_, err := publish.Open(dir, sign.VerifyKeys{OpenPGP: c.key}, c.only)
		if name == "not a key" && err == nil { // a private key contains the public one
			continue
		}
		if fault.ClassOf(err) != c.class || !strings.Contains(err.Error(), c.text) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestCheckedFile: the last bytes of a file that changed are not returned.
func TestCheckedFile(t *testing.T) {
	f := publishtest.Wheel(t, "a", "1.0", "", "x")
	dir := publishtest.Dist(t, nil, f)
	set, err := publish.Open(dir, sign.VerifyKeys{}, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer set.Close()
	for _, change := range []func([]byte) []byte{
		func(b []byte) []byte { return b },
		func(b []byte) []byte { b[0] ^= 1; return b },
		func(b []byte) []byte { return b[:len(b)-1] },
		func(b []byte) []byte { return append(b, 'x') },
	} {
		data := change(append([]byte{}, f.Data...))
		if err := os.WriteFile(filepath.Join(dir, f.Artifact.Name), data, 0o644); err != nil {
			t.Fatal(err)
		}
		open, err := set.Open(f.Artifact.Name)
		if err != nil {
			t.Fatal(err)
		}
		got, err := io.ReadAll(open.Checked())
		_ = open.Close()
		if same := string(data) == string(f.Data); same != (err == nil) || !same && len(got) >= len(data) {
			t.Errorf("%d of %d bytes, %v", len(got), len(data), err)
		}
	}
}
