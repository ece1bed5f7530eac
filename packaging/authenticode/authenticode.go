// Package authenticode signs programs and libraries of Windows, and verifies their
// signatures, with osslsigncode, or with signtool if that is the only available tool.
// It leaves keys in the user's files and never writes a passphrase to a command line
// or a log. It does not know what it signs.
package authenticode

import (
	"archive/zip"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"modwsgi/internal/distro"
	"modwsgi/internal/fault"
	"modwsgi/internal/filetree"
	"modwsgi/internal/owned"
	"modwsgi/internal/run"
	"modwsgi/internal/scratch"
)

// Signer describes how to sign files.
type Signer struct {
	Cert       string // PEM or PKCS#7 file with the certificate and its chain, or a PKCS#12 file with the key too
	Key        string // PEM file; "" if Cert is PKCS#12
	Passphrase string // file with the passphrase; "" for none
	Timestamp  string // URL of an RFC 3161 timestamp server; "" for no timestamp
	Time       time.Time
	Name, URL  string // name of the program in the signature

	Env    []string
	Runner *run.Runner

	given map[string][]byte // contents of files that are open descriptors, see Check
}

func toolHint() string {
	return distro.Osslsigncode.Hint(distro.Family(), "", "or on Windows the SDK with signtool")
}

func isPKCS12(path string) bool {
	ext := strings.ToLower(filepath.Ext(path))
	return ext == ".p12" || ext == ".pfx"
}

// Check reports a problem of the signer before anything is built.
func (s *Signer) Check() error {
	if s.Cert == "" {
		return fault.New(fault.Usage, "name the certificate with --sign-cert", "--sign-key requires a certificate")
	}
	if err := s.readFiles(); err != nil {
		return err
	}
	if isPKCS12(s.Cert) != (s.Key == "") {
		return fault.New(fault.Usage, "pass a PKCS#12 file (.p12, .pfx) alone with --sign-cert, or a certificate and its key in PEM with --sign-cert and --sign-key",
			"the certificate %s and the key %q cannot be combined", s.Cert, s.Key)
	}
	if s.Key != "" && s.Passphrase == "" && s.encrypted(s.Key) { // otherwise the tool would prompt on the terminal
		return fault.New(fault.Usage, "name a file with its passphrase with --sign-cert-passphrase-file", "the key %s is encrypted", s.Key)
	}
	_, _, err := s.tool()
	return err
}

// tool finds the program that signs.
func (s *Signer) tool() (path string, signtool bool, err error) {
	if path, err = run.LookPath("osslsigncode", s.Env); err == nil {
		return path, false, nil
	}
	if path, err = run.LookPath("signtool.exe", s.Env); err == nil {
		if s.Key != "" || s.Passphrase != "" {
			return "", false, fault.New(fault.Environment, toolHint(), "signtool only accepts a PKCS#12 file without a passphrase, which would be visible on its command line")
		}
		return path, true, nil
	}
	return "", false, fault.New(fault.Environment, toolHint(), "no program to sign with: neither osslsigncode nor signtool.exe is in PATH")
}

// arguments is the command line that signs one file into another.
func (s *Signer) arguments(tool string, signtool bool, from, to string) []string {
	if signtool { // signs in place
		argv := []string{tool, "sign", "/fd", "SHA256", "/f", s.Cert}
		if s.Timestamp != "" {
			argv = append(argv, "/tr", s.Timestamp, "/td", "SHA256")
		}
		return append(argv, "/d", s.Name, "/du", s.URL, to)
	}
	argv := []string{tool, "sign", "-h", "sha256"}
	if isPKCS12(s.Cert) {
		argv = append(argv, "-pkcs12", s.Cert)
	} else {
		argv = append(argv, "-certs", s.Cert, "-key", s.Key)
	}
	if s.Passphrase != "" {
		argv = append(argv, "-readpass", s.Passphrase)
	}
	if s.Name != "" {
		argv = append(argv, "-n", s.Name)
	}
	if s.URL != "" {
		argv = append(argv, "-i", s.URL)
	}
	if s.Timestamp != "" {
		argv = append(argv, "-ts", s.Timestamp)
	} else {
		argv = append(argv, "-st", strconv.FormatInt(s.Time.Unix(), 10))
	}
	return append(argv, "-in", from, "-out", to)
}

// Sign signs a file in place. On an error the file is unchanged, and nothing is left
// next to it. Without a timestamp and with an RSA key, signing equal files produces
// equal bytes.
func (s *Signer) Sign(ctx context.Context, path string) error {
	tool, signtool, err := s.tool()
	if err != nil {
		return err
	}
	files, done, err := s.files()
	if err != nil {
		return err
	}
	defer done()
	to := path + ".signed"
	_ = os.Remove(to)
	defer func() { _ = os.Remove(to) }()
	if signtool {
		data, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		if err := os.WriteFile(to, data, 0o755); err != nil {
			return err
		}
	}
	err = s.Runner.Run(ctx, run.Cmd{Argv: files.arguments(tool, signtool, path, to), Env: s.Env})
	if err != nil {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		what, hint := s.trouble(tail(err))
		if what == "" {
			what, hint = strings.TrimSpace(err.Error()+": "+lastLine(err)), "check that certificate, key and passphrase belong together"
		}
		return fault.New(fault.Environment, hint, "sign %s: %s", filepath.Base(path), what)
	}
	if err := checkValidity(to, time.Now()); err != nil {
		return fault.New(fault.Environment, fault.HintOf(err), "sign %s: %w", filepath.Base(path), err)
	}
	if err := owned.Chmod(to, 0o755); err != nil {
		return err
	}
	return os.Rename(to, path)
}

// trouble explains why signing failed, and what to do; "" if the reason is unknown.
// The tool prints OpenSSL's messages, most of which are about attempts to read a key
// in other formats.
func (s *Signer) trouble(out string) (what, hint string) {
	lower := strings.ToLower(out)
	has := func(words ...string) bool {
		return slices.ContainsFunc(words, func(w string) bool { return strings.Contains(lower, w) })
	}
	key, locked := s.Key, s.encrypted(s.Key)
	if key == "" {
		key, locked = s.Cert, true
	}
	switch {
	case locked && has("mac verify failure", "wrong password", "bad decrypt", "bad password", "cipherfinal error", "unable to get passphrase"):
		if s.Passphrase == "" {
			return key + " needs a passphrase", "name a file that contains it with --sign-cert-passphrase-file"
		}
		return "the passphrase in " + s.Passphrase + " does not match " + key, "the passphrase is the first line of --sign-cert-passphrase-file, without its line end"
	case has("key values mismatch", "key type mismatch"):
		return "the key " + key + " does not match the certificate " + s.Cert, "name the key that the certificate was issued for"
	case has("no certificate found"):
		return s.Cert + " contains no certificate", "name the certificate, in PEM, with --sign-cert"
	case s.Timestamp != "" && has("connecting to", "bio_connect", "timestamp", "resolve", "curl", "http"):
		return "the timestamp server " + s.Timestamp + " returned no timestamp", "check --sign-timestamp-url and the network, or leave it out; then the signature is valid as long as the certificate is"
	case has("decoder_from_bio:unsupported", "no supported data to decode"):
		return key + " contains no readable private key", "name the key, in PEM, with --sign-key"
	}
	return "", ""
}

func lastLine(err error) string {
	var e *run.Error
	if errors.As(err, &e) && len(e.Tail) > 0 {
		return strings.TrimSpace(e.Tail[len(e.Tail)-1])
	}
	return ""
}

// Verify checks the signature of a file against the certificate authorities in a PEM
// file. The error is of class Verify for a file that is not signed, was changed after
// signing, or whose certificate none of them issued.
func Verify(ctx context.Context, r *run.Runner, env []string, path, ca string) error {
	if err := checkAuthorities(ca); err != nil {
		return err
	}
	tool, err := run.LookPath("osslsigncode", env)
	if err != nil {
		return fault.New(fault.Environment, toolHint(), "osslsigncode, which verifies signatures, was not found")
	}
	out, err := r.Output(ctx, run.Cmd{Argv: []string{tool, "verify", "-CAfile", ca, "-in", path}, Env: env})
	if err == nil {
		return nil
	}
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return fault.New(fault.Verify, "do not use it; get it again from where it was published", "%s: %s", filepath.Base(path), reason(string(out)+tail(err), err))
}

func tail(err error) string {
	var e *run.Error
	if errors.As(err, &e) {
		return "\n" + strings.Join(e.Tail, "\n")
	}
	return ""
}

// reason explains what osslsigncode found.
func reason(out string, err error) string {
	lower := strings.ToLower(out)
	switch {
	case strings.Contains(lower, "no signature found"):
		return "it is not signed"
	case strings.Contains(lower, "mismatch"):
		return "it was changed after it was signed"
	case strings.Contains(lower, "unable to get local issuer certificate"), strings.Contains(lower, "self-signed certificate"), strings.Contains(lower, "self signed certificate"):
		return "its certificate was not issued by the given authorities"
	case strings.Contains(lower, "expired"):
		return "its certificate has expired"
	}
	return fmt.Sprintf("its signature cannot be checked: %v", err)
}

// maxMember is the maximum size in bytes of a program in an artifact.
const maxMember = 256 << 20

// ErrNoProgram is in the tree of VerifyArtifact's error for an archive without a
// program or library for Windows.
var ErrNoProgram = errors.New("it contains no program or library for Windows")

// Signable reports whether VerifyArtifact inspects a file of that name.
func Signable(name string) bool {
	return slices.Contains([]string{".zip", ".whl", ".exe", ".dll", ".pyd"}, strings.ToLower(filepath.Ext(name)))
}

// isELF detects programs and libraries of other systems, which may have names as on
// Windows.
func isELF(path string) bool {
	f, err := os.Open(path)
	if err != nil {
		return false
	}
	defer func() { _ = f.Close() }()
	magic := make([]byte, 4)
	_, err = io.ReadFull(f, magic)
	return err == nil && string(magic) == "\x7fELF"
}

// VerifyArtifact verifies every program and library in a zip or a wheel, or a single
// one, and returns their names. It starts none of them. An artifact without any is
// also an error of class Verify.
func VerifyArtifact(ctx context.Context, r *run.Runner, env []string, path, ca string) ([]string, error) {
	ext := strings.ToLower(filepath.Ext(path))
	if ext != ".zip" && ext != ".whl" {
		return []string{filepath.Base(path)}, Verify(ctx, r, env, path, ca)
	}
	z, err := zip.OpenReader(path)
	if err != nil {
		return nil, fault.New(fault.Verify, "get it again from where it was published", "read %s: %w", filepath.Base(path), err)
	}
	defer func() { _ = z.Close() }()
	temp, err := scratch.Make("", scratch.Verify)
	if err != nil {
		return nil, fault.New(fault.Environment, fault.HintOf(err), "create a temporary directory: %w", err)
	}
	defer func() { _ = temp.Discard() }()
	var names []string
	for i, f := range z.File {
		switch strings.ToLower(filepath.Ext(f.Name)) {
		case ".exe", ".dll", ".pyd", ".so":
		default:
			continue
		}
		// A name of our choice, because the archive's may be anything.
		file := filepath.Join(temp.Path(), strconv.Itoa(i)+filepath.Ext(f.Name))
		if err := extract(f, file); err != nil {
			return names, fault.New(fault.Verify, "get it again from where it was published", "read %s in %s: %w", f.Name, filepath.Base(path), err)
		}
		if isELF(file) {
			continue
		}
		if err := Verify(ctx, r, env, file, ca); err != nil {
			return names, fault.New(fault.ClassOf(err), fault.HintOf(err), "%s", strings.Replace(err.Error(), filepath.Base(file), f.Name+" in "+filepath.Base(path), 1))
		}
		names = append(names, f.Name)
	}
	if len(names) == 0 {
		return nil, fault.New(fault.Verify, "name the zip or the wheel for Windows", "%s: %w", filepath.Base(path), ErrNoProgram)
	}
	return names, nil
}

func extract(f *zip.File, to string) error {
	if f.UncompressedSize64 > maxMember {
		return fmt.Errorf("its %d bytes exceed the limit of %d", f.UncompressedSize64, int64(maxMember))
	}
	in, err := f.Open()
	if err != nil {
		return err
	}
	defer func() { _ = in.Close() }()
	return filetree.Create(to, io.LimitReader(in, maxMember), 0o600)
}
