package supervise

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"modwsgi/express/host"
)

// TestMeansThisMachine: names that another site can choose are refused.
func TestMeansThisMachine(t *testing.T) {
	for name, want := range map[string]bool{
		"localhost": true, "LOCALHOST:9119": true, "localhost.": true, "127.0.0.1": true, "127.0.0.1:9119": true, "127.8.9.1:1": true, "[::1]:9119": true, "[::1]": true, "::1": true,
		"": false, "example.com": false, "example.com:9119": false, "localhost.example.com": false, "127.0.0.1.example.com": false, "10.0.0.1:9119": false, "0.0.0.0": false, "[::]:1": false,
		"localhost:1:2": false, "127.0.0.1@example.com": false, "2130706433": false, "[": false,
	} {
		if got := meansThisMachine([]string{name}); got != want {
			t.Errorf("%q: %v", name, got)
		}
	}
	if !meansThisMachine(nil) || meansThisMachine([]string{"localhost", "localhost"}) || meansThisMachine([]string{"localhost", "example.com"}) {
		t.Error("no name, or two of them")
	}
}

// TestPrintable: a client chooses the method and the path.
func TestPrintable(t *testing.T) {
	c := &host.Counts{Slowest: []host.SlowRequest{{Time: time.Now(), Duration: time.Second, Status: 200, Text: "GET /\x1b]0;x\a\u202e\xff\x9b31m<script>", Cut: true}}}
	list := slowest(c, time.Now())
	if want := "/%1B]0;x%07%E2%80%AE%FF%9B31m<script>..."; len(list) != 1 || list[0].Path != want || list[0].Method != "GET" {
		t.Errorf("%+v, want %s", list, want)
	}
}

// TestCertificates: what a file tells, and why one tells nothing.
func TestCertificates(t *testing.T) {
	dir := t.TempDir()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	ends := time.Now().Add(30*24*time.Hour + time.Hour).UTC().Truncate(time.Second)
	issue := func(name string, c *x509.Certificate) string {
		t.Helper()
		c.SerialNumber, c.NotBefore, c.NotAfter = big.NewInt(1), time.Now().Add(-time.Hour), ends
		der, err := x509.CreateCertificate(rand.Reader, c, c, &key.PublicKey, key)
		if err != nil {
			t.Fatal(err)
		}
		path := filepath.Join(dir, name)
		text := append([]byte("# a comment\n"), pem.EncodeToMemory(&pem.Block{Type: "EC PARAMETERS", Bytes: []byte{5, 0}})...)
		text = append(text, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})...)
		if err := os.WriteFile(path, append(text, text...), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	names := issue("names", &x509.Certificate{DNSNames: []string{"www.example.com", "example.com"}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}})
	common := issue("common", &x509.Certificate{Subject: pkix.Name{CommonName: "old\x1b[2J.example"}})
	empty := filepath.Join(dir, "empty")
	if err := os.WriteFile(empty, []byte("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	list := readCertificates([]string{names, common, empty, filepath.Join(dir, "none"), dir})
	if c := list[0]; c.Error != "" || !c.NotAfter.Equal(ends) || !slices.Equal(c.Names, []string{"www.example.com", "example.com", "127.0.0.1"}) {
		t.Errorf("%+v", c)
	}
	if c := list[1]; c.Error != "" || !slices.Equal(c.Names, []string{"old%1B[2J.example"}) {
		t.Errorf("%+v", c)
	}
	for _, c := range list[2:] {
		if c.Error == "" || c.Names == nil || !strings.Contains(c.Text(time.Now()), c.File) {
			t.Errorf("%+v", c)
		}
	}
	now := time.Now()
	for at, want := range map[time.Time]string{now: "valid for 30 days (", ends.Add(-30 * time.Hour): "expires in 30 h (", ends.Add(time.Second): "EXPIRED ("} {
		if got := list[0].Validity(at); !strings.HasPrefix(got, want) {
			t.Errorf("%q, want %q", got, want)
		}
	}
}
