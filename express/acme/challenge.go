package acme

import (
	"context"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"regexp"
	"strings"
	"syscall"
	"time"

	"github.com/mholt/acmez/v3"
	rfc8555 "github.com/mholt/acmez/v3/acme"

	"modwsgi/internal/owned"
)

// commandLimit is the time for the program of dns-01: it returns when the record can be
// seen.
const commandLimit = 10 * time.Minute

// localError is an error of this machine, not of the authority.
type localError struct {
	error
	hint string
	late bool // the authority has issued something, so trying again costs something
}

func (e localError) Unwrap() error { return e.error }

// solvers returns the answers to the chosen challenge.
func (st *store) solvers(program Program) map[string]acmez.Solver {
	switch st.Challenge {
	case TLSALPN01:
		return map[string]acmez.Solver{TLSALPN01: certificateAnswer{st}}
	case DNS01:
		return map[string]acmez.Solver{DNS01: recordAnswer{st.Settings, program}}
	}
	return map[string]acmez.Solver{HTTP01: fileAnswer{st}}
}

// put writes a file that httpd's processes can read, and nobody else.
func (st *store) put(kind, name string, data []byte) error {
	perm := fs.FileMode(0o700)
	if st.OtherUser {
		perm = 0o711
	}
	dir, err := makeSub(st.challenges, kind, perm)
	if err != nil {
		return err
	}
	defer dir.Close()
	f, err := dir.Create(name, 0o600)
	if err != nil {
		return err
	}
	defer f.Abort()
	if _, err := f.Write(data); err != nil {
		return err
	}
	if st.OtherUser {
		if err := f.Chown(-1, st.Group); err != nil {
			return err
		}
		if err := f.Chmod(0o640); err != nil {
			return err
		}
	}
	return f.Commit()
}

func (st *store) drop(kind, name string) error {
	dir, err := st.challenges.Sub(kind)
	if err != nil {
		return err
	}
	defer dir.Close()
	if err := dir.Remove(name); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// sweep removes answers that interrupted attempts have left.
func (st *store) sweep() {
	for _, kind := range []string{HTTP01, TLSALPN01} {
		dir, err := st.challenges.Sub(kind)
		if err != nil {
			continue
		}
		entries, _ := dir.Entries()
		for _, e := range entries {
			if info, err := e.Info(); err == nil && time.Since(info.ModTime()) > 24*time.Hour {
				_ = dir.Remove(e.Name())
			}
		}
		_ = dir.Close()
	}
}

var tokenWord = regexp.MustCompile(`^[A-Za-z0-9_-]{1,200}$`)

// fileAnswer answers http-01.
type fileAnswer struct{ *store }

func (a fileAnswer) Present(_ context.Context, c rfc8555.Challenge) error {
	if !tokenWord.MatchString(c.Token) { // RFC 8555, section 8.3; it becomes the name of a file
		return fmt.Errorf("the authority sent the token %q", c.Token)
	}
	return local(a.put(HTTP01, c.Token, []byte(c.KeyAuthorization)))
}

func (a fileAnswer) CleanUp(_ context.Context, c rfc8555.Challenge) error {
	return a.drop(HTTP01, c.Token)
}

// certificateAnswer answers tls-alpn-01.
type certificateAnswer struct{ *store }

func answerFile(c rfc8555.Challenge) string { return strings.ToLower(c.Identifier.Value) + ".pem" }

func (a certificateAnswer) Present(_ context.Context, c rfc8555.Challenge) error {
	pair, err := acmez.TLSALPN01ChallengeCert(c)
	if err != nil {
		return err
	}
	key, err := x509.MarshalPKCS8PrivateKey(pair.PrivateKey)
	if err != nil {
		return err
	}
	text := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: pair.Certificate[0]})
	text = append(text, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: key})...)
	return local(a.put(TLSALPN01, answerFile(c), text))
}

func (a certificateAnswer) CleanUp(_ context.Context, c rfc8555.Challenge) error {
	return a.drop(TLSALPN01, answerFile(c))
}

// recordAnswer answers dns-01 with a program.
type recordAnswer struct {
	*Settings
	run Program
}

// Program runs a program, and returns what it has printed, and an error if it fails.
type Program func(ctx context.Context, argv []string) (output string, err error)

func (a recordAnswer) Present(ctx context.Context, c rfc8555.Challenge) error {
	return a.command(ctx, "setup", c)
}

func (a recordAnswer) CleanUp(ctx context.Context, c rfc8555.Challenge) error {
	return a.command(context.WithoutCancel(ctx), "teardown", c)
}

// command runs the program as mod_md does (MDChallengeDns01): the word, the name without
// _acme-challenge, and the text of the record.
func (a recordAnswer) command(ctx context.Context, verb string, c rfc8555.Challenge) error {
	ctx, cancel := context.WithTimeout(ctx, commandLimit)
	defer cancel()
	name := strings.TrimPrefix(c.Identifier.Value, "*.")
	output, err := a.run(ctx, []string{a.Command, verb, name, c.DNS01KeyAuthorization()})
	if err == nil {
		return nil
	}
	text := fmt.Sprintf("the program of --acme-dns-command, as %s %s %s ..., failed: %v", a.Command, verb, name, err)
	if output = strings.TrimSpace(output); output != "" {
		text += "; it printed: " + output
	}
	return localError{error: errors.New(text), hint: "run it by hand: it has to set or remove the TXT record _acme-challenge." + name + ", and to return when it can be seen"}
}

// local marks an error of this machine.
func local(err error) error {
	if err == nil {
		return nil
	}
	hint := ""
	if errors.Is(err, syscall.ENOSPC) {
		hint = "make room on that file system"
	}
	var u *owned.Untrusted
	if errors.As(err, &u) {
		hint = u.Hint()
	}
	if errors.Is(err, os.ErrPermission) {
		hint = "see the rights of the directory, or choose another one with --acme-state-directory"
	}
	return localError{error: err, hint: hint}
}

// late is local for what comes after the authority has issued something.
func late(err error) error {
	var mine localError
	if errors.As(local(err), &mine) {
		mine.late = true
		return mine
	}
	return nil
}
