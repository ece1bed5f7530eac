//go:build acceptance && linux

package express_test

import (
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"modwsgi/internal/freeport"
)

// bodyApp answers with what it got.
const bodyApp = `def application(environ, start_response):
    body = environ["wsgi.input"].read()
    text = "%s %s %s %d %s" % (environ["REQUEST_METHOD"], environ["PATH_INFO"], environ.get("HTTP_X_A", "-"), len(body), body[-5:].decode())
    start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", str(len(text)))])
    return [text.encode()]
`

// TestParkedClients: clients that send the head of a request slowly keep nobody waiting,
// with and without TLS, and what they have sent arrives whole, however it was cut.
func TestParkedClients(t *testing.T) {
	testEnv(t)
	dir := workDir(t, "")
	app := write(t, filepath.Join(dir, "app.py"), bodyApp)
	stem, _ := certificate(t, dir, "localhost")
	https := freeport.Get(t)
	s := begin(t, dir, app, "--https-port", strconv.Itoa(https), "--server-name", "localhost", "--ssl-certificate", stem, "--header-max-timeout", "60", "--header-timeout", "60")
	if !tlsUp(s) {
		t.Skip("this httpd has no mod_ssl")
	}
	for name, dial := range map[string]func() (net.Conn, error){
		"plain": s.tcp,
		"TLS": func() (net.Conn, error) {
			return tls.Dial("tcp", "127.0.0.1:"+strconv.Itoa(https), &tls.Config{InsecureSkipVerify: true, NextProtos: []string{"http/1.1"}})
		},
	} {
		t.Run(name, func(t *testing.T) {
			open := func() net.Conn {
				t.Helper()
				c, err := dial()
				if err != nil {
					t.Fatal(err)
				}
				_ = c.SetDeadline(time.Now().Add(50 * time.Second))
				t.Cleanup(func() { _ = c.Close() })
				return c
			}
			// What the answers are while nobody is slow.
			long := strings.Repeat("x", 70000)
			requests := map[string]string{
				"GET":        "GET /a HTTP/1.1\r\nHost: localhost\r\nX-A: 1\r\nConnection: close\r\n\r\n",
				"leading":    "\r\n\r\nGET /a HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n",
				"LF":         "GET /a HTTP/1.1\nHost: localhost\nConnection: close\n\n",
				"body":       "POST /b HTTP/1.1\r\nHost: localhost\r\nContent-Length: 11\r\nConnection: close\r\n\r\nhello\r\n\r\nab",
				"large body": "POST /b HTTP/1.1\r\nHost: localhost\r\nContent-Length: 70000\r\nConnection: close\r\n\r\n" + long,
				"pipelined":  "GET /1 HTTP/1.1\r\nHost: localhost\r\n\r\nPOST /2 HTTP/1.1\r\nHost: localhost\r\nContent-Length: 3\r\n\r\nabcGET /3 HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n",
				"long head":  "GET /a HTTP/1.1\r\nHost: localhost\r\nX-A: " + long[:7000] + "\r\nX-B: " + long[:7000] + "\r\nX-C: " + long[:7000] + "\r\nConnection: close\r\n\r\n",
				"too long":   "GET /a HTTP/1.1\r\nHost: localhost\r\nX-A: " + long + "\r\n\r\n",
				"no head":    "nonsense\r\n\r\n",
				"a line":     "GET /a\r\n",
				"no host":    "GET /a HTTP/1.1\r\n\r\n",
			}
			ask := func(text string, cuts int) string {
				c := open()
				part := max(1, min(len(text), 200)/cuts)
				for k := 0; k < 200 && text != "" && cuts > 1; k += part {
					n := min(part, len(text))
					if _, err := io.WriteString(c, text[:n]); err != nil {
						break
					}
					text = text[n:]
					time.Sleep(10 * time.Millisecond) // the parts must not arrive together
				}
				_, _ = io.WriteString(c, text)
				answer, _ := io.ReadAll(c)
				var lines []string
				for line := range strings.Lines(string(answer)) {
					if !strings.HasPrefix(line, "Date: ") {
						lines = append(lines, line)
					}
				}
				return strings.Join(lines, "")
			}
			want := map[string]string{}
			for what, text := range requests {
				want[what] = ask(text, 1)
			}
			if !strings.HasSuffix(want["pipelined"], "GET /3 - 0 ") || !strings.Contains(want["pipelined"], "POST /2 - 3 abc") || !strings.HasSuffix(want["large body"], "POST /b - 70000 xxxxx") {
				t.Fatalf("%q", want)
			}
			// More slow clients than two processes have threads.
			var slow []net.Conn
			for range 400 {
				c := open()
				_, _ = io.WriteString(c, "GET /slow HTTP/1.1\r\nHost: localhost\r\nX-A: ")
				slow = append(slow, c)
			}
			time.Sleep(3 * time.Second) // in which httpd starts more processes if threads are missing
			if n := len(httpds(s)); n > 4 {
				t.Errorf("400 slow clients have led to %d processes of 100 threads", n)
			}
			quick := time.Now()
			for range 20 {
				if got := ask(requests["GET"], 1); got != want["GET"] {
					t.Errorf("a quick client: %.300q, want %.300q", got, want["GET"])
				}
			}
			if took := time.Since(quick); took > 10*time.Second {
				t.Errorf("20 quick requests took %v", took)
			}
			var wait sync.WaitGroup
			for what, text := range requests {
				for _, cuts := range []int{1, 2, 7, 40} {
					wait.Go(func() {
						if got := ask(text, cuts); got != want[what] {
							t.Errorf("%s in %d parts: %.300q, want %.300q", what, cuts, got, want[what])
						}
					})
				}
			}
			wait.Wait()
			for k, c := range slow {
				wait.Go(func() {
					fmt.Fprintf(c, "%d\r\nConnection: close\r\n\r\n", k)
					if answer, err := io.ReadAll(c); err != nil || !strings.HasSuffix(string(answer), fmt.Sprintf("GET /slow %d 0 ", k)) {
						t.Errorf("slow client %d: %.200q, %v", k, answer, err)
					}
				})
			}
			wait.Wait()
		})
	}
}
