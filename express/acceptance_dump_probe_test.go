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
)

// The readers that the comparison relies on are held against httpd here, with
// words that no launcher has written: quotes, backslashes and variables as chance
// has it.

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

// probeLines are raw words that are one word by our reading.
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

// TestReaderAgreesWithHTTPD: words and variables, by what httpd says that it has
// defined.
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

// TestMeaningAgreesWithHTTPD: what mod_headers, mod_rewrite and error documents
// make of their words, by what a running httpd answers.
func TestMeaningAgreesWithHTTPD(t *testing.T) {
	p := installed(t)
	random := mathrand.New(mathrand.NewPCG(seed(t), 6))
	dir, port := workDir(t, ""), freePort(t)
	conf := fmt.Sprintf("ServerName localhost\nServerRoot %q\nPidFile %q\nErrorLog %q\nListen 127.0.0.1:%d\nDocumentRoot %q\n", dir, dir+"/pid", dir+"/log", port, dir)
	for _, m := range []string{"mpm_event", "unixd", "authz_core", "rewrite", "headers"} {
		conf += "LoadModule " + m + "_module \"" + p.modules + "/mod_" + m + ".so\"\n"
	}
	if os.Geteuid() == 0 {
		conf += "User " + p.user + "\nGroup " + groupOf(p.user) + "\n"
	}
	meaning := func(read func(string) (string, error)) func(raw, word string) bool {
		return func(_, word string) bool {
			m, err := read(word)
			return err == nil && m == strings.Trim(m, " \t") && !strings.ContainsAny(m, "\r\n") && m != "" && m != "default"
		}
	}
	const each = 150
	headers, inHeaders := probeLines(random, each, p.vars, meaning(readHeader))
	messages, inMessages := probeLines(random, each, p.vars, func(raw, word string) bool {
		return meaning(readExpression)(raw, word) && !strings.ContainsAny(word[:1], `/"`) && !strings.Contains(word, "%{")
	})
	var patterns, inPatterns []string
	for len(patterns) < each {
		raw := probe(random, true)
		found := rewriteWords(resolved(raw, p.vars))
		if len(found) == 1 && len(raw) > 3 && !strings.HasSuffix(raw, `\"`) && !strings.ContainsAny(found[0][:min(1, len(found[0]))], `!=<>-`) && meaning(readRegexp)("", found[0]) {
			patterns, inPatterns = append(patterns, raw), append(inPatterns, found[0])
		}
	}
	conf += "RewriteEngine On\n"
	for k := range each {
		conf += fmt.Sprintf("Header always set X-P%d %s \"expr=%%{REQUEST_URI} == '/headers'\"\n<Location /m%d>\nErrorDocument 404 %s\n</Location>\n", k, headers[k], k, messages[k])
		quoted := patterns[k]
		conf += fmt.Sprintf("RewriteCond %%{HTTP:X-Number} =%d\nRewriteCond %%{HTTP:X-Probe} \"^%s$\"\nRewriteRule ^ - [R=410,L]\n", k, quoted[1:len(quoted)-1])
	}
	cmd := exec.CommandContext(t.Context(), p.httpd, "-X", "-e", "error", "-f", write(t, filepath.Join(dir, "c"), conf))
	cmd.Env, cmd.Stderr = p.environ(), os.Stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
	base := fmt.Sprintf("http://127.0.0.1:%d", port)
	for deadline := time.Now().Add(10 * time.Second); time.Now().Before(deadline); time.Sleep(20 * time.Millisecond) {
		if c, err := net.Dial("tcp", base[7:]); err == nil {
			c.Close()
			break
		}
	}
	ask := func(path string, header map[string]string) (*http.Response, string) {
		req, err := http.NewRequestWithContext(t.Context(), "GET", base+path, nil)
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
		body, _ := io.ReadAll(resp.Body)
		return resp, string(body)
	}
	all, _ := ask("/headers", nil)
	for k := range each {
		if want, _ := readHeader(inHeaders[k]); all.Header.Get(fmt.Sprint("X-P", k)) != want {
			t.Errorf("the header %s is %q, by our reading %q", headers[k], all.Header.Get(fmt.Sprint("X-P", k)), want)
		}
		if want, _ := readExpression(inMessages[k]); true {
			if _, got := ask(fmt.Sprint("/m", k), nil); got != want {
				t.Errorf("the message %s is %q, by our reading %q", messages[k], got, want)
			}
		}
		want, _ := readRegexp(inPatterns[k])
		for text, code := range map[string]int{want: 410, want + "x": 404, "x" + want: 404} {
			if resp, _ := ask("/p", map[string]string{"X-Number": fmt.Sprint(k), "X-Probe": text}); resp.StatusCode != code {
				t.Errorf("the pattern %s, by our reading %q, with %q: %d", patterns[k], want, text, resp.StatusCode)
			}
		}
	}
}
