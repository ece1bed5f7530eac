package remote

import (
	"bytes"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"

	"modwsgi/internal/buildcache"
	"modwsgi/internal/fault"
	"modwsgi/internal/owned"
	"modwsgi/internal/version"
)

// The parts of an artifact (OCI image manifest, with artifactType).
const (
	manifestType = "application/vnd.oci.image.manifest.v1+json"
	artifactType = "application/vnd.modwsgi.build.v1"
	configType   = "application/vnd.modwsgi.build.manifest.v1+json"
	treeType     = "application/vnd.modwsgi.build.tree.v1.tar+zstd"

	keyNote       = "dev.modwsgi.cache.key"
	signerNote    = "dev.modwsgi.cache.signer"    // fingerprint of the public key
	signatureNote = "dev.modwsgi.cache.signature" // base64 of the Ed25519 signature
	formatNote    = "dev.modwsgi.cache.format"    // of the envelope and of the entry's manifest, "2.3"
	builtNote     = "dev.modwsgi.cache.built"     // when the entry was built, RFC 3339 in UTC
	toolNote      = "dev.modwsgi.cache.tool"      // version of modwsgi that built it
	titleNote     = "org.opencontainers.image.title"
)

// Size limits for data from a shared cache.
const (
	maxManifest = 64 << 10
	maxConfig   = 8 << 20
	maxLayer    = 1 << 30
)

// descriptor names a blob.
type descriptor struct {
	MediaType string `json:"mediaType"`
	Digest    string `json:"digest"`
	Size      int64  `json:"size"`
}

// artifact is the manifest. Its JSON has only one form: the bytes that are read must be
// those that these fields encode to, so that it contains nothing unsigned.
type artifact struct {
	SchemaVersion int               `json:"schemaVersion"`
	MediaType     string            `json:"mediaType"`
	ArtifactType  string            `json:"artifactType"`
	Config        descriptor        `json:"config"`
	Layers        []descriptor      `json:"layers"`
	Annotations   map[string]string `json:"annotations"`
}

// signedText returns the text to sign: the manifest without the signature, prefixed with
// a name that no other signature uses.
func signedText(key string, a artifact) ([]byte, error) {
	a.Annotations = maps.Clone(a.Annotations)
	delete(a.Annotations, signatureNote)
	data, err := json.Marshal(a)
	return append([]byte("modwsgi build cache entry, version 2\n"+key+"\n"), data...), err
}

// Signer signs entries.
type Signer struct {
	key  ed25519.PrivateKey
	name string
}

// Fingerprint returns the SHA-256 of the public key's DER form, in hex.
func (s *Signer) Fingerprint() string { return s.name }

// seal signs a manifest and the time when the entry was built: signatures do not expire,
// and a registry can serve an old entry for ever.
func (s *Signer) seal(key string, a artifact, built time.Time) ([]byte, error) {
	a.SchemaVersion, a.MediaType, a.ArtifactType = 2, manifestType, artifactType
	a.Annotations = maps.Clone(a.Annotations)
	a.Annotations[keyNote], a.Annotations[signerNote] = key, s.name
	a.Annotations[formatNote], a.Annotations[toolNote] = envelope, version.Release
	a.Annotations[builtNote] = built.UTC().Format(time.RFC3339)
	text, err := signedText(key, a)
	if err != nil {
		return nil, err
	}
	a.Annotations[signatureNote] = base64.StdEncoding.EncodeToString(ed25519.Sign(s.key, text))
	return json.Marshal(a)
}

// envelope is the format of what is signed: of the manifest's annotations, and of the
// entry's own manifest.
var envelope = fmt.Sprintf("2.%d", buildcache.Schema)

// errOtherFormat is an entry of another version of modwsgi, or from before entries had a
// time. It counts as missing, not as damaged.
var errOtherFormat = fmt.Errorf("it is in the format of another version of modwsgi: %w", errMissing)

// clock is how far the clocks of two machines may differ.
const clock = time.Hour

// Age limits how old an entry may be. An older entry is built again and replaced.
type Age struct {
	Max       time.Duration    // since it was built; 0 for DefaultMaxAge, negative for no limit
	NotBefore time.Time        // entries built earlier are rejected; zero for no such time
	Now       func() time.Time // nil is time.Now
}

// DefaultMaxAge is how long an entry is accepted after it was built.
const DefaultMaxAge = 30 * 24 * time.Hour

// tooOld returns why an entry built at a time is rejected, or "".
func (a Age) tooOld(built time.Time) string {
	now := time.Now
	if a.Now != nil {
		now = a.Now
	}
	limit := a.Max
	if limit == 0 {
		limit = DefaultMaxAge
	}
	switch age := now().Sub(built); {
	case built.IsZero():
		return "it does not say when it was built"
	case age < -clock:
		return fmt.Sprintf("its build time is in the future: %s", built.Format(time.RFC3339))
	case built.Before(a.NotBefore):
		return fmt.Sprintf("it was built on %s, before %s (--cache-not-before)", built.Format(time.RFC3339), a.NotBefore.Format(time.RFC3339))
	case limit > 0 && age > limit:
		return fmt.Sprintf("it was built on %s, which is longer ago than %s (--cache-max-age)", built.Format(time.RFC3339), days(limit))
	}
	return ""
}

func days(d time.Duration) string {
	if d >= 48*time.Hour && d%(24*time.Hour) == 0 {
		return fmt.Sprintf("%d days", d/(24*time.Hour))
	}
	return d.String()
}

// Trust is a set of public keys.
type Trust struct{ keys map[string]ed25519.PublicKey }

func (t *Trust) empty() bool { return t == nil || len(t.keys) == 0 }

// open checks a manifest that was found under a key.
func (t *Trust) open(key string, raw []byte) (*artifact, error) {
	no := func(format string, args ...any) (*artifact, error) {
		return nil, &Refused{key, fmt.Sprintf(format, args...)}
	}
	var a artifact
	if err := json.Unmarshal(raw, &a); err != nil {
		return no("its manifest is not JSON in modwsgi's format")
	}
	again, err := json.Marshal(a)
	if err != nil || !bytes.Equal(raw, again) {
		return no("its manifest contains something that is not signed")
	}
	if a.Annotations[formatNote] != envelope && a.MediaType == manifestType {
		return nil, errOtherFormat
	}
	signature, err := base64.StdEncoding.DecodeString(a.Annotations[signatureNote])
	if err != nil || len(signature) == 0 {
		return no("it is not signed")
	}
	name := a.Annotations[signerNote]
	public, known := t.keys[name]
	if !known {
		return no("it is signed by a key that is not trusted (%.16s)", printable(name))
	}
	text, err := signedText(key, a)
	if err != nil || !ed25519.Verify(public, text, signature) {
		if a.Annotations[keyNote] != key {
			return no("it was made for another key")
		}
		return no("its manifest is not the one that was signed")
	}
	if a.Annotations[keyNote] != key {
		return no("it was made for another key")
	}
	if a.SchemaVersion != 2 || a.MediaType != manifestType || a.ArtifactType != artifactType || len(a.Layers) != 1 ||
		!a.Config.is(configType, maxConfig) || !a.Layers[0].is(treeType, maxLayer) {
		return no("its manifest is of a kind unknown to this version")
	}
	if built := a.built(); built.IsZero() {
		return no("it does not say when it was built")
	}
	return &a, nil
}

// built returns the signed time; zero if it is invalid.
func (a *artifact) built() time.Time {
	at, err := time.Parse(time.RFC3339, a.Annotations[builtNote])
	if err != nil || at.UTC().Format(time.RFC3339) != a.Annotations[builtNote] {
		return time.Time{}
	}
	return at
}

var digestForm = regexp.MustCompile(`^sha256:[0-9a-f]{64}$`)

func (d descriptor) is(mediaType string, most int64) bool {
	return d.MediaType == mediaType && digestForm.MatchString(d.Digest) && d.Size >= 0 && d.Size <= most
}

func printable(s string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r > '~' {
			return '?'
		}
		return r
	}, s)
}

// ReadSigner reads a private key: Ed25519, PKCS #8 in PEM (RFC 5958, RFC 7468), as
// "openssl genpkey -algorithm ed25519" writes it. text is the PEM itself or the name of a
// file with it, which only its owner may be able to read.
func ReadSigner(text, dir string) (*Signer, error) {
	const hint = "make one with modwsgi cache keygen, or with openssl genpkey -algorithm ed25519"
	data, from, err := pemOrFile(text, dir, true)
	if err != nil {
		return nil, fault.New(fault.Usage, fault.HintOr(err, hint), "read the key to sign with: %w", err)
	}
	block, _ := pem.Decode(data)
	if block == nil || block.Type != "PRIVATE KEY" {
		return nil, fault.New(fault.Usage, hint, "read the key to sign with: %s has no private key in PEM", from)
	}
	parsed, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	key, ok := parsed.(ed25519.PrivateKey)
	if err != nil || !ok {
		return nil, fault.New(fault.Usage, hint, "read the key to sign with: %s has no Ed25519 key", from)
	}
	name, err := fingerprint(key.Public().(ed25519.PublicKey))
	return &Signer{key: key, name: name}, err
}

// maxKey is the maximum size of a file of keys, in bytes.
const maxKey = 1 << 20

func pemOrFile(text, dir string, secret bool) (data []byte, from string, err error) {
	if strings.HasPrefix(strings.TrimSpace(text), "-----BEGIN") {
		return []byte(text), "it", nil
	}
	name := text
	if !filepath.IsAbs(name) {
		name = filepath.Join(dir, name)
	}
	read := owned.ReadFile
	if secret {
		read = owned.ReadSecret
	}
	data, err = read(name, maxKey)
	return data, name, err
}

// ReadTrust reads public keys (PKIX in PEM). texts are PEM, files, or directories with
// files that end in ".pub" or ".pem". A signer's own key is trusted too.
func ReadTrust(texts []string, dir string, signer *Signer) (*Trust, error) {
	t := &Trust{keys: map[string]ed25519.PublicKey{}}
	if signer != nil {
		t.keys[signer.name] = signer.key.Public().(ed25519.PublicKey)
	}
	for _, text := range texts {
		if err := t.read(text, dir); err != nil {
			return nil, fault.New(fault.Usage, fault.HintOr(err, "give the file that modwsgi cache keygen wrote beside the key (NAME.pub), or a directory of such files"), "read the keys to trust: %w", err)
		}
	}
	return t, nil
}

func (t *Trust) read(text, dir string) error {
	name := text
	if !filepath.IsAbs(name) {
		name = filepath.Join(dir, name)
	}
	if info, err := os.Stat(name); err == nil && info.IsDir() && !strings.HasPrefix(strings.TrimSpace(text), "-----BEGIN") {
		d, err := owned.OpenDir(name) // anyone who adds a file there adds a key
		if err != nil {
			return err
		}
		defer func() { _ = d.Close() }()
		entries, err := d.Entries()
		if err != nil {
			return err
		}
		found := false
		for _, e := range entries {
			if strings.HasSuffix(e.Name(), ".pub") || strings.HasSuffix(e.Name(), ".pem") {
				found = true
				if err := t.read(filepath.Join(name, e.Name()), dir); err != nil {
					return err
				}
			}
		}
		if !found {
			return fmt.Errorf("the directory %s has no file NAME.pub or NAME.pem", name)
		}
		return nil
	}
	data, from, err := pemOrFile(text, dir, false)
	if err != nil {
		return err
	}
	count := len(t.keys)
	for block, rest := pem.Decode(data); block != nil; block, rest = pem.Decode(rest) {
		if block.Type == "PRIVATE KEY" {
			return fmt.Errorf("%s has a private key, which only the signer should have", from)
		}
		parsed, err := x509.ParsePKIXPublicKey(block.Bytes)
		key, ok := parsed.(ed25519.PublicKey)
		if err != nil || !ok {
			return fmt.Errorf("%s has a key that is not Ed25519", from)
		}
		id, err := fingerprint(key)
		if err != nil {
			return err
		}
		t.keys[id], count = key, -1
	}
	if count == len(t.keys) {
		return fmt.Errorf("%s has no public key in PEM", from)
	}
	return nil
}

// Fingerprints returns the names of the trusted keys, sorted.
func (t *Trust) Fingerprints() []string { return slices.Sorted(maps.Keys(t.keys)) }

func fingerprint(key ed25519.PublicKey) (string, error) {
	der, err := x509.MarshalPKIXPublicKey(key)
	sum := sha256.Sum256(der)
	return hex.EncodeToString(sum[:]), err
}

// GenerateKey writes a key pair to two files: name, which only its owner can read, and
// name with ".pub". It does not replace existing files; the error is then of class Usage.
// It returns the fingerprint.
func GenerateKey(name string) (string, error) {
	public, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return "", err
	}
	secret, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		return "", err
	}
	open, err := x509.MarshalPKIXPublicKey(public)
	if err != nil {
		return "", err
	}
	if _, err := os.Lstat(name + ".pub"); err == nil {
		return "", fault.New(fault.Usage, "name another file, or move it away", "%s.pub exists", name)
	}
	if err := writeNew(name, &pem.Block{Type: "PRIVATE KEY", Bytes: secret}, 0o600); err != nil {
		return "", err
	}
	if err := writeNew(name+".pub", &pem.Block{Type: "PUBLIC KEY", Bytes: open}, 0o644); err != nil {
		return "", errors.Join(err, os.Remove(name))
	}
	return fingerprint(public)
}

func writeNew(name string, block *pem.Block, mode os.FileMode) error {
	f, err := os.OpenFile(name, os.O_CREATE|os.O_EXCL|os.O_WRONLY, mode)
	if errors.Is(err, os.ErrExist) {
		return fault.New(fault.Usage, "name another file, or move it away", "%s exists", name)
	}
	if err != nil {
		return fault.New(fault.Environment, "name a file in a directory that you may write to", "write the key: %w", err)
	}
	err = pem.Encode(f, block)
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	if err != nil {
		return errors.Join(err, os.Remove(name))
	}
	return nil
}
