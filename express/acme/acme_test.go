package acme

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	rfc8555 "github.com/mholt/acmez/v3/acme"

	"modwsgi/internal/fault"
)

func settings(t *testing.T) *Settings {
	t.Helper()
	dir, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	return &Settings{Names: []string{"a.example", "b.example"}, Directory: "https://ca.example/dir", Challenge: HTTP01, Port: 8080, State: filepath.Join(dir, "state")}
}

// issue makes a certificate for a key, as an authority would.
func issue(t *testing.T, key crypto.Signer, names []string, responder string) []byte {
	t.Helper()
	root, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(7), DNSNames: names, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(89 * time.Hour)}
	if responder != "" {
		template.OCSPServer = []string{responder}
	}
	der, err := x509.CreateCertificate(rand.Reader, template, &x509.Certificate{SerialNumber: big.NewInt(1)}, key.Public(), root)
	if err != nil {
		t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
}

// TestVersions: a certificate becomes the current one as a whole, old ones are removed, and
// what an interrupted attempt has left does no harm.
func TestVersions(t *testing.T) {
	s := settings(t)
	if err := s.Prepare(); err != nil {
		t.Fatal(err)
	}
	st, err := s.open()
	if err != nil {
		t.Fatal(err)
	}
	defer st.close()
	if leaf, err := st.read(); err != nil || st.issued() || leaf.Subject.CommonName != "no certificate yet" {
		t.Fatalf("at first: %v", err)
	}
	last := ""
	for n := range 5 {
		version, key, err := st.begin()
		if err != nil {
			t.Fatal(err)
		}
		if n == 2 { // interrupted before the certificate was there
			continue
		}
		leaf, err := st.finish(version, key, issue(t, key, s.Names, map[bool]string{true: "http://ocsp.example"}[n == 4]))
		if err != nil {
			t.Fatal(err)
		}
		now, err := st.read()
		if err != nil || now.SerialNumber.Cmp(leaf.SerialNumber) != 0 || !st.issued() || st.issuer() != s.Directory || st.version() == last {
			t.Errorf("version %s: %v", version, err)
		}
		last = st.version()
	}
	if n := st.versions(); len(n) != keptVersions || fmt.Sprint(n[len(n)-1]) != last {
		t.Errorf("versions %v, current is %s", n, last)
	}
	if _, err := os.Stat(s.CurrentFile(OCSPFile)); err != nil {
		t.Error(err)
	}
	if err := s.Prepare(); err != nil {
		t.Error(err)
	}
	if status, err := s.Status(); err != nil || !status.Issued || time.Until(status.NotAfter) < 80*time.Hour || status.Authority != "ca.example" {
		t.Errorf("%+v %v", status, err)
	}
}

// TestForeignCertificates: what was not ordered is refused, and the current certificate
// stays.
func TestForeignCertificates(t *testing.T) {
	s := settings(t)
	if err := s.Prepare(); err != nil {
		t.Fatal(err)
	}
	st, err := s.open()
	if err != nil {
		t.Fatal(err)
	}
	defer st.close()
	other, _, err := newKey()
	if err != nil {
		t.Fatal(err)
	}
	version, key, err := st.begin()
	if err != nil {
		t.Fatal(err)
	}
	for want, chain := range map[string][]byte{
		"for another key": issue(t, other, s.Names, ""), "without the name b.example": issue(t, key, s.Names[:1], ""),
		"not a certificate": []byte("<html>"), "cannot be read": pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: []byte("x")}),
	} {
		if _, err := st.finish(version, key, chain); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("want %q: %v", want, err)
		}
		if st.version() != temporary {
			t.Errorf("%s: the current version is %s", want, st.version())
		}
	}
	// A certificate whose key was replaced is not silently exchanged for one that nobody trusts.
	if _, err := st.finish(version, key, issue(t, key, s.Names, "")); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(s.CurrentFile(KeyFile), []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := s.Prepare(); err == nil || !strings.Contains(err.Error(), "cannot be used") || !strings.Contains(fault.HintOf(err), s.Dir()) {
		t.Errorf("a broken certificate: %v", err)
	}
}

// TestAdopted: with another name, the certificate so far stays until the next one is there;
// that of another authority does not.
func TestAdopted(t *testing.T) {
	s := settings(t)
	if err := s.Prepare(); err != nil {
		t.Fatal(err)
	}
	st, err := s.open()
	if err != nil {
		t.Fatal(err)
	}
	defer st.close()
	version, key, err := st.begin()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := st.finish(version, key, issue(t, key, s.Names, "")); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		names     []string
		directory string
		issued    bool
	}{
		{[]string{"a.example", "b.example", "c.example"}, s.Directory, true},
		{[]string{"a.example"}, s.Directory, true},
		{[]string{"b.example", "a.example"}, s.Directory, false},
		{s.Names, "https://staging.example/dir", false},
	} {
		next := *s
		next.Names, next.Directory = c.names, c.directory
		if err := next.Prepare(); err != nil {
			t.Fatal(err)
		}
		status, err := next.Status()
		if err != nil || status.Issued != c.issued || next.Dir() == s.Dir() && c.directory != s.Directory {
			t.Errorf("%v of %s: %+v %v", c.names, c.directory, status, err)
		}
		if c.issued && len(c.names) > 2 && time.Until(status.Renewal) > time.Minute {
			t.Errorf("the renewal with another name is not due: %+v", status)
		}
	}
}

// TestRenewal: when a certificate is renewed, also if the authority suggests odd times.
func TestRenewal(t *testing.T) {
	from := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	leaf := &x509.Certificate{SerialNumber: big.NewInt(7), NotBefore: from, NotAfter: from.Add(90 * 24 * time.Hour)}
	day := func(n int) time.Time { return from.Add(time.Duration(n) * 24 * time.Hour) }
	for _, c := range []struct{ suggested, want time.Time }{
		{time.Time{}, day(60)}, {day(10), day(10)}, {day(-10), day(-10)}, {day(74), day(74)}, {day(89), day(75)}, {day(400), day(75)},
	} {
		if got := renewal(leaf, state{Renew: c.suggested, Serial: "7"}); !got.Equal(c.want) {
			t.Errorf("suggested %v: %v, want %v", c.suggested, got, c.want)
		}
	}
	// What was suggested for another certificate means nothing.
	if got := renewal(leaf, state{Renew: day(1), Serial: "8"}); !got.Equal(day(60)) {
		t.Errorf("suggested for another one: %v", got)
	}
}

// TestExplanations: problems that the tests with an authority cannot cause.
func TestExplanations(t *testing.T) {
	st := &store{Settings: settings(t)}
	name := rfc8555.Authorization{Identifier: rfc8555.Identifier{Type: "dns", Value: "b.example"}}
	problem := func(kind, detail string, status int, resource any) error {
		return fmt.Errorf("solving challenge: %w", rfc8555.Problem{Type: rfc8555.ProblemTypeNamespace + kind, Detail: detail, Status: status, Resource: resource})
	}
	for _, c := range []struct {
		err          error
		reason, hint string
		soon         bool
	}{
		{problem("caa", "CAA record for b.example prevents issuance", 403, name), "refuses a certificate for b.example: CAA record", "CAA record", false},
		{problem("dns", "DNS problem: NXDOMAIN looking up A for b.example", 400, name), "NXDOMAIN", "A or AAAA record", false},
		{problem("connection", "192.0.2.7: Fetching http://b.example/x: Timeout during connect (likely firewall problem)", 400, name), "cannot connect to http://b.example/", "port 80 of b.example must lead to this server, which listens on port 8080", false},
		{problem("unauthorized", "192.0.2.7: Invalid response from http://b.example/x: 404", 403, name), "gets a wrong answer from http://b.example/", "another machine", false},
		{problem("tls", "remote error: tls: unrecognized name", 400, name), "gets no answer", "port 80", false},
		{problem("serverInternal", "down for maintenance", 500, nil), "has an error: down", "", true},
		{problem("userActionRequired", "new terms", 403, nil), "wants you to do something: new terms", "", false},
		{problem("invalidContact", "no MX", 400, nil), "does not accept the address of --acme-email", "--acme-email", false},
		{problem("malformed", "odd\x1b[2J\nlines", 400, nil), "refuses a certificate for a.example: odd [2J lines", "", false},
		{&net.DNSError{Err: "no such host", Name: "ca.example"}, "the name ca.example cannot be resolved", "/etc/resolv.conf", true},
		{errors.New("unexpected"), "the authority ca.example (https://ca.example/dir): unexpected", "", true},
	} {
		f := st.explain(c.err, nil)
		if !strings.Contains(f.Reason, c.reason) || !strings.Contains(f.Hint, c.hint) || f.Soon != c.soon {
			t.Errorf("%v:\n%+v", c.err, f)
		}
		if strings.ContainsAny(f.Reason+f.Hint, "\x1b\n") {
			t.Errorf("%q", f.Reason)
		}
	}
}

// TestBinding: the file of --acme-external-account.
func TestBinding(t *testing.T) {
	for text, want := range map[string]string{
		"kid-1 " + strings.Repeat("QUJD", 8) + "\n": "", "kid-1\n" + strings.Repeat("QU+/", 8) + "==": "",
		"": "0 words", "kid-1": "1 words", "kid-1 short": "not a key", "a b c": "3 words", "kid-1 ???" + strings.Repeat("A", 40): "not a key",
	} {
		b, err := parseBinding(text)
		if (err == nil) != (want == "") || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %+v %v, want %q", text, b, err, want)
		}
	}
}
