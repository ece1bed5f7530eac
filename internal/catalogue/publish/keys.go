package publish

import (
	"crypto"
	"crypto/ed25519"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/sigstore/sigstore/pkg/signature"
	"github.com/theupdateframework/go-tuf/v2/metadata"

	"modwsgi/internal/atomicfile"
	"modwsgi/internal/fault"
	"modwsgi/internal/owned"
)

// Keys are private keys by role.
type Keys struct {
	dir    string
	byRole map[string][]ed25519.PrivateKey
}

// maxKey is the largest file of a key in bytes.
const maxKey = 16 << 10

// NewKeys makes a directory with a new key for each role, which only this user can read.
func NewKeys(dir string) error {
	d, err := owned.MakeDir(dir)
	if err != nil {
		return fault.New(fault.Environment, fault.HintOf(err), "make keys: %w", err)
	}
	defer func() { _ = d.Close() }()
	if all, err := d.Entries(); err != nil || len(all) > 0 {
		return fault.New(fault.Usage, "name a new directory; keys are never overwritten", "make keys: %w", errors.Join(err, fmt.Errorf("%s is not empty", dir)))
	}
	for _, role := range metadata.TOP_LEVEL_ROLE_NAMES {
		_, key, err := ed25519.GenerateKey(nil)
		if err != nil {
			return err
		}
		data, err := x509.MarshalPKCS8PrivateKey(key)
		if err != nil {
			return err
		}
		if err := atomicfile.Write(filepath.Join(dir, role+".pem"), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: data}), 0o600); err != nil {
			return err
		}
	}
	return nil
}

// ReadKeys reads the keys in a directory: ROLE.pem and ROLE-*.pem. Other users must be
// able neither to read nor to replace them.
func ReadKeys(dir string) (*Keys, error) {
	k := &Keys{dir: dir, byRole: map[string][]ed25519.PrivateKey{}}
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, fault.New(fault.Usage, "make keys with modwsgi-catalogue keygen", "read keys: %w", err)
	}
	for _, e := range entries {
		name, isKey := strings.CutSuffix(e.Name(), ".pem")
		role, _, _ := strings.Cut(name, "-")
		if !isKey || !slices.Contains(metadata.TOP_LEVEL_ROLE_NAMES[:], role) {
			continue
		}
		path := filepath.Join(dir, e.Name())
		data, err := owned.ReadSecret(path, maxKey)
		if err != nil {
			return nil, fault.New(fault.Environment, fault.HintOf(err), "read key: %w", err)
		}
		block, _ := pem.Decode(data)
		if block == nil || block.Type != "PRIVATE KEY" {
			return nil, fault.New(fault.Usage, "", "read key %s: not a private key in PEM", path)
		}
		parsed, err := x509.ParsePKCS8PrivateKey(block.Bytes)
		key, ok := parsed.(ed25519.PrivateKey)
		if err != nil || !ok {
			return nil, fault.New(fault.Usage, "", "read key %s: not an Ed25519 key in PKCS #8", path)
		}
		k.byRole[role] = append(k.byRole[role], key)
	}
	return k, nil
}

func (k *Keys) has(role string) bool { return len(k.byRole[role]) > 0 }

// setKeys makes the keys those of a role in a root.
func setKeys(root *metadata.Metadata[metadata.RootType], role string, keys *Keys) error {
	if !keys.has(role) {
		return fault.New(fault.Usage, "make keys with modwsgi-catalogue keygen", "%s has no key %s.pem", keys.dir, role)
	}
	if r := root.Signed.Roles[role]; r != nil {
		for _, id := range slices.Clone(r.KeyIDs) {
			if err := root.Signed.RevokeKey(id, role); err != nil {
				return err
			}
		}
	}
	for _, key := range keys.byRole[role] {
		public, err := metadata.KeyFromPublicKey(key.Public())
		if err != nil {
			return err
		}
		if err := root.Signed.AddKey(public, role); err != nil {
			return err
		}
	}
	return nil
}

// sign adds a signature of each key of a role that has not signed yet.
func sign[T metadata.Roles](m *metadata.Metadata[T], role string, keys *Keys) error {
	for _, key := range keys.byRole[role] {
		public, err := metadata.KeyFromPublicKey(key.Public())
		if err != nil {
			return err
		}
		id, err := public.ID()
		if err != nil {
			return err
		}
		if slices.ContainsFunc(m.Signatures, func(s metadata.Signature) bool { return s.KeyID == id }) {
			continue
		}
		signer, err := signature.LoadSigner(key, crypto.Hash(0))
		if err != nil {
			return err
		}
		if _, err := m.Sign(signer); err != nil {
			return err
		}
	}
	return nil
}

// signed returns metadata with signatures that the root accepts for its role.
func signed[T metadata.Roles](root *metadata.Metadata[metadata.RootType], m *metadata.Metadata[T], role string, keys *Keys) ([]byte, error) {
	if !keys.has(role) {
		return nil, fault.New(fault.Usage, "add it, or name the directory that has it with -keys", "%s has no key %s.pem", keys.dir, role)
	}
	if err := sign(m, role, keys); err != nil {
		return nil, err
	}
	if err := root.VerifyDelegate(role, m); err != nil {
		return nil, fault.New(fault.Usage, "use the key that the newest root lists, or list this one with modwsgi-catalogue rotate", "sign %s.json: %w", role, err)
	}
	data, err := m.ToBytes(true)
	return append(data, '\n'), err
}
