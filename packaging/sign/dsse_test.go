package sign

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"testing"
	"time"
)

// TestEnvelope: the signed text is that of the specification's example
// (https://github.com/secure-systems-lab/dsse/blob/v1.0.0/protocol.md, "Test Vectors").
func TestEnvelope(t *testing.T) {
	if got, want := string(paeOf("http://example.com/HelloWorld", []byte("hello world"))), "DSSEv1 29 http://example.com/HelloWorld 11 hello world"; got != want {
		t.Errorf("got %q", got)
	}
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	key := &ECDSA{private}
	one, err := key.Envelope("application/x", []byte("text\n"))
	if err != nil {
		t.Fatal(err)
	}
	two, err := key.Envelope("application/x", []byte("text\n"))
	if err != nil || !bytes.Equal(one, two) {
		t.Errorf("%v: %s, %s", err, one, two)
	}
	if bytes.Count(one, []byte("\n")) != 1 || one[len(one)-1] != '\n' {
		t.Errorf("not one line: %q", one)
	}
	plain, err := key.Sign("", paeOf("application/x", []byte("text\n")), time.Time{})
	if err != nil {
		t.Fatal(err)
	}
	var e envelope
	if err := json.Unmarshal(one, &e); err != nil || string(e.Payload) != "text\n" || len(e.Signatures) != 1 {
		t.Errorf("%v: %+v", err, e)
	} else if s := base64.StdEncoding.EncodeToString(e.Signatures[0].Sig); !key.Made(paeOf("application/x", []byte("text\n")), s) || s+"\n" != string(plain) || key.Made([]byte("text\n"), s) {
		t.Error("not the signature of type and payload")
	}
}
