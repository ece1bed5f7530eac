package sign

import (
	"bytes"
	"crypto/ed25519"
	"crypto/subtle"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"strings"
	"time"

	"golang.org/x/crypto/blake2b"
	"golang.org/x/crypto/scrypt"

	"modwsgi/internal/fault"
)

// Minisign signs as minisign does (https://jedisct1.github.io/minisign/, "Secret
// key format", "Signature format").
type Minisign struct {
	id  [8]byte
	key ed25519.PrivateKey
}

// secretKey is the content of a key file.
type secretKey struct {
	Algorithm [2]byte // "Ed"
	KDF       [2]byte // "Sc" for an encrypted key, zeros for another
	Checksum  [2]byte // "B2"
	Salt      [32]byte
	Ops, Mem  uint64
	Secret    [8 + 64 + 32]byte // key number, Ed25519 key, checksum
}

// NewMinisign reads a key that minisign -G wrote. The passphrase is used if the key is
// encrypted.
func NewMinisign(name string, passphrase []byte) (*Minisign, error) {
	data, err := keyFile(name)
	if err != nil {
		return nil, err
	}
	lines := strings.SplitN(strings.TrimRight(string(data), "\r\n"), "\n", 3)
	if len(lines) != 2 || !strings.HasPrefix(lines[0], "untrusted comment:") {
		return nil, badKey(name, "minisign", errors.New("it does not look like one"))
	}
	raw, err := base64.StdEncoding.DecodeString(strings.TrimSpace(lines[1]))
	if err != nil {
		return nil, badKey(name, "minisign", err)
	}
	var k secretKey
	if len(raw) != binary.Size(k) {
		return nil, badKey(name, "minisign", fmt.Errorf("it has %d bytes", len(raw)))
	}
	if err := binary.Read(bytes.NewReader(raw), binary.LittleEndian, &k); err != nil {
		return nil, badKey(name, "minisign", err)
	}
	if string(k.Algorithm[:]) != "Ed" || string(k.Checksum[:]) != "B2" {
		return nil, badKey(name, "minisign", errors.New("its algorithms are unknown"))
	}
	encrypted := string(k.KDF[:]) == "Sc"
	if encrypted {
		if len(passphrase) == 0 {
			return nil, fault.New(fault.Usage, "put it into a file and pass --sign-passphrase-file", "the key %s needs a passphrase", name)
		}
		if err := k.decrypt(passphrase); err != nil {
			return nil, badKey(name, "minisign", err)
		}
	}
	// Only an encrypted key has a checksum. The halves of every key must match.
	check := blake2b.Sum256(append(k.Algorithm[:], k.Secret[:72]...))
	if encrypted && subtle.ConstantTimeCompare(check[:], k.Secret[72:]) != 1 {
		return nil, fault.New(fault.Usage, "pass the right one with --sign-passphrase-file", "the passphrase for %s is wrong", name)
	}
	if !bytes.Equal(ed25519.NewKeyFromSeed(k.Secret[8:40]), k.Secret[8:72]) {
		return nil, badKey(name, "minisign", errors.New("it is damaged"))
	}
	m := &Minisign{key: ed25519.PrivateKey(bytes.Clone(k.Secret[8:72]))}
	copy(m.id[:], k.Secret[:8])
	return m, nil
}

// decrypt removes the passphrase's key stream from the secret. It derives the
// parameters of scrypt from two limits, as libsodium does.
func (k *secretKey) decrypt(passphrase []byte) error {
	ops, r := max(k.Ops, 32768), uint64(8)
	most, p := ops/(r*4), uint64(1)
	if ops >= k.Mem/32 {
		most = k.Mem / (r * 128)
	}
	n := uint64(2)
	for n <= most/2 && n < 1<<26 {
		n *= 2
	}
	if ops >= k.Mem/32 {
		p = min((ops/4)/n, 0x3fffffff) / r
	}
	if n*r*128 > 2<<30 || p > 64 {
		return errors.New("its parameters ask for too much memory")
	}
	stream, err := scrypt.Key(passphrase, k.Salt[:], int(n), int(r), int(max(p, 1)), len(k.Secret))
	if err != nil {
		return err
	}
	subtle.XORBytes(k.Secret[:], k.Secret[:], stream)
	return nil
}

// Suffix is ".minisig".
func (s *Minisign) Suffix() string { return ".minisig" }

// Sign returns a signature of the prehashed form, with the timestamp of the artifacts
// in its trusted comment.
func (s *Minisign) Sign(name string, data []byte, at time.Time) ([]byte, error) {
	sum := blake2b.Sum512(data)
	signature := ed25519.Sign(s.key, sum[:])
	comment := fmt.Sprintf("timestamp:%d\tfile:%s\thashed", at.Unix(), name)
	global := ed25519.Sign(s.key, append(bytes.Clone(signature), comment...))
	line := append(append([]byte("ED"), s.id[:]...), signature...)
	return []byte("untrusted comment: signature from modwsgi\n" + base64.StdEncoding.EncodeToString(line) +
		"\ntrusted comment: " + comment + "\n" + base64.StdEncoding.EncodeToString(global) + "\n"), nil
}
