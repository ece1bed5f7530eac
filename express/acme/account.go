package acme

import (
	"context"
	"crypto"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"strings"

	rfc8555 "github.com/mholt/acmez/v3/acme"

	"modwsgi/internal/owned"
	"modwsgi/internal/quote"
)

// account is an account as it is written.
type account struct {
	Directory string `json:"directory"`
	Location  string `json:"location"`
	Email     string `json:"email,omitempty"`
	Key       string `json:"key"` // PEM
}

func (s *Settings) accounts() (dir *owned.Dir, name string, err error) {
	top, err := owned.OpenDir(s.State)
	if err != nil {
		return nil, "", err
	}
	defer top.Close()
	sum := sha256.Sum256([]byte(s.Directory))
	dir, err = top.MakeSub("accounts", 0o700)
	return dir, hex.EncodeToString(sum[:8]) + ".json", err
}

// account returns the account at the authority, which it registers at the first time.
// Having it agree to the authority's terms is what --https-auto means.
func (s *Settings) account(ctx context.Context, client *rfc8555.Client) (rfc8555.Account, error) {
	dir, name, err := s.accounts()
	if err != nil {
		return rfc8555.Account{}, local(err)
	}
	defer dir.Close()
	if data, err := dir.ReadFile(name, mostFile); err == nil {
		if a, err := parseAccount(data); err == nil {
			if a.Email == s.Email {
				return a.with(rfc8555.StatusValid)
			}
			if known, err := a.with(rfc8555.StatusValid); err == nil {
				known.Contact = s.contact()
				if _, err := client.UpdateAccount(ctx, known); err != nil {
					return rfc8555.Account{}, fmt.Errorf("the address of the account: %w", err)
				}
				a.Email = s.Email
				return known, local(writeAccount(dir, name, a))
			}
		}
	}
	key, text, err := newKey()
	if err != nil {
		return rfc8555.Account{}, err
	}
	wanted := rfc8555.Account{Contact: s.contact(), TermsOfServiceAgreed: true, PrivateKey: key}
	if s.External != "" {
		binding, err := readBinding(s.External)
		if err != nil {
			return wanted, err
		}
		if err := wanted.SetExternalAccountBinding(ctx, client, binding); err != nil {
			return wanted, err
		}
	}
	made, err := client.NewAccount(ctx, wanted)
	if err != nil {
		return made, fmt.Errorf("an account: %w", err)
	}
	return made, late(writeAccount(dir, name, &account{Directory: s.Directory, Location: made.Location, Email: s.Email, Key: string(text)}))
}

func (s *Settings) contact() []string {
	if s.Email == "" {
		return nil
	}
	return []string{"mailto:" + s.Email}
}

// forgetAccount has the next attempt register another account.
func (s *Settings) forgetAccount() {
	if dir, name, err := s.accounts(); err == nil {
		_ = dir.Remove(name)
		_ = dir.Close()
	}
}

func writeAccount(dir *owned.Dir, name string, a *account) error {
	data, err := json.MarshalIndent(a, "", "  ")
	if err != nil {
		return err
	}
	return dir.WriteFile(name, append(data, '\n'), 0o600)
}

func parseAccount(data []byte) (*account, error) {
	a := &account{}
	if err := json.Unmarshal(data, a); err != nil {
		return nil, err
	}
	_, err := a.with(rfc8555.StatusValid)
	return a, err
}

func (a *account) with(status string) (rfc8555.Account, error) {
	block, _ := pem.Decode([]byte(a.Key))
	if block == nil || a.Location == "" {
		return rfc8555.Account{}, errors.New("not an account")
	}
	key, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		return rfc8555.Account{}, err
	}
	signer, ok := key.(crypto.Signer)
	if !ok {
		return rfc8555.Account{}, errors.New("not a key that signs")
	}
	return rfc8555.Account{Status: status, Location: a.Location, PrivateKey: signer}, nil
}

// readBinding reads a file of --acme-external-account: the identifier of a key, and the
// key in base64url.
func readBinding(path string) (rfc8555.EAB, error) {
	data, err := owned.ReadSecret(path, mostFile)
	if err != nil {
		return rfc8555.EAB{}, localError{error: fmt.Errorf("option --acme-external-account: %w", err), hint: "only its owner may read it: chmod 600 " + quote.Shell(path)}
	}
	return parseBinding(string(data))
}

// CheckBinding returns what is wrong with a file of --acme-external-account.
func CheckBinding(path string) error {
	_, err := readBinding(path)
	return err
}

// parseBinding parses the text of such a file.
func parseBinding(text string) (rfc8555.EAB, error) {
	words := strings.Fields(text)
	if len(words) != 2 {
		return rfc8555.EAB{}, localError{error: fmt.Errorf("option --acme-external-account: the file has %d words instead of two: the identifier of the key, and the key", len(words))}
	}
	key := strings.TrimRight(strings.NewReplacer("+", "-", "/", "_").Replace(words[1]), "=")
	if raw, err := base64.RawURLEncoding.DecodeString(key); err != nil || len(raw) < 16 {
		return rfc8555.EAB{}, localError{error: errors.New("option --acme-external-account: the second word is not a key in base64url of 16 bytes or more")}
	}
	return rfc8555.EAB{KeyID: words[0], MACKey: key}, nil
}
