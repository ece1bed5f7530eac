package httpc

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"modwsgi/internal/fault"
)

func TestRead(t *testing.T) {
	for _, tt := range []struct {
		rate, total string
		want        Limits // zero for an error
	}{
		{"", "", Limits{DefaultRate, DefaultWindow, DefaultTotal, false, 0}},
		{"0", "1h", Limits{0, DefaultWindow, time.Hour, true, 0}},
		{"64k", "90", Limits{64 << 10, 90 * time.Second / 16, 90 * time.Second, true, 0}},
		{" 500 ", "1ms", Limits{500, 100 * time.Millisecond, time.Millisecond, true, 0}},
		{"-1", "", Limits{}},
		{"K", "", Limits{}},
		{"fast", "", Limits{}},
		{"9000000000G", "", Limits{}},
		{"", "0", Limits{}},
		{"", "-5s", Limits{}},
		{"", "soon", Limits{}},
	} {
		l, err := ReadLimits([]string{RateVariable + "=" + tt.rate, TimeoutVariable + "=" + tt.total})
		if tt.want == (Limits{}) {
			if fault.ClassOf(err) != fault.Usage || fault.HintOf(err) == "" {
				t.Errorf("%q, %q: %v, %v", tt.rate, tt.total, l, err)
			}
			continue
		}
		if err != nil || l != tt.want {
			t.Errorf("%q, %q: %+v, %v", tt.rate, tt.total, l, err)
		}
	}
}

// TestBusyReader: only the server's time counts.
func TestBusyReader(t *testing.T) {
	r := Limits{Rate: 1 << 20, Window: time.Millisecond}.Reader(strings.NewReader("abcdef"))
	b := make([]byte, 1)
	for {
		_, err := r.Read(b)
		if err == io.EOF {
			return
		}
		if err != nil {
			t.Fatal(err)
		}
		time.Sleep(2 * time.Millisecond) // the reader's own time
	}
}

func TestTransport(t *testing.T) {
	drip := func(w http.ResponseWriter, r *http.Request) {
		for r.Context().Err() == nil {
			if _, err := w.Write([]byte("x")); err != nil {
				return
			}
			w.(http.Flusher).Flush()
			select {
			case <-r.Context().Done():
			case <-time.After(20 * time.Millisecond):
			}
		}
	}
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/drip":
			drip(w, r)
		case "/silent":
			_, _ = io.Copy(io.Discard, r.Body)
			<-r.Context().Done()
		case "/half":
			_, _ = w.Write([]byte("half"))
			w.(http.Flusher).Flush()
			<-r.Context().Done()
		case "/deaf": // reads nothing of what is sent
			time.Sleep(2 * time.Second) // longer than the limit of the test
		default:
			data, _ := io.ReadAll(r.Body) // HTTP/1 answers after the request
			_, _ = w.Write(data)
		}
	}))
	t.Cleanup(s.Close)
	var slow *Slow
	var late *Late
	var stalled *Stalled
	for _, tt := range []struct {
		name, path string
		body       int64
		limits     Limits
		want       any
	}{
		{"good", "/", 0, Limits{1 << 10, 200 * time.Millisecond, time.Minute, true, 0}, nil},
		{"sent and answered", "/", 1 << 20, Limits{1 << 10, 500 * time.Millisecond, time.Minute, true, 0}, nil},
		{"below the rate", "/drip", 0, Limits{1 << 20, 200 * time.Millisecond, time.Minute, true, 0}, &slow},
		{"too long", "/drip", 0, Limits{0, 200 * time.Millisecond, time.Second, true, 0}, &late},
		{"no answer", "/silent", 0, Limits{1, 200 * time.Millisecond, time.Minute, true, 0}, &stalled},
		{"no answer to what was sent", "/silent", 1 << 20, Limits{1, 200 * time.Millisecond, time.Minute, true, 0}, &stalled},
		{"stops in the middle", "/half", 0, Limits{1, 200 * time.Millisecond, time.Minute, true, 0}, &stalled},
		{"takes nothing", "/deaf", 1 << 30, Limits{1, 200 * time.Millisecond, time.Minute, true, 0}, &stalled},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c := &http.Client{Transport: tt.limits.Transport(http.DefaultTransport)}
			var body io.Reader
			if tt.body > 0 {
				body = io.LimitReader(zeros{}, tt.body)
			}
			req, err := http.NewRequestWithContext(context.Background(), http.MethodPost, s.URL+tt.path, body)
			if err != nil {
				t.Fatal(err)
			}
			began := time.Now()
			resp, err := c.Do(req)
			if err == nil {
				var n int64
				n, err = io.Copy(io.Discard, resp.Body)
				if cerr := resp.Body.Close(); err == nil {
					err = cerr
				}
				if err == nil && n != tt.body {
					t.Errorf("%d bytes of %d", n, tt.body)
				}
			}
			if tt.want == nil && err != nil || tt.want != nil && !errors.As(err, tt.want) {
				t.Errorf("%v", err)
			}
			if spent := time.Since(began); spent > 10*time.Second {
				t.Errorf("it took %s", spent)
			}
		})
	}
}

type zeros struct{}

func (zeros) Read(b []byte) (int, error) { clear(b); return len(b), nil }
