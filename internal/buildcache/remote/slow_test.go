package remote

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"modwsgi/internal/fault"
	"modwsgi/internal/httpc"
)

// TestSlowRegistry: no answer of a registry, of whatever kind, is read for longer than
// the minimum rate allows.
func TestSlowRegistry(t *testing.T) {
	_, trust := pair(t)
	drip := func(w http.ResponseWriter, r *http.Request) {
		tick := time.NewTicker(20 * time.Millisecond)
		defer tick.Stop()
		for range 3000 {
			if _, err := w.Write([]byte("x")); err != nil {
				return
			}
			w.(http.Flusher).Flush()
			select {
			case <-tick.C:
			case <-r.Context().Done():
				return
			}
		}
	}
	for name, h := range map[string]http.HandlerFunc{
		"manifest": drip,
		"error": func(w http.ResponseWriter, r *http.Request) {
			w.WriteHeader(http.StatusForbidden)
			drip(w, r)
		},
		"token": func(w http.ResponseWriter, r *http.Request) {
			if strings.HasSuffix(r.URL.Path, "/token") {
				drip(w, r)
				return
			}
			w.Header().Set("WWW-Authenticate", `Bearer realm="http://`+r.Host+`/token",service="s"`)
			w.WriteHeader(http.StatusUnauthorized)
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := httptest.NewServer(h)
			t.Cleanup(s.Close)
			c, err := Open("oci://"+strings.TrimPrefix(s.URL, "http://")+"/team/cache", Options{Trust: trust, Stall: 300 * time.Millisecond, Rate: 10_000, Dir: "/nowhere"})
			if err != nil {
				t.Fatal(err)
			}
			began := time.Now()
			hit, err := c.Pull(t.Context(), key, empty(t), nil)
			if hit || err == nil {
				t.Errorf("%v, %v", hit, err)
			}
			var slow *httpc.Slow
			if name != "error" && !errors.As(err, &slow) {
				t.Errorf("%v", err)
			}
			if spent := time.Since(began); spent > 10*time.Second {
				t.Errorf("it took %s", spent)
			}
		})
	}
	t.Run("limits of the environment", func(t *testing.T) {
		c, err := Open("oci-layout:/nowhere", Options{Trust: trust, Env: []string{httpc.TimeoutVariable + "=32s", httpc.RateVariable + "=5"}})
		if err != nil || c.o.Total != 32*time.Second || c.o.Stall != 2*time.Second || c.o.Rate != 5 {
			t.Errorf("%+v, %v", c, err)
		}
		if _, err := Open("oci-layout:/nowhere", Options{Trust: trust, Env: []string{httpc.RateVariable + "=fast"}}); fault.ClassOf(err) != fault.Usage {
			t.Errorf("%v", err)
		}
	})
}
