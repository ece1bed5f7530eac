package acme

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"math/big"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"modwsgi/internal/fault"
	"modwsgi/internal/owned"
)

const (
	current   = "current"
	temporary = "temporary"
	stateFile = "state.json"

	keptVersions = 2 // of a certificate: httpd reads the present one at each start
	mostFile     = 1 << 20
)

// store is the opened directory of a certificate.
type store struct {
	*Settings
	dir, challenges *owned.Dir
}

// Prepare makes the directory of a certificate. If there is no certificate yet, it makes one
// that nobody trusts, so that httpd can start. Other users can change neither.
func (s *Settings) Prepare() error {
	st, err := s.open()
	if err != nil {
		return err
	}
	defer st.close()
	if _, err := st.read(); err == nil {
		return nil
	} else if st.issued() {
		return fault.New(fault.Environment, "restore it from a backup, or remove "+s.Dir()+" to obtain another one", "the certificate in %s cannot be used: %w", s.Dir(), err)
	}
	if st.adopt() {
		return nil
	}
	return st.makeTemporary()
}

// adopt begins with the certificate of the same authority that has the same first name and
// some of the others: with it, most names stay what they are until the next one is there.
func (st *store) adopt() bool {
	all, err := owned.OpenDir(filepath.Dir(st.Dir()))
	if err != nil {
		return false
	}
	defer all.Close()
	entries, _ := all.Entries()
	for _, e := range entries {
		if !strings.HasPrefix(e.Name(), st.stem()) || e.Name() == filepath.Base(st.Dir()) {
			continue
		}
		dir, err := all.Sub(e.Name())
		if err != nil {
			continue
		}
		other := &store{Settings: st.Settings, dir: dir}
		leaf, err := other.read()
		if err == nil && other.issued() && other.issuer() == st.Directory && covers(leaf, st.Names[0]) && time.Now().Before(leaf.NotAfter) {
			files := map[string][]byte{}
			for _, name := range []string{ChainFile, KeyFile, OCSPFile, IssuedFile} {
				if data, err := dir.Root().ReadFile(current + "/" + name); err == nil {
					files[name] = data
				}
			}
			if st.write("1", files) == nil && st.use("1") == nil {
				_ = dir.Close()
				return true
			}
		}
		_ = dir.Close()
	}
	return false
}

func (s *Settings) open() (*store, error) {
	perm := fs.FileMode(0o700)
	if s.OtherUser {
		perm = 0o711 // httpd's processes read a directory in it
	}
	top, err := s.top(perm)
	if err != nil {
		return nil, s.unusable(err)
	}
	defer top.Close()
	st := &store{Settings: s}
	all, err := top.MakeSub("certificates", 0o700)
	if err != nil {
		return nil, s.unusable(err)
	}
	defer all.Close()
	if st.dir, err = all.MakeSub(filepath.Base(s.Dir()), 0o700); err != nil {
		return nil, s.unusable(err)
	}
	if st.challenges, err = makeSub(top, "challenges", perm); err != nil {
		_ = st.dir.Close()
		return nil, s.unusable(err)
	}
	return st, nil
}

// top opens the directory. Those that it makes for another user's httpd can be searched by
// everybody; those that exist stay as they are.
func (s *Settings) top(perm fs.FileMode) (*owned.Dir, error) {
	for _, dir := range []string{filepath.Dir(s.State), s.State} {
		if _, err := os.Lstat(dir); err == nil || !s.OtherUser {
			continue
		}
		made, err := owned.MakeDir(dir)
		if err != nil {
			return nil, err
		}
		err = made.Root().Chmod(".", perm)
		_ = made.Close()
		if err != nil {
			return nil, err
		}
	}
	return owned.MakeDir(s.State)
}

// makeSub makes a directory with these rights, or gives it them.
func makeSub(in *owned.Dir, name string, perm fs.FileMode) (*owned.Dir, error) {
	dir, err := in.MakeSub(name, perm)
	if err != nil {
		return nil, err
	}
	if err := dir.Root().Chmod(".", perm); err != nil {
		_ = dir.Close()
		return nil, err
	}
	return dir, nil
}

func (s *Settings) unusable(err error) error {
	hint := "choose another directory with --acme-state-directory"
	var u *owned.Untrusted
	if errors.As(err, &u) {
		hint = u.Hint() + ", or " + hint
	}
	return fault.New(fault.Environment, hint, "the directory for certificates: %w", err)
}

func (st *store) close() {
	_ = st.dir.Close()
	_ = st.challenges.Close()
}

// issued reports whether the certificate that httpd uses is from an authority.
func (st *store) issued() bool {
	_, err := st.dir.Root().Stat(current + "/" + IssuedFile)
	return err == nil
}

// issuer is the address of the authority that issued the certificate.
func (st *store) issuer() string {
	data, _ := st.dir.Root().ReadFile(current + "/" + IssuedFile)
	return strings.TrimSpace(string(data))
}

// read returns the certificate that httpd uses. Its key belongs to it.
func (st *store) read() (*x509.Certificate, error) {
	chain, err := st.dir.Root().ReadFile(current + "/" + ChainFile)
	if err != nil {
		return nil, err
	}
	key, err := st.dir.Root().ReadFile(current + "/" + KeyFile)
	if err != nil {
		return nil, err
	}
	pair, err := tls.X509KeyPair(chain, key)
	if err != nil {
		return nil, err
	}
	return pair.Leaf, nil
}

// newKey returns a key and its PEM form.
func newKey() (crypto.Signer, []byte, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, nil, err
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, nil, err
	}
	return key, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}), nil
}

func (st *store) makeTemporary() error {
	key, keyText, err := newKey()
	if err != nil {
		return err
	}
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 120))
	if err != nil {
		return err
	}
	from := time.Now().Add(-24 * time.Hour)
	template := &x509.Certificate{
		SerialNumber: serial, Subject: pkix.Name{CommonName: "no certificate yet"}, DNSNames: st.Names,
		NotBefore: from, NotAfter: from.AddDate(10, 0, 0), KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return err
	}
	chain := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	if err := st.write(temporary, map[string][]byte{KeyFile: keyText, ChainFile: chain}); err != nil {
		return err
	}
	return st.use(temporary)
}

// write makes the directory of one version, or replaces files in it.
func (st *store) write(version string, files map[string][]byte) error {
	dir, err := st.dir.MakeSub(version, 0o700)
	if err != nil {
		return err
	}
	defer dir.Close()
	for _, name := range []string{KeyFile, ChainFile, OCSPFile, IssuedFile} { // the last one completes it
		if data, ok := files[name]; ok {
			if err := dir.WriteFile(name, data, 0o600); err != nil {
				return err
			}
		}
	}
	return nil
}

// use has httpd use a version when it reads its configuration the next time.
func (st *store) use(version string) error {
	temp := ".current." + owned.RandomName() + ".tmp"
	root := st.dir.Root()
	if err := root.Symlink(version, temp); err != nil {
		return err
	}
	if err := root.Rename(temp, current); err != nil {
		_ = root.Remove(temp)
		return err
	}
	return nil
}

// versions returns the numbers of the versions, the lowest first.
func (st *store) versions() (list []int) {
	entries, _ := st.dir.Entries()
	for _, e := range entries {
		if n, err := strconv.Atoi(e.Name()); err == nil && e.IsDir() {
			list = append(list, n)
		}
	}
	slices.Sort(list)
	return list
}

// begin makes the directory for the next version, with its key. It comes before the
// authority is asked: a certificate that could not be written would count against the
// limits of the authority.
func (st *store) begin() (version string, key crypto.Signer, err error) {
	used, _ := st.dir.Root().Readlink(current)
	for _, n := range st.versions() { // left by an attempt that was interrupted
		if v := strconv.Itoa(n); v != used && !exists(st.dir, v+"/"+IssuedFile) {
			_ = st.dir.RemoveAll(v)
		}
	}
	next := 1
	if all := st.versions(); len(all) > 0 {
		next = all[len(all)-1] + 1
	}
	key, text, err := newKey()
	if err != nil {
		return "", nil, err
	}
	version = strconv.Itoa(next)
	// As much as the certificates will need, so that a full disk is noticed now.
	room := make([]byte, 32<<10)
	if err := st.write(version, map[string][]byte{KeyFile: text, ChainFile: room}); err != nil {
		st.discard(version)
		return "", nil, err
	}
	return version, key, nil
}

func (st *store) discard(version string) { _ = st.dir.RemoveAll(version) }

func exists(dir *owned.Dir, name string) bool {
	_, err := dir.Root().Stat(name)
	return err == nil
}

// finish completes a version with the certificate, has httpd use it, and removes old ones.
func (st *store) finish(version string, key crypto.Signer, chain []byte) (*x509.Certificate, error) {
	leaf, err := st.check(chain, key)
	if err != nil {
		return nil, err
	}
	files := map[string][]byte{ChainFile: chain, IssuedFile: []byte(st.Directory + "\n")}
	if len(leaf.OCSPServer) > 0 {
		files[OCSPFile] = []byte(leaf.OCSPServer[0] + "\n")
	}
	_ = st.dir.Root().Remove(version + "/" + ChainFile) // makes room
	if err := st.write(version, files); err != nil {
		return nil, err
	}
	if err := st.use(version); err != nil {
		return nil, err
	}
	all := st.versions()
	for _, n := range all[:max(0, len(all)-keptVersions)] {
		_ = st.dir.RemoveAll(strconv.Itoa(n))
	}
	return leaf, nil
}

// check refuses a certificate that is not what was ordered.
func (st *store) check(chain []byte, key crypto.Signer) (*x509.Certificate, error) {
	block, _ := pem.Decode(chain)
	if block == nil {
		return nil, errors.New("the authority sent something that is not a certificate")
	}
	leaf, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		return nil, fmt.Errorf("the authority sent a certificate that cannot be read: %w", err)
	}
	public, ok := leaf.PublicKey.(*ecdsa.PublicKey)
	if !ok || !public.Equal(key.Public()) {
		return nil, errors.New("the authority sent a certificate for another key")
	}
	for _, name := range st.Names {
		if !covers(leaf, name) {
			return nil, fmt.Errorf("the authority sent a certificate without the name %s", name)
		}
	}
	return leaf, nil
}

func covers(leaf *x509.Certificate, name string) bool {
	return slices.ContainsFunc(leaf.DNSNames, func(n string) bool { return strings.EqualFold(n, name) })
}

// state is what is remembered about attempts.
type state struct {
	Names     []string  `json:"names"`
	Directory string    `json:"directory"`
	Challenge string    `json:"challenge"`
	Port      int       `json:"port"`
	Failures  int       `json:"failures,omitempty"` // since the last success
	Error     string    `json:"error,omitempty"`    // of the last attempt
	Hint      string    `json:"hint,omitempty"`
	Failed    time.Time `json:"failed,omitzero"`  // when
	Next      time.Time `json:"next,omitzero"`    // the next attempt
	Limited   bool      `json:"limited,omitzero"` // the authority named that time
	Renew     time.Time `json:"renew,omitzero"`   // chosen in the window that the authority suggests
	Asked     time.Time `json:"asked,omitzero"`   // when to ask for that window again
	Serial    string    `json:"serial,omitempty"` // of the certificate that these two are about
	Issued    time.Time `json:"issued,omitzero"`  // when the last one was obtained
}

func (st *store) readState() (s state) {
	data, err := st.dir.ReadFile(stateFile, mostFile)
	if err == nil {
		_ = json.Unmarshal(data, &s)
	}
	return s
}

func (st *store) writeState(s state) error {
	s.Names, s.Directory, s.Challenge, s.Port = st.Names, st.Directory, st.Challenge, st.Port
	data, err := json.MarshalIndent(s, "", "  ")
	if err != nil {
		return err
	}
	return st.dir.WriteFile(stateFile, append(data, '\n'), 0o600)
}

// same reports whether attempts so far were made with the present settings.
func (s state) same(o *Settings) bool {
	return slices.Equal(s.Names, o.Names) && s.Directory == o.Directory && s.Challenge == o.Challenge && s.Port == o.Port
}

// Status is what is known about a certificate.
type Status struct {
	Names     []string  `json:"names"`
	Issued    bool      `json:"issued"` // by the authority; otherwise httpd has one that nobody trusts
	Authority string    `json:"authority"`
	NotAfter  time.Time `json:"not_after,omitzero"`
	Renewal   time.Time `json:"renewal,omitzero"`  // when it will be renewed
	NextTry   time.Time `json:"next_try,omitzero"` // after an error
	Limited   bool      `json:"limited,omitempty"` // the authority named that time
	LastError string    `json:"last_error,omitempty"`
	Hint      string    `json:"hint,omitempty"`
	Failed    time.Time `json:"failed,omitzero"`
	Failures  int       `json:"failures,omitempty"` // since the last success
}

// Status reads what is known about the certificate. It changes nothing.
func (s *Settings) Status() (*Status, error) {
	dir, err := owned.OpenDir(s.Dir())
	if err != nil {
		return nil, err
	}
	defer dir.Close()
	st := &store{Settings: s, dir: dir}
	now := st.readState()
	r := &Status{Names: s.Names, Authority: s.Authority(), Issued: st.issued(), LastError: now.Error, Hint: now.Hint, Failed: now.Failed, Failures: now.Failures}
	if now.Error != "" {
		r.NextTry, r.Limited = now.Next, now.Limited
	}
	if leaf, err := st.read(); err == nil && r.Issued {
		r.NotAfter, r.Renewal = leaf.NotAfter.UTC(), renewal(leaf, now).UTC()
		if !st.coversAll(leaf) { // names have been added
			r.Renewal = time.Now().UTC()
		}
	}
	return r, nil
}

// List returns what is known about all certificates in a directory. It changes nothing.
func List(dir string) (list []*Status, err error) {
	top, err := owned.OpenDir(filepath.Join(dir, "certificates"))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fault.New(fault.Environment, "see the rights of the directory, or name another one with --acme-state-directory", "read the certificates: %w", err)
	}
	defer top.Close()
	entries, err := top.Entries()
	if err != nil {
		return nil, fault.Wrap(fault.Environment, "", err)
	}
	for _, e := range entries {
		sub, err := top.Sub(e.Name())
		if err != nil {
			continue // not a directory
		}
		now := (&store{dir: sub}).readState()
		_ = sub.Close()
		if len(now.Names) == 0 {
			continue // nothing has been tried
		}
		s := &Settings{Names: now.Names, Directory: now.Directory, State: dir}
		if status, err := s.Status(); err == nil {
			list = append(list, status)
		}
	}
	return list, nil
}

// DefaultState returns the directory that is used unless an option names another one:
// that of systemd's StateDirectory=, that of root, or that of the user.
func DefaultState(getenv func(string) string, root bool) string {
	const below = "mod_wsgi-express/acme"
	if dir, _, _ := strings.Cut(getenv("STATE_DIRECTORY"), ":"); filepath.IsAbs(dir) {
		return filepath.Join(dir, "acme")
	}
	if root {
		return "/var/lib/" + below
	}
	if dir := getenv("XDG_STATE_HOME"); filepath.IsAbs(dir) {
		return filepath.Join(dir, below)
	}
	if home := getenv("HOME"); filepath.IsAbs(home) {
		return filepath.Join(home, ".local/state", below)
	}
	return ""
}
