package toolrelease

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"modwsgi/packaging/sign"
)

const commit = "0123456789abcdef0123456789abcdef01234567"

// realDist is a release with one real program, which the go command builds.
func realDist(t *testing.T) (string, Source) {
	t.Helper()
	exe := filepath.Join(t.TempDir(), "mod_wsgi-apxs")
	if out, err := exec.Command("go", "build", "-buildvcs=false", "-o", exe, "modwsgi/cmd/mod_wsgi-apxs").CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	own, err := os.ReadFile(exe)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	for _, p := range Platforms {
		ext := map[bool]string{true: ".zip", false: ".tar.gz"}[p.OS == "windows"]
		archive(t, filepath.Join(dir, "modwsgi_1.2.3_"+p.OS+"_"+p.Arch+ext), map[string][]byte{"mod_wsgi-apxs": own})
	}
	wheel := filepath.Join(dir, "x.zip")
	archive(t, wheel, map[string][]byte{"modwsgi-1.2.3.data/scripts/mod_wsgi-apxs": own})
	if err := os.Rename(wheel, filepath.Join(dir, "modwsgi-1.2.3-py3-none-win_amd64.whl")); err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(dir, "modwsgi_1.2.3_amd64.deb"), "deb")
	write(t, filepath.Join(dir, "bootstrap.sh"), "#!/bin/sh\n")
	write(t, filepath.Join(dir, SumsName), "")
	write(t, filepath.Join(dir, "metadata.json"), "{}")
	write(t, filepath.Join(dir, "modwsgi_linux_amd64_v1", "modwsgi"), "program")
	extras := t.TempDir()
	return dir, Source{
		Commit: commit, Repository: "https://example.org/modwsgi",
		Modules: write(t, filepath.Join(extras, ModulesName), `[{"path":"github.com/CycloneDX/cyclonedx-go","version":"v0.12.0","license":"Apache-2.0"}]`),
		Tools:   write(t, filepath.Join(extras, "go.mod"), "module x\n\nrequire (\n\tgithub.com/goreleaser/goreleaser/v2 v2.15.1 // indirect\n)\n"),
	}
}

func TestProvenance(t *testing.T) {
	dir, from := realDist(t)
	if _, err := Finish(t.Context(), dir, from, sign.Keys{}, time.Now); err != nil {
		t.Fatal(err)
	}
	for name, modules := range map[string]bool{
		"modwsgi_1.2.3_linux_amd64.tar.gz": true, "modwsgi_1.2.3_windows_arm64.zip": true, "modwsgi-1.2.3-py3-none-win_amd64.whl": true,
		"modwsgi_1.2.3_amd64.deb": true, "bootstrap.sh": false,
	} {
		var s struct {
			Subject   []struct{ Name string }
			Predicate struct {
				BuildDefinition struct {
					ResolvedDependencies []struct {
						Name, URI   string
						Digest      map[string]string
						Annotations map[string]string
					}
					InternalParameters map[string]string
				}
			}
		}
		data, err := os.ReadFile(filepath.Join(dir, name+".intoto.json"))
		if err == nil {
			err = json.Unmarshal(data, &s)
		}
		if err != nil {
			t.Fatal(err)
		}
		d := s.Predicate.BuildDefinition
		deps := d.ResolvedDependencies
		at := slices.IndexFunc(deps, func(d struct {
			Name, URI   string
			Digest      map[string]string
			Annotations map[string]string
		},
		) bool {
			return d.Name == "modwsgi"
		})
		if len(s.Subject) != 1 || s.Subject[0].Name != name || at < 0 || deps[at].URI != "git+https://example.org/modwsgi" || deps[at].Digest["gitCommit"] != commit ||
			d.InternalParameters["goreleaser"] != "github.com/goreleaser/goreleaser/v2 v2.15.1" {
			t.Errorf("%s: %s", name, data)
		}
		if linked := strings.Contains(string(data), `"sum": "h1:`); linked != modules || modules != (d.InternalParameters["go"] != "") {
			t.Errorf("%s: modules %v, %v", name, linked, d.InternalParameters)
		}
	}
	if data, err := os.ReadFile(filepath.Join(dir, "modwsgi-1.2.3-py3-none-win_amd64.whl.cdx.json")); err != nil || !strings.Contains(string(data), "program:mod_wsgi-apxs") {
		t.Errorf("the wheel's bill of materials: %v %s", err, data)
	}
	if _, err := os.Stat(filepath.Join(dir, "metadata.json.intoto.json")); err == nil {
		t.Error("the release tool's note got a statement")
	}
	for _, bad := range []string{"", "HEAD", "0123456", commit + "; rm -rf /"} {
		from.Commit = bad
		if _, err := Finish(t.Context(), dir, from, sign.Keys{}, time.Now); err == nil {
			t.Errorf("%q was taken as a commit", bad)
		}
	}
}

func TestSignAndSweep(t *testing.T) {
	dir, from := realDist(t)
	if err := os.Remove(filepath.Join(dir, SumsName)); err != nil {
		t.Fatal(err)
	}
	if _, err := Finish(t.Context(), dir, from, sign.Keys{}, time.Now); err == nil {
		t.Error("signed without sums")
	}
	write(t, filepath.Join(dir, SumsName), "")
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	file := write(t, filepath.Join(t.TempDir(), "key.pem"), string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})))
	if err := os.Chmod(file, 0o600); err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(dir, SumsName+".minisig"), "of an earlier run")
	names, err := Finish(t.Context(), dir, from, sign.Keys{ECDSA: file}, time.Now)
	if err != nil || !slices.Equal(names, []string{SumsName + ".sig"}) {
		t.Fatalf("%v, %v", names, err)
	}
	before, _ := os.ReadFile(filepath.Join(dir, SumsName+".sig"))
	if _, err := Finish(t.Context(), dir, from, sign.Keys{ECDSA: file + "x"}, time.Now); err == nil {
		t.Error("signed with a key that is not there")
	}
	if after, _ := os.ReadFile(filepath.Join(dir, SumsName+".sig")); string(after) != string(before) {
		t.Error("the signature was removed without a new one")
	}
	if err := Sweep(dir); err != nil {
		t.Fatal(err)
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var left []string
	for _, e := range entries {
		left = append(left, e.Name())
	}
	sums, err := sumsIn(t, dir)
	if err != nil || len(left) != len(sums)+2 || slices.Contains(left, "metadata.json") || slices.Contains(left, "modwsgi_linux_amd64_v1") || slices.Contains(left, SumsName+".minisig") {
		t.Errorf("%v, %v", left, err)
	}
}
