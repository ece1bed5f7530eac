// Package debiantest serves a small archive of Debian's form on the loopback interface, for
// tests. Its index is signed with a key made for it.
package debiantest

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/ProtonMail/go-crypto/openpgp/armor"
	"github.com/ProtonMail/go-crypto/openpgp/clearsign"
	"github.com/ProtonMail/go-crypto/openpgp/packet"
	openpgp "github.com/ProtonMail/go-crypto/openpgp/v2"
)

// Archive is the archive. Its fields may be changed between requests.
type Archive struct {
	URL     string
	Key     *openpgp.Entity
	Suites  map[string]*Suite
	Replace map[string][]byte // path -> what is served instead

	mu    sync.Mutex
	asked []string
}

// Suite is one suite.
type Suite struct {
	Arch       string
	Date       time.Time
	ValidUntil time.Time // zero for none
	Named      string    // in the index; "" for its own name
	Packages   []Package
}

// Package is a binary package.
type Package struct {
	Name, Version, Depends string
	Deb                    []byte
}

// Serve serves the archive until the test ends.
func Serve(t *testing.T, suites map[string]*Suite) *Archive {
	t.Helper()
	key, err := openpgp.NewEntity("archive", "", "archive@example.org", &packet.Config{
		Algorithm: packet.PubKeyAlgoEdDSA, Time: func() time.Time { return time.Now().Add(-1000 * time.Hour) },
	})
	if err != nil {
		t.Fatal(err)
	}
	a := &Archive{Key: key, Suites: suites, Replace: map[string][]byte{}}
	server := httptest.NewServer(http.HandlerFunc(a.serve))
	t.Cleanup(server.Close)
	a.URL = server.URL + "/debian"
	return a
}

// Armored returns the public key.
func (a *Archive) Armored(t *testing.T) string {
	t.Helper()
	var b bytes.Buffer
	w, err := armor.Encode(&b, openpgp.PublicKeyType, nil)
	if err == nil {
		err = a.Key.Serialize(w)
	}
	if err == nil {
		err = w.Close()
	}
	if err != nil {
		t.Fatal(err)
	}
	return b.String()
}

// Asked returns the paths that were asked for.
func (a *Archive) Asked() []string {
	a.mu.Lock()
	defer a.mu.Unlock()
	return append([]string(nil), a.asked...)
}

func (a *Archive) serve(w http.ResponseWriter, r *http.Request) {
	path := strings.TrimPrefix(r.URL.Path, "/debian/")
	a.mu.Lock()
	defer a.mu.Unlock()
	a.asked = append(a.asked, path)
	data, ok := a.Replace[path]
	if !ok {
		data, ok = a.Files()[path]
	}
	if !ok {
		http.NotFound(w, r)
		return
	}
	_, _ = w.Write(data)
}

// Files returns all files of the archive.
func (a *Archive) Files() map[string][]byte {
	files := map[string][]byte{}
	for name, s := range a.Suites {
		var index strings.Builder
		for _, p := range s.Packages {
			path := PathOf(p, s.Arch)
			files[path] = p.Deb
			fmt.Fprintf(&index, "Package: %s\nVersion: %s\nArchitecture: %s\nDepends: %s\nFilename: %s\nSize: %d\nSHA256: %s\n\n", p.Name, p.Version, s.Arch, p.Depends, path, len(p.Deb), Sum(p.Deb))
		}
		packages := Gzip([]byte(index.String()))
		at := "dists/" + name + "/main/binary-" + s.Arch
		files[at+"/Packages.gz"] = packages
		files[at+"/by-hash/SHA256/"+Sum(packages)] = packages
		files["dists/"+name+"/InRelease"] = a.release(name, s, packages)
	}
	return files
}

// PathOf returns the path of a package in the pool, in which versions have no epoch.
func PathOf(p Package, arch string) string {
	_, version, epoch := strings.Cut(p.Version, ":")
	if !epoch {
		version = p.Version
	}
	return "pool/main/" + p.Name[:1] + "/" + p.Name + "/" + p.Name + "_" + version + "_" + arch + ".deb"
}

// release returns the signed index of a suite.
func (a *Archive) release(name string, s *Suite, packages []byte) []byte {
	if s.Named != "" {
		name = s.Named
	}
	text := "Origin: Debian\nSuite: some-suite\nCodename: " + name + "\nDate: " + s.Date.UTC().Format("Mon, 02 Jan 2006 15:04:05 UTC") + "\n"
	if !s.ValidUntil.IsZero() {
		text += "Valid-Until: " + s.ValidUntil.UTC().Format("Mon, 02 Jan 2006 15:04:05 UTC") + "\n"
	}
	text += fmt.Sprintf("Acquire-By-Hash: yes\nMD5Sum:\n 00 1 main/x\nSHA256:\n %s %8d main/binary-%s/Packages.gz\n", Sum(packages), len(packages), s.Arch)
	return Sign(a.Key, text)
}

// Sign returns a text with a signature.
func Sign(key *openpgp.Entity, text string) []byte {
	var b bytes.Buffer
	w, err := clearsign.Encode(&b, key.PrivateKey, &packet.Config{Time: func() time.Time { return time.Now().Add(-time.Hour) }})
	if err != nil {
		panic(err)
	}
	_, _ = w.Write([]byte(text))
	if err := w.Close(); err != nil {
		panic(err)
	}
	return append(b.Bytes(), '\n')
}

// Sum returns a SHA-256.
func Sum(data []byte) string {
	sum := sha256.Sum256(data)
	return hex.EncodeToString(sum[:])
}

// Gzip compresses data.
func Gzip(data []byte) []byte {
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	_, _ = z.Write(data)
	_ = z.Close()
	return b.Bytes()
}

// Deb returns a binary package with files and links: the contents of a link begin with
// "-> ".
func Deb(files map[string]string) []byte { return WithControl(nil, files) }

// WithControl returns a binary package with control files as well: "control", "symbols".
func WithControl(control, files map[string]string) []byte {
	var ar bytes.Buffer
	ar.WriteString("!<arch>\n")
	for _, m := range []struct {
		name string
		data []byte
	}{{"debian-binary", []byte("2.0\n")}, {"control.tar.gz", Gzip(archive(control))}, {"data.tar.gz", Gzip(archive(files))}} {
		fmt.Fprintf(&ar, "%-16s%-12d%-6d%-6d%-8s%-10d`\n", m.name, 0, 0, 0, "100644", len(m.data))
		ar.Write(m.data)
		if len(m.data)%2 == 1 {
			ar.WriteByte('\n')
		}
	}
	return ar.Bytes()
}

// archive returns a tar file.
func archive(files map[string]string) []byte {
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for name, data := range files {
		h := &tar.Header{Name: "./" + name, Mode: 0o644, Typeflag: tar.TypeReg, Size: int64(len(data))}
		if to, ok := strings.CutPrefix(data, "-> "); ok {
			h.Typeflag, h.Linkname, h.Size, data = tar.TypeSymlink, to, 0, ""
		}
		_ = w.WriteHeader(h)
		_, _ = w.Write([]byte(data))
	}
	_ = w.Close()
	return b.Bytes()
}
