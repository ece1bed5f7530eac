package httpc

import (
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"modwsgi/internal/fault"
)

func TestNothingSecretIsShown(t *testing.T) {
	for raw, want := range map[string]string{
		"https://me:s3cret@a.example/x?token=s3cret#s3cret": "https://a.example/x",
		"me:s3cret@proxy":       "…@proxy",
		"http://me:s3%ret@a:b/": "…@a:b/",
		"plain":                 "plain",
	} {
		if got := RedactText(raw); got != want {
			t.Errorf("%q: %q, want %q", raw, got, want)
		}
	}
	_, err := http.Get("http://127.0.0.1:1/x?token=s3cret")
	if err == nil || !strings.Contains(err.Error(), "s3cret") {
		t.Fatalf("%v", err)
	}
	if got := Plain(err); strings.Contains(got.Error(), "s3cret") || !Unreachable(got) {
		t.Errorf("%v", got)
	}
	for _, v := range []string{"HTTPS_PROXY=ftp://me:s3cret@p:1", "http_proxy=me:s3cret@%", "ALL_PROXY=socks4://me:s3cret@p"} {
		_, err := Proxy([]string{v})
		if fault.ClassOf(err) != fault.Usage || strings.Contains(err.Error()+fault.HintOf(err), "s3cret") {
			t.Errorf("%s: %v", v, err)
		}
	}
}

func TestRedirects(t *testing.T) {
	asked := 0
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked++
		http.Redirect(w, r, r.URL.Query().Get("to"), http.StatusFound)
	}))
	t.Cleanup(s.Close)
	transport, err := NewTransport(Options{HeaderTimeout: 5 * time.Second})
	if err != nil {
		t.Fatal(err)
	}
	client := NewClient(transport, func(u *url.URL) error {
		if u.Scheme != "http" {
			return &RedirectError{"not " + u.Scheme}
		}
		return nil
	})
	_, err = client.Get(s.URL + "/?to=file:///etc/passwd")
	if err == nil || !strings.Contains(err.Error(), "not file") || asked != 1 || !RefusedForGood(err) {
		t.Errorf("%v after %d requests", err, asked)
	}
	asked = 0
	loop := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked++
		http.Redirect(w, r, "/again", http.StatusFound)
	}))
	t.Cleanup(loop.Close)
	if _, err := client.Get(loop.URL); err == nil || !strings.Contains(err.Error(), "more than 5 redirects") || asked != MaxRedirects+1 {
		t.Errorf("%v after %d requests", err, asked)
	}
}

// TestServersThatAreNotTrusted: a registry's hint and a retry depend on which of the two
// it is.
func TestServersThatAreNotTrusted(t *testing.T) {
	handler := http.HandlerFunc(func(http.ResponseWriter, *http.Request) {})
	plain, encrypted := httptest.NewServer(handler), httptest.NewTLSServer(handler)
	t.Cleanup(plain.Close)
	t.Cleanup(encrypted.Close)
	encrypted.Config.ErrorLog = log.New(io.Discard, "", 0)
	transport, err := NewTransport(Options{HeaderTimeout: 5 * time.Second})
	if err != nil {
		t.Fatal(err)
	}
	client := NewClient(transport, nil)
	for address, want := range map[string][2]bool{
		strings.Replace(plain.URL, "http:", "https:", 1): {false, true}, encrypted.URL: {true, false},
	} {
		_, err := client.Get(address)
		if err == nil || Untrusted(err) != want[0] || WithoutTLS(err) != want[1] || !RefusedForGood(err) {
			t.Errorf("%s: %v", address, err)
		}
	}
}
