//go:build acceptance && unix

package express_test

import (
	"fmt"
	"io"
	mathrand "math/rand/v2"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"modwsgi/internal/freeport"
)

// Here the parsers behind the comparison are checked against httpd, with random words
// that no launcher has written: quotes, backslashes and variables.

var probeAlphabet = []string{`"`, `'`, `\`, `\\`, `\"`, `\'`, "${FUZZ}", "${NOT_SET}", "${", "$1", `\$1`, "%", "%%", "%{", "}", " ", "\t", "a", "n", "x2", "[", "]", "*", "?", ".", "(", ")", "^", "|", "+", "é", "/"}

func probe(random *mathrand.Rand, quoted bool) string {
	var b strings.Builder
	for range 1 + random.IntN(10) {
		b.WriteString(probeAlphabet[random.IntN(len(probeAlphabet))])
	}
	if quoted {
		return `"` + b.String() + `"`
	}
	return b.String()
}

// probeLines are raw words that our parser reads as one word.
func probeLines(random *mathrand.Rand, n int, vars map[string]string, fits func(raw, word string) bool) (raw, words []string) {
	for len(raw) < n {
		line := probe(random, random.IntN(2) == 0)
		found := allWords(resolved(line+` "more"`, vars))
		if len(found) != 2 || found[0] == "" || found[1] != "more" || strings.HasSuffix(line, `\`) || !fits(line, found[0]) {
			continue
		}
		raw, words = append(raw, line), append(words, found[0])
	}
	return raw, words
}

// TestReaderAgreesWithHTTPD: words and variables, compared with the names that httpd
// reports as defined.
//
// Once: mod_wsgi is not involved.
func TestReaderAgreesWithHTTPD(t *testing.T) {
	p := installed(t)
	random := mathrand.New(mathrand.NewPCG(seed(t), 5))
	raw, words := probeLines(random, 3000, p.vars, func(string, string) bool { return true })
	conf := "ServerName localhost\nErrorLog /dev/null\nLoadModule mpm_event_module \"" + p.modules + "/mod_mpm_event.so\"\n"
	for k, r := range raw {
		conf += fmt.Sprintf("Define K%d %s\n", k, r)
	}
	cmd := exec.CommandContext(t.Context(), p.httpd, "-t", "-DDUMP_RUN_CFG", "-f", write(t, filepath.Join(workDir(t, ""), "c"), conf))
	cmd.Env = p.environ()
	var said strings.Builder
	cmd.Stderr = &said
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%v\n%s", err, said.String())
	}
	defined := map[string]string{}
	for _, m := range regexp.MustCompile(`(?m)^Define: (K\d+)=(.*)$`).FindAllStringSubmatch(string(out), -1) {
		defined[m[1]] = m[2]
	}
	for k := range raw {
		if got := defined[fmt.Sprint("K", k)]; got != words[k] {
			t.Errorf("httpd reads %q as %q, we as %q", raw[k], got, words[k])
		}
	}
}

// probes are raw words of one kind, with their meaning according to our parser.
type probes struct{ raw, means []string }

// meaningful draws words whose meaning a request can show.
func meaningful(random *mathrand.Rand, n int, vars map[string]string, read func(string) (string, error), without string) (p probes) {
	shows := func(_, word string) bool {
		m, err := read(word)
		return err == nil && m != "" && m == strings.Trim(m, " \t") && !strings.ContainsAny(m, "\r\n\x01") && !strings.ContainsAny(word[:1], without)
	}
	var words []string
	p.raw, words = probeLines(random, n, vars, shows)
	for _, w := range words {
		m, _ := read(w)
		p.means = append(p.means, m)
	}
	return p
}

// patterns is meaningful for mod_rewrite, which splits its lines differently.
func patterns(random *mathrand.Rand, n int, vars map[string]string) (p probes) {
	for len(p.raw) < n {
		raw := probe(random, true)
		found := rewriteWords(resolved(raw, vars))
		if len(found) != 1 || strings.HasSuffix(raw, `\"`) {
			continue
		}
		if m, err := readRegexp(found[0]); err == nil && m != "" && m == strings.Trim(m, " \t") {
			p.raw, p.means = append(p.raw, raw[1:len(raw)-1]), append(p.means, m)
		}
	}
	return p
}

// TestMeaningAgreesWithHTTPD: what mod_headers, mod_rewrite and error documents make of
// their words, shown by the answers of a running httpd.
//
// Once: mod_wsgi is not involved.
func TestMeaningAgreesWithHTTPD(t *testing.T) {
	p := installed(t)
	random := mathrand.New(mathrand.NewPCG(seed(t), 6))
	const each = 150
	headers, messages := meaningful(random, each, p.vars, readHeader, ""), meaningful(random, each, p.vars, readExpression, `/"`)
	literals := patterns(random, each, p.vars)
	conf := "RewriteEngine On\n"
	for k := range each {
		conf += fmt.Sprintf("Header always set X-P%d %s \"expr=%%{REQUEST_URI} == '/headers'\"\n", k, headers.raw[k])
		conf += fmt.Sprintf("<Location /m%d>\nErrorDocument 404 %s\n</Location>\n", k, messages.raw[k])
		conf += fmt.Sprintf("RewriteCond %%{HTTP:X-Number} =%d\nRewriteCond %%{HTTP:X-Probe} \"^%s$\"\nRewriteRule ^ - [R=410,L]\n", k, literals.raw[k])
	}
	ask := probed(t, p, conf)
	shown, _ := ask("/headers", nil)
	for k := range each {
		if got := shown.Header.Get(fmt.Sprint("X-P", k)); got != headers.means[k] {
			t.Errorf("the header %s is %q, want %q", headers.raw[k], got, headers.means[k])
		}
		if _, got := ask(fmt.Sprint("/m", k), nil); got != messages.means[k] {
			t.Errorf("the message %s is %q, want %q", messages.raw[k], got, messages.means[k])
		}
		text := literals.means[k]
		for probe, code := range map[string]int{text: 410, text + "x": 404, "x" + text: 404} {
			if resp, _ := ask("/p", map[string]string{"X-Number": fmt.Sprint(k), "X-Probe": probe}); resp.StatusCode != code {
				t.Errorf("the pattern %s, meaning %q, with %q: %d", literals.raw[k], text, probe, resp.StatusCode)
			}
		}
	}
}

// probed starts an httpd with a configuration and returns a function that sends it
// requests.
func probed(t *testing.T, p *place, conf string) func(path string, header map[string]string) (*http.Response, string) {
	t.Helper()
	dir, address := workDir(t, ""), fmt.Sprintf("127.0.0.1:%d", freeport.Get(t))
	all := fmt.Sprintf("ServerName localhost\nServerRoot %q\nPidFile %q\nErrorLog %q\nListen %s\nDocumentRoot %q\n", dir, dir+"/pid", dir+"/log", address, dir)
	for _, m := range []string{"mpm_event", "unixd", "authz_core", "rewrite", "headers"} {
		all += "LoadModule " + m + "_module \"" + p.modules + "/mod_" + m + ".so\"\n"
	}
	if os.Geteuid() == 0 {
		all += "User " + p.user + "\nGroup " + groupOf(p.user) + "\n"
	}
	cmd := exec.CommandContext(t.Context(), p.httpd, "-X", "-e", "error", "-f", write(t, filepath.Join(dir, "c"), all+conf))
	cmd.Env, cmd.Stderr = p.environ(), os.Stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
	for deadline := time.Now().Add(time.Minute); time.Now().Before(deadline); time.Sleep(20 * time.Millisecond) {
		if c, err := net.Dial("tcp", address); err == nil {
			c.Close()
			break
		}
	}
	return func(path string, header map[string]string) (*http.Response, string) {
		t.Helper()
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+address+path, nil)
		if err != nil {
			t.Fatal(err)
		}
		for name, v := range header {
			req.Header.Set(name, v)
		}
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		body, err := io.ReadAll(resp.Body)
		if err != nil {
			t.Fatal(err)
		}
		return resp, string(body)
	}
}
