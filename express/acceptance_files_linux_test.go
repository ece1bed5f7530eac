//go:build acceptance && linux

package express_test

import (
	"bytes"
	"fmt"
	"io"
	"math/rand"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"modwsgi/express/host"
)

// TestStaticFiles: the kernel sends the files of this machine, and clients get each byte
// of them, whole, in ranges and through a filter. A file that is truncated while it is
// sent ends its own response, and nothing else.
//
// Once: mod_wsgi is not involved.
func TestStaticFiles(t *testing.T) {
	testEnv(t)
	dir := workDir(t, "")
	files := filepath.Join(dir, "it's static")
	if err := os.Mkdir(files, 0o755); err != nil {
		t.Fatal(err)
	}
	content := map[string][]byte{}
	for _, size := range []int{0, 1, 255, 256, 8000, 8192, 65536, 100_000, 3 << 20, 20<<20 + 1} {
		data := make([]byte, size)
		_, _ = rand.New(rand.NewSource(int64(size))).Read(data)
		name := fmt.Sprintf("f%d.bin", size)
		content[name] = data
		write(t, filepath.Join(files, name), string(data))
	}
	write(t, filepath.Join(dir, "one.txt"), "one file\n")
	app := write(t, filepath.Join(dir, "app.py"), echoApp)
	s := start(t, dir, app, "--url-alias", "/static", files, "--url-alias", "/one", filepath.Join(dir, "one.txt"), "--document-root", files)
	conf, err := os.ReadFile(filepath.Join(s.root, "httpd.conf"))
	if err != nil {
		t.Fatal(err)
	}
	if n := strings.Count(string(conf), "EnableSendfile On"); n != 3 {
		t.Errorf("sendfile is used for %d of 3 places", n)
	}
	var before []int
	eventually(t, "both processes of httpd", func() bool { before = httpds(s); return len(before) == 2 })
	for name, data := range content {
		for _, at := range []string{"/static/", "/"} {
			if code, body := s.get(at + name); code != 200 || body != string(data) {
				t.Errorf("%s%s: %d, %d bytes", at, name, code, len(body))
			}
		}
		if len(data) < 1000 {
			continue
		}
		for _, r := range [][2]int{{0, 0}, {1, len(data) - 2}, {len(data) - 500, len(data) - 1}} {
			req, _ := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+s.address()+"/static/"+name, nil)
			req.Header.Set("Range", fmt.Sprintf("bytes=%d-%d", r[0], r[1]))
			resp, err := http.DefaultClient.Do(req)
			if err != nil {
				t.Fatal(err)
			}
			body, _ := io.ReadAll(resp.Body)
			_ = resp.Body.Close()
			if resp.StatusCode != http.StatusPartialContent || !bytes.Equal(body, data[r[0]:r[1]+1]) {
				t.Errorf("%s %v: %d, %d bytes", name, r, resp.StatusCode, len(body))
			}
		}
	}
	if code, body := s.get("/one"); code != 200 || body != "one file\n" {
		t.Errorf("%d %q", code, body)
	}
	// A client that reads slowly, and a file that is truncated meanwhile.
	name := fmt.Sprintf("f%d.bin", 20<<20+1)
	c, err := s.tcp()
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	_ = c.(*net.TCPConn).SetReadBuffer(4096)
	fmt.Fprintf(c, "GET /static/%s HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n", name)
	if _, err := io.ReadFull(c, make([]byte, 1000)); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(filepath.Join(files, name), 10); err != nil {
		t.Fatal(err)
	}
	_ = c.SetDeadline(time.Now().Add(20 * time.Second))
	n, _ := io.Copy(io.Discard, c)
	if n >= 20<<20 {
		t.Errorf("%d bytes of a file that was truncated", n)
	}
	if code, body := s.get("/one"); code != 200 || body != "one file\n" {
		t.Errorf("after it: %d %q", code, body)
	}
	if after := httpds(s); fmt.Sprint(after) != fmt.Sprint(before) {
		t.Errorf("httpd's processes are %v, before they were %v", after, before)
	}
}

// httpds returns the processes of httpd that serve connections.
func httpds(s *server) (pids []int) {
	s.t.Helper()
	for _, w := range host.Workers(s.first()) {
		if strings.HasPrefix(w.Title, "httpd") {
			pids = append(pids, w.PID)
		}
	}
	return pids
}
