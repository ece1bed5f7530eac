//go:build acceptance && unix

package express_test

import (
	"fmt"
	mathrand "math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"regexp"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"modwsgi/express"
	"modwsgi/express/config"
)

// seed is the random seed: MODWSGI_TEST_SEED, a number or "random". By default the
// tests draw the same values each time, so that a change is judged by its effect; make
// torture draws new ones (scripts/run-tests).
func seed(t *testing.T) uint64 {
	t.Helper()
	n := uint64(1)
	switch text := os.Getenv("MODWSGI_TEST_SEED"); text {
	case "":
	case "random":
		n = uint64(time.Now().UnixNano())
	default:
		var err error
		if n, err = strconv.ParseUint(text, 10, 64); err != nil {
			t.Fatalf("MODWSGI_TEST_SEED is neither a number nor \"random\": %v", err)
		}
	}
	t.Logf("MODWSGI_TEST_SEED=%d", n)
	return n
}

// inProcess runs the launcher of this tree as the installed program would, but in this
// process: the test is about httpd's reaction.
type inProcess struct {
	t      *testing.T
	output *os.File
}

func newInProcess(t *testing.T) *inProcess {
	t.Helper()
	f, err := os.CreateTemp(t.TempDir(), "output")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	return &inProcess{t: t, output: f}
}

func (p *inProcess) run(dir string, args ...string) (int, string) {
	code := express.Run(p.t.Context(), &express.Console{Stdin: p.output, Stdout: p.output, Stderr: p.output}, &express.Invocation{
		Args: args, Env: []string{"PATH=/usr/bin:/bin", "TMPDIR=" + os.TempDir()}, Executable: launcher(p.t), Name: launcher(p.t), Dir: dir, Version: "test",
	})
	size, _ := p.output.Seek(0, 1)
	data := make([]byte, size)
	_, _ = p.output.ReadAt(data, 0)
	if err := p.output.Truncate(0); err != nil {
		p.t.Error(err)
	}
	_, _ = p.output.Seek(0, 0)
	return code, string(data)
}

// everyChoice has a way to use each option, alone or with those that it needs.
func everyChoice(t *testing.T, dir string) [][]string {
	t.Helper()
	app := write(t, filepath.Join(dir, "app.py"), echoApp)
	inc := write(t, filepath.Join(dir, "in'c [x].conf"), "<IfDefine MOD_WSGI_WITH_PHP5>\nNonsense\n</IfDefine>\nHeader set X-Included yes\n")
	vars := write(t, filepath.Join(dir, "vars.sh"), "export A=b\n")
	stem, _ := certificate(t, dir, "www.example.com")
	docs := filepath.Join(dir, "docs [x] it's")
	if err := os.Mkdir(docs, 0o755); err != nil {
		t.Fatal(err)
	}
	tls := []string{"--https-port", "8443", "--server-name", "www.example.com"}
	numbers := []string{
		"threads", "startup-timeout", "shutdown-timeout", "restart-interval", "cpu-time-limit", "graceful-timeout", "eviction-timeout", "deadlock-timeout",
		"inactivity-timeout", "request-timeout", "connect-timeout", "socket-timeout", "queue-timeout", "header-timeout", "header-max-timeout", "header-min-rate",
		"body-timeout", "body-max-timeout", "body-min-rate", "response-socket-timeout", "keep-alive-timeout", "limit-request-body", "server-backlog", "daemon-backlog",
	}
	choices := [][]string{
		{"--application-type", "static", "--document-root", dir},
		{"--application-type", "paste", "--entry-point", app},
		{"--application-type", "module", "--entry-point", "app"},
		{"--application-type", "script", "--entry-point", app},
		{"--application-group", "it's"},
		{"--application-group", "%{HOST}"},
		{"--process-group", "my-group"},
		{"--mount-point", "/it's \"here\"/"},
		{"--map-head-to-get", "on"},
		{"--working-directory", dir},
		{"--reload-on-changes"},
		{"--disable-reloading"},
		{"--chunked-request"},
		{"--orphan-interpreter"},
		{"--header-min-rate", "0"},
		{"--header-timeout", "40"},
		{"--body-max-timeout", "30", "--body-min-rate", "0"},
		{"--processes", "0"},
		{"--max-clients", "0"},
		{"--processes", "1"},
		{"--processes", "7"},
		{"--max-clients", "300"},
		{"--max-connections", "1"},
		{"--max-connections", "9000", "--max-clients", "100"},
		{"--initial-workers", "0.5", "--minimum-spare-workers", "0.9", "--maximum-spare-workers", "0.1"},
		{"--initial-workers", "0", "--maximum-spare-workers", "1"},
		{"--server-mpm", "prefork"},
		{"--server-mpm", "worker", "--server-mpm", "prefork"},
		{"--maximum-requests", "9"},
		{"--embedded-mode"},
		{"--debug-mode"},
		{"--ignore-activity", "/ping [x]"},
		{"--proxy-timeout", "3"},
		{"--send-buffer-size", "512", "--receive-buffer-size", "512"},
		{"--header-buffer-size", "8192"},
		{"--response-buffer-size", "65536"},
		{"--compress-responses"},
		{"--enable-sendfile"},
		{"--trace-enable", "Extended"},
		{"--allow-connect"},
		{"--follow-symlinks", "owner"},
		{"--follow-symlinks", "all"},
		{"--document-root", dir},
		{"--document-root", docs},
		{"--directory-index", "a.html b.html"},
		{"--directory-listing"},
		{"--allow-override", "All"},
		{"--allow-override", "AuthConfig", "--allow-override", "Indexes"},
		{"--url-alias", "/a b", dir, "--url-alias", "/f", app, "--url-alias", "/missing", filepath.Join(dir, "missing") + "/"},
		{"--error-document", "404", "/it's \"gone\".html"},
		{"--error-document", "503", `say "later"`},
		{"--error-override"},
		{"--mime-types", "/dev/null"},
		{"--rewrite-rules", inc},
		{"--proxy-mount-point", "/far", "http://127.0.0.1:1", "--proxy-url-alias", "/far/x/", "http://127.0.0.1:2/y/"},
		{"--proxy-mount-point", "/", "http://127.0.0.1:1/"},
		{"--proxy-virtual-host", "p.example", "http://127.0.0.1:3"},
		{"--trust-proxy-header", "X-Forwarded-For", "--trust-proxy", "10.0.0.0/8", "--trust-proxy", "::1"},
		{"--host-access-script", app},
		{"--auth-user-script", app},
		{"--auth-user-script", app, "--auth-type", "digest", "--auth-group-script", app, "--auth-group", "it's"},
		{"--server-status"},
		{"--server-metrics"},
		{"--error-log-format", `[%t] "%M"`},
		{"--access-log", "--access-log-format", `%h "%r" \ '%>s'`},
		{"--access-log-format", "combined", "--access-log-name", "a'l"},
		{"--error-log-name", "e'r r"},
		{"--startup-log", "--startup-log-name", "s l"},
		{"--log-directory", filepath.Join(dir, "lo'gs")},
		{"--log-to-terminal"},
		{"--rotate-logs", "--max-log-size", "3"},
		{"--rotate-logs", "--rotate-interval", "daily", "--max-log-files", "7"},
		{"--error-log-utf8"},
		{"--health-path", "/healthz", "--metrics-listen", "9118"},
		{"--dashboard", "9119"},
		{"--dashboard", "9119", "--dashboard-path", "/-/dashboard", "--host-access-script", app},
		{"--error-log-format", "json", "--access-log", "--access-log-format", "json"},
		{"--error-log-format", "terminal", "--access-log", "--access-log-format", "terminal"},
		{"--python-warnings", "ignore::DeprecationWarning"},
		{"--python-eggs", dir},
		{"--python-path", dir, "--python-path", "/it's \"there\""},
		{"--passenv", "PATH", "--passenv", "NOT_SET"},
		{"--setenv", "A", "it's \"b\" ${PATH} \\"},
		{"--include-file", inc},
		{"--locale", "C.UTF-8"},
		{"--lang", "C"},
		{"--process-name", "my httpd"},
		{"--pid-file", filepath.Join(dir, "p id")},
		{"--socket-prefix", dir},
		{"--verbose-debugging"},
		{"--host", "::1"},
		{"--host", "[::1]"},
		{"--host", "localhost"},
		{"--port", "80"},
		{"--server-name", "a.example", "--allow-localhost", "--server-alias", "*.a.example"},
		{"--with-cgi"},
		{"--log-level", "info rewrite:trace3"},
		{"--callable-object", "it's"},
		{"--setup-only"},
		{"--add-handler", ".x y", app, "--add-handler", "z", app},
		{"--service-script", "one", app, "--service-log-file", "one", "one.log", "--service-script", "two", app},
		{"--enable-docs"},
		{"--enable-debugger", "--debugger-startup"},
		{"--enable-profiler", "--profiler-directory", filepath.Join(dir, "prof")},
		{"--enable-recorder", "--recorder-directory", filepath.Join(dir, "rec")},
		{"--enable-coverage", "--coverage-directory", filepath.Join(dir, "cov")},
		{"--json"},
		{"--wait-ready"},
		{"--config", "none"},
		{"--https-auto", "www.example.com,b.example.com", "--acme-state-directory", filepath.Join(dir, "it's acme"), "--acme-directory", "https://127.0.0.1:1/dir"},
		{"--acme-email", "a@example.org", "--acme-ca", stem + ".crt", "--acme-challenge", "tls-alpn-01"},
		append(tls, "--ssl-certificate", stem),
		append(tls, "--ssl-certificate-file", stem+".crt", "--ssl-certificate-key-file", stem+".key", "--ssl-certificate-chain-file", stem+".crt", "--ssl-environment"),
		append(tls, "--ssl-certificate", stem, "--https-only", "--hsts-policy", "max-age=60; includeSubDomains"),
		append(tls, "--ssl-certificate", stem, "--ssl-ca-certificate-file", stem+".crt", "--ssl-verify-client", "/it's"),
	}
	for _, n := range numbers {
		for _, v := range []string{"1", "77", "60000"} {
			choices = append(choices, []string{"--" + n, v})
		}
	}
	if os.Geteuid() == 0 {
		choices = append(choices, []string{"--group", "nogroup"},
			[]string{"--service-script", "three", app, "--service-user", "three", "nobody", "--service-group", "three", "nogroup"})
	} else {
		choices = append(choices, []string{"--envvars-script", vars, "--shell-executable", "/bin/sh"})
	}
	if gdb, err := exec.LookPath("gdb"); err == nil {
		choices = append(choices, []string{"--enable-gdb", "--gdb-executable", gdb})
	}
	return choices
}

// exclude returns the reason why a combination of options must be refused, "" if it
// need not be.
func exclude(args []string) string {
	debug := slices.ContainsFunc(args, func(a string) bool {
		return slices.Contains([]string{"--debug-mode", "--enable-debugger", "--enable-profiler", "--enable-recorder", "--enable-coverage", "--enable-gdb"}, a)
	})
	count := func(pair ...string) (n int) {
		for k := range args[:len(args)-1] {
			if args[k] == pair[0] && args[k+1] == pair[1] {
				n++
			}
		}
		return n
	}
	switch {
	case slices.Contains(args, "--https-auto") && (debug || slices.Contains(args, "--ssl-certificate") || slices.Contains(args, "--ssl-certificate-file")):
		return "--https-auto"
	case debug && slices.Contains(args, "--embedded-mode"):
		return "--embedded-mode"
	case count("--service-script", "one") > 1 || count("--service-script", "three") > 1:
		return "two services"
	}
	return ""
}

// TestEveryOption gives a value to each option that this module supports, alone and in
// random combinations with others, and has httpd read the result.
//
// Once: TestHTTPDReadsWhatWasMeantByEveryOption has each mod_wsgi read each option.
func TestEveryOption(t *testing.T) {
	testEnv(t)
	dir := workDir(t, "")
	choices := everyChoice(t, dir)
	used := map[string]bool{}
	for _, c := range choices {
		for _, w := range c {
			used[w] = true
		}
	}
	for _, o := range config.Table().Options() {
		apart := []string{
			"user", "server-root", "help", "httpd-executable", "modules-directory", "rotatelogs-executable", "http2", "enable-gdb", "gdb-executable",
			"service-user", "service-group", "group", "envvars-script", "shell-executable", "acme-staging", "acme-external-account", "acme-dns-command",
		}
		if o.Gone == "" && config.Since(o) < "6" && !used["--"+o.Name] && !slices.Contains(apart, o.Name) {
			t.Errorf("there is no choice with --%s: add a command line with it to everyChoice", o.Name)
		}
	}
	base := func(root string) []string {
		return append([]string{"setup-server", filepath.Join(dir, "app.py"), "--port", "18765", "--server-root", root}, asUser()...)
	}
	alone := filepath.Join(shortDir(t), "r")
	for _, args := range choices {
		if out, err := command(t, append(base(alone), args...)...).CombinedOutput(); err != nil {
			t.Errorf("%q: %v\n%s", args, err, out)
		}
	}
	began := seed(t)
	// TestHTTPDReadsWhatWasMeantByEveryOption tries more combinations, the faster way;
	// these go through setup-server.
	combinations := 400
	if os.Getenv("MODWSGI_TEST_LONG") != "" {
		combinations = 2000
	}
	numbers := make(chan uint64)
	var all sync.WaitGroup
	for range max(2, runtime.NumCPU()) {
		p, root := newInProcess(t), filepath.Join(memoryDir(t), "r")
		all.Go(func() {
			for n := range numbers {
				random := mathrand.New(mathrand.NewPCG(began, n))
				var args []string
				for _, k := range random.Perm(len(choices))[:2+random.IntN(9)] {
					args = append(args, choices[k]...)
				}
				code, out := p.run(dir, append(base(root), args...)...)
				if why := exclude(args); why != "" {
					if code != 2 || !strings.Contains(out, why) {
						t.Errorf("combination %d, %q: not refused for %s: %d\n%s", n, args, why, code, out)
					}
				} else if code != 0 {
					t.Errorf("combination %d, %q: %d\n%s", n, args, code, out)
				}
			}
		})
	}
	for n := range uint64(combinations) {
		numbers <- n
	}
	close(numbers)
	all.Wait()
}

// memoryDir is a directory in memory if available: thousands of server roots, each
// synced to a disk, would only wait for it.
func memoryDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("/dev/shm", "mwx")
	if err != nil {
		return shortDir(t)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	return dir
}

// words splits a line of httpd's configuration as ap_getword_conf does. It is the
// reference for the escaper.
func words(line string) (found []string) {
	for line = strings.TrimLeft(line, " \t"); line != ""; line = strings.TrimLeft(line, " \t") {
		if quote := line[0]; quote == '"' || quote == '\'' {
			var b strings.Builder
			k := 1
			for k < len(line) && line[k] != quote {
				if line[k] == '\\' && k+1 < len(line) && (line[k+1] == '\\' || line[k+1] == quote) {
					k++
				}
				b.WriteByte(line[k])
				k++
			}
			found, line = append(found, b.String()), line[min(k+1, len(line)):]
			continue
		}
		end := strings.IndexAny(line, " \t")
		if end < 0 {
			end = len(line)
		}
		found, line = append(found, line[:end]), line[end:]
	}
	return found
}

// fuzzed is an option with random values, and what httpd must read for it.
type fuzzed struct {
	args []string
	line []string // the directive and its words
}

var alphabet = []string{
	`"`, `'`, `\`, "$", "{", "}", "${PATH}", "${", "${MOD_WSGI_DOLLAR}", "%", "%{HTTP_HOST}", " ", "  ", "\t", "#", "<", ">", "/", "a", "B", "é", "✓", "\xff", "=", "(", "[", "]", "*", "?",
	"`", ";", "|", "&", "!", "\\\\", "\\\"", "</Directory>", "Include /etc/passwd", "0", "-", "^", ".", ",", ":", "~",
}

// value is random text, without the characters in the second argument.
func value(random *mathrand.Rand, without string) string {
	var b strings.Builder
	for n := 1 + random.IntN(12); n > 0; {
		piece := alphabet[random.IntN(len(alphabet))]
		if !strings.ContainsAny(piece, without) {
			b.WriteString(piece)
			n--
		}
	}
	return b.String()
}

// inExpression is a text that httpd's expressions take literally: a backslash is an
// escape there, and $0 would be a match.
func inExpression(s string) string {
	return regexp.MustCompile(`\$[0-9]`).ReplaceAllStringFunc(strings.ReplaceAll(s, `\`, `\\`), func(m string) string { return `\` + m })
}

// fuzzedOptions are options in the various parts of a configuration. Characters that a
// directive does not allow are left out of its value.
func fuzzedOptions(random *mathrand.Rand, dir string) (all []fuzzed) {
	add := func(args, line []string) { all = append(all, fuzzed{args, line}) }
	for k := range 120 {
		name, v := fmt.Sprintf("FUZZ%d", k), value(random, "")
		add([]string{"--setenv", name, v}, []string{"SetEnv", name, v})
	}
	for k := range 20 {
		v := value(random, "")
		add([]string{"--python-warnings", v}, []string{"WSGIPythonWarnings", v})
		url, target := fmt.Sprintf("/%d", k)+value(random, ""), filepath.Join(dir, strconv.Itoa(k)+value(random, "/.")+"x")
		read := target
		if strings.HasSuffix(url, "/") { // then both must end in a slash
			read += "/"
		}
		add([]string{"--url-alias", url, target}, []string{"Alias", url, read})
		v = "t" + value(random, "%")
		add([]string{"--error-document", strconv.Itoa(400 + k%17), v}, []string{"ErrorDocument", strconv.Itoa(400 + k%17), inExpression(v)})
	}
	v := "c" + value(random, "\xff")
	add([]string{"--callable-object", v}, []string{"WSGICallableObject", v})
	v = "t" + value(random, "%")
	add([]string{"--access-log", "--access-log-format", v}, []string{"CustomLog", filepath.Join(dir, "access"), v})
	v = value(random, "%") + " %M"
	add([]string{"--error-log-format", v}, []string{"ErrorLogFormat", v})
	v = "g" + value(random, "")
	add([]string{"--auth-group", v}, []string{"Require", "wsgi-group", v})
	docs := filepath.Join(dir, "docs"+value(random, "/.")+"x")
	add([]string{"--document-root", docs}, []string{"DocumentRoot", docs})
	v = value(random, "")
	add([]string{"--hsts-policy", "x" + v}, []string{"Header", "always", "set", "Strict-Transport-Security", "x" + strings.NewReplacer(`\`, `\\`, "%", "%%").Replace(v)})
	v = "/m" + value(random, "?#/.\xff") + "x"
	add([]string{"--mount-point", v}, nil)
	return all
}

// TestHTTPDSeesWhatWasMeant: for random values, the directives that httpd has read
// (-DDUMP_CONFIG) are those of the options, word for word, and neither more nor fewer
// than for harmless values.
//
// Once: TestHTTPDReadsWhatWasMeantByEveryOption has each mod_wsgi read each option.
func TestHTTPDSeesWhatWasMeant(t *testing.T) {
	testEnv(t)
	infos, _ := filepath.Glob(filepath.Join(testEnv(t), "lib", "python3*", "site-packages", "mod_wsgi_packages", "httpd", "modules", "mod_info.so"))
	if len(infos) != 1 {
		t.Skip("this httpd has no mod_info")
	}
	began := seed(t)
	stem, _ := certificate(t, workDir(t, ""), "www.example.com")
	checked := 0
	for round := range uint64(20) {
		random := mathrand.New(mathrand.NewPCG(began, round))
		dir := workDir(t, fmt.Sprint("d", round))
		app := write(t, filepath.Join(dir, "app.py"), echoApp)
		dump := write(t, filepath.Join(dir, "info.conf"), "LoadModule info_module \""+infos[0]+"\"\n")
		root := filepath.Join(shortDir(t), "r")
		p := newInProcess(t)
		read := func(options []fuzzed) (lines [][]string) {
			t.Helper()
			args := append([]string{
				"setup-server", app, "--port", "18765", "--server-root", root, "--include-file", dump, "--https-port", "8443", "--server-name", "www.example.com",
				"--ssl-certificate", stem, "--log-directory", dir, "--access-log-name", "access", "--auth-user-script", app, "--auth-group-script", app,
			}, asUser()...)
			for _, o := range options {
				args = append(args, o.args...)
			}
			if code, out := p.run(dir, args...); code != 0 {
				t.Fatalf("round %d: %d\n%s\n%q", round, code, out, args)
			}
			out, err := exec.CommandContext(t.Context(), filepath.Join(root, "apachectl"), "-t", "-DDUMP_CONFIG").Output()
			if err != nil {
				t.Fatalf("round %d: %v", round, err)
			}
			for line := range strings.Lines(string(out)) {
				if line = strings.Trim(line, " \n"); line != "" && !strings.HasPrefix(line, "#") {
					lines = append(lines, words(line))
				}
			}
			return lines
		}
		options := fuzzedOptions(random, dir)
		harmless := fuzzedOptions(mathrand.New(mathrand.NewPCG(0, 0)), dir)
		for k := range harmless { // the same options with plain values
			for j, w := range harmless[k].args {
				if !strings.HasPrefix(w, "--") && j > 0 {
					harmless[k].args[j] = plain(w, k)
				}
			}
		}
		seen := read(options)
		if want := names(read(harmless)); !reflect.DeepEqual(names(seen), want) {
			t.Errorf("round %d: httpd sees the directives\n%v\nand for harmless values\n%v", round, names(seen), want)
		}
		for _, o := range options {
			if o.line == nil {
				continue
			}
			checked += len(o.line) - 1
			if !slices.ContainsFunc(seen, func(words []string) bool { return slices.Equal(words, o.line) }) {
				var like [][]string
				for _, s := range seen {
					if s[0] == o.line[0] && (s[0] != "SetEnv" || len(s) > 1 && s[1] == o.line[1]) {
						like = append(like, s)
					}
				}
				t.Errorf("round %d, %q: httpd sees no %q, only %q", round, o.args, o.line, like)
			}
		}
	}
	t.Logf("%d words", checked)
}

// names counts directives.
func names(lines [][]string) map[string]int {
	count := map[string]int{}
	for _, l := range lines {
		count[l[0]]++
	}
	return count
}

// plain is a harmless value of the same kind as a random one.
func plain(w string, k int) string {
	switch {
	case strings.HasPrefix(w, "FUZZ"), len(w) == 3 && strings.HasPrefix(w, "4"):
		return w
	case filepath.IsAbs(w) && strings.Contains(w, "/docs"):
		return filepath.Join(filepath.Dir(w), "docs")
	case strings.HasSuffix(w, "%M"): // required in the format of the error log
		return "plain%M"
	case strings.HasPrefix(w, "/"):
		return fmt.Sprintf("/plain%d", k)
	}
	return "plain"
}

// TestApplicationSeesWhatWasMeant: the same for values that reach the application
// through httpd and the module.
func TestApplicationSeesWhatWasMeant(t *testing.T) {
	testEnv(t)
	random := mathrand.New(mathrand.NewPCG(seed(t), 99))
	dir := workDir(t, "")
	args := []string{write(t, filepath.Join(dir, "app.py"), echoApp)}
	want := map[string]string{}
	for k := range 500 {
		name, v := fmt.Sprintf("FUZZ%d", k), value(random, "")
		args, want[name] = append(args, "--setenv", name, v), v
	}
	seen := start(t, dir, args...).environ("/")
	for name, v := range want {
		if got := seen[name]; got != latin1(v) {
			t.Errorf("%s is %q, want %q", name, got, latin1(v))
		}
	}
}
