//go:build unix

package express

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"modwsgi/internal/receipt"
)

// places are the parsed files of this package and those below, without tests.
func places(t *testing.T) (*token.FileSet, []*ast.File) {
	t.Helper()
	names, _ := filepath.Glob("*.go")
	below, _ := filepath.Glob("*/*.go")
	names = append(names, below...)
	fset, files := token.NewFileSet(), []*ast.File(nil)
	for _, name := range names {
		if strings.HasSuffix(name, "_test.go") {
			continue
		}
		f, err := parser.ParseFile(fset, name, nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		files = append(files, f)
	}
	return fset, files
}

// TestTextsNameOptions: every option named in a message exists.
func TestTextsNameOptions(t *testing.T) {
	known := map[string]bool{ // of other programs
		"version": true, "httpd": true, "with": true, "mod-wsgi-version": true, "system": true, "user-group": true, "python": true, "enable-shared": true, "args": true, "listen": true, "reinstall": true,
		"cacert": true, "store": true, // of curl and trust
	}
	for _, c := range commands() {
		for _, o := range c.Table.Options() {
			for _, name := range append([]string{o.Name}, o.Aliases...) {
				known[name] = true
			}
		}
	}
	flag := regexp.MustCompile(`(?:^|[^-\w])--([a-z][a-z0-9-]*)`)
	fset, files := places(t)
	for _, f := range files {
		ast.Inspect(f, func(n ast.Node) bool {
			l, ok := n.(*ast.BasicLit)
			if !ok || l.Kind != token.STRING {
				return true
			}
			text, err := strconv.Unquote(l.Value)
			if err != nil {
				t.Fatal(err)
			}
			for _, m := range flag.FindAllStringSubmatch(text, -1) {
				if !known[m[1]] {
					t.Errorf("%s: option --%s does not exist: %q", fset.Position(l.Pos()), m[1], text)
				}
			}
			return true
		})
	}
}

// labelled counts the lines of show-config's output, each with its comment.
func labelled(text string) map[[2]string]int {
	lines, label := map[[2]string]int{}, ""
	for line := range strings.Lines(text) {
		line = strings.TrimSpace(line)
		if l, ok := strings.CutPrefix(line, "# "); ok {
			label = l
		} else if !strings.HasPrefix(line, "</") {
			lines[[2]string{line, label}]++
		}
	}
	return lines
}

// TestLinesComeFromTheOption: a line written because of an option names it in the
// comment. No comment names an option that was not given, unless the line has that
// option's default.
func TestLinesComeFromTheOption(t *testing.T) {
	base, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	six := func(r *receipt.Receipt) { r.Module.Version, r.Python.FreeThreaded = "6.0.5", true }
	exe := fakeServer(t, base, six)
	for _, name := range []string{"a.py", "a.crt", "a.key", "a.conf"} {
		if err := os.WriteFile(filepath.Join(base, name), nil, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	for _, dir := range []string{"docs", "other", filepath.Join("env", "lib", "python3.11", "site-packages", "mod_wsgi_telemetry-1.0.1.dist-info")} {
		if err := os.Mkdir(filepath.Join(base, dir), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	writeHandover(t, base)
	show := func(words ...string) map[[2]string]int {
		args := append([]string{"show-config", "app.py"}, testUser()...)
		code, stdout, stderr := runProgram(t, &Invocation{Executable: exe, Dir: base, Env: []string{"LANG=C.UTF-8", "TMPDIR=" + base}}, append(args, words...)...)
		if code != 0 {
			t.Fatalf("%q: %s", words, stderr)
		}
		return labelled(stdout)
	}
	https := "--server-name www.a.example --https-port 8443 --ssl-certificate a"
	for _, c := range []struct{ with, option string }{
		{"", "--port 8001"},
		{"", "--host 127.0.0.1"},
		{"", "--server-name www.a.example"},
		{"--server-name a.example", "--server-alias b.example"},
		{"--server-name a.example", "--allow-localhost"},
		{"", "--http2"},
		{"", https},
		{https, "--https-only"},
		{https, "--hsts-policy x"},
		{https, "--ssl-environment"},
		{https, "--ssl-ca-certificate-file a.crt"},
		{https + " --ssl-ca-certificate-file a.crt", "--ssl-verify-client /p"},
		{https, "--ssl-certificate-chain-file a.crt"},
		{"", "--processes 3"},
		{"", "--threads 9"},
		{"", "--max-clients 99"},
		{"--max-clients 200", "--initial-workers 0.9"},
		{"--max-clients 200", "--minimum-spare-workers 0.9"},
		{"--max-clients 200", "--maximum-spare-workers 0.9"},
		{"", "--server-mpm worker"},
		{"", "--server-mpm prefork"},
		{"", "--embedded-mode"},
		{"", "--debug-mode"},
		{"", "--maximum-requests 9"},
		{"--embedded-mode", "--maximum-requests 9"},
		{"--embedded-mode", "--python-path docs"},
		{"", "--python-path docs"},
		{"", "--working-directory docs"},
		{"--debug-mode", "--working-directory docs"},
		{"", "--startup-timeout 9"},
		{"", "--queue-timeout 9"},
		{"", "--socket-timeout 9"},
		{"", "--header-timeout 9"},
		{"", "--header-max-timeout 99"},
		{"", "--header-min-rate 9"},
		{"", "--body-timeout 9"},
		{"", "--body-max-timeout 99"},
		{"", "--body-min-rate 9"},
		{"", "--keep-alive-timeout 9"},
		{"", "--keep-alive-timeout 0"},
		{"", "--limit-request-body 9"},
		{"", "--server-backlog 9"},
		{"", "--interrupt-timeout 9"},
		{"", "--compress-responses"},
		{"", "--enable-sendfile"},
		{"", "--trace-enable on"},
		{"", "--document-root docs"},
		{"", "--directory-index a.html"},
		{"", "--directory-listing"},
		{"", "--allow-override All"},
		{"", "--url-alias /a docs"},
		{"", "--error-document 404 /x"},
		{"", "--error-override"},
		{"", "--mime-types a.conf"},
		{"", "--rewrite-rules a.conf"},
		{"", "--add-handler .x a.py"},
		{"", "--with-cgi"},
		{"", "--enable-docs"},
		{"", "--follow-symlinks all"},
		{"", "--proxy-mount-point /a http://h"},
		{"", "--proxy-virtual-host h http://h"},
		{"", "--proxy-mount-point /a https://h"},
		{"", "--proxy-virtual-host h https://h"},
		{"--proxy-mount-point /a http://h", "--proxy-virtual-host h https://h"},
		{"--proxy-virtual-host h http://h", "--proxy-mount-point /a https://h"},
		{"--proxy-mount-point /a http://h", "--proxy-timeout 9"},
		{"--dashboard 9119 --auth-user-script a.py", "--dashboard-path /-/dashboard"},
		{"", "--trust-proxy 10.0.0.0/8 --trust-proxy-header X-Forwarded-For"},
		{"", "--host-access-script a.py"},
		{"", "--auth-user-script a.py"},
		{"--auth-user-script a.py", "--auth-type Digest"},
		{"--auth-user-script a.py", "--auth-group-script a.py"},
		{"--auth-user-script a.py --auth-group-script a.py", "--auth-group x"},
		{"", "--server-status"},
		{"", "--server-metrics"},
		{"", "--log-directory other"},
		{"", "--log-level info"},
		{"", "--access-log"},
		{"--access-log", "--access-log-format combined"},
		{"--access-log", "--access-log-name x"},
		{"", "--error-log-format x"},
		{"", "--error-log-utf8"},
		{"", "--error-log-name x"},
		{"--access-log", "--rotate-logs"},
		{"--access-log --rotate-logs", "--max-log-size 9"},
		{"--rotate-logs", "--rotate-interval daily"},
		{"--rotate-logs", "--max-log-files 9"},
		{"--rotate-logs", "--rotatelogs-executable a.py"},
		{"", "--python-eggs other/e"},
		{"", "--python-warnings error"},
		{"", "--switch-interval 1"},
		{"", "--free-threading"},
		{"", "--server-root root"},
		{"", "--setenv A b"},
		{"", "--include-file a.conf"},
		{"", "--pid-file other/pid"},
		{"", "--socket-prefix other"},
		{"", "--service-script s a.py"},
		{"--service-script s a.py", "--service-log-file s l"},
		{"", "--telemetry-service unix:/s"},
		{"", "--enable-telemetry"},
		{"--telemetry-service unix:/s", "--telemetry-interval 9"},
		{"--telemetry-service unix:/s", "--slow-requests 9"},
		{"--telemetry-service unix:/s", "--telemetry-options All"},
		{"", "--callable-object x"},
		{"", "--mount-point /m"},
		{"", "--application-group x"},
		{"", "--process-group x"},
		{"", "--map-head-to-get Off"},
		{"", "--disable-reloading"},
		{"", "--chunked-request"},
		{"", "--orphan-interpreter"},
		{"", "--ignore-activity /x"},
		{"", "--enable-recorder"},
	} {
		before, after := show(strings.Fields(c.with)...), show(strings.Fields(c.with+" "+c.option)...)
		var given []string
		for _, w := range strings.Fields(c.with + " " + c.option + " " + strings.Join(testUser(), " ")) {
			if strings.HasPrefix(w, "--") {
				given = append(given, w)
			}
		}
		option := strings.Fields(c.option)[0]
		for at, n := range after {
			line, label := at[0], at[1]
			named := slices.ContainsFunc(strings.Fields(label), func(f string) bool { return slices.Contains(strings.Fields(c.option), f) })
			again := strings.HasSuffix(label, ", by default") && before[at] > 0 // repeated for another directory
			if before[at] < n && !again && !named && !strings.HasPrefix(line, "Define ") || label == option+", by default" {
				t.Errorf("%s with %q: %s comes from %q", c.option, c.with, line, label)
			}
			for _, f := range strings.Fields(label) {
				if label != "always" && !strings.HasSuffix(label, ", by default") && !slices.Contains(given, f) && !strings.HasPrefix(label, "Written") {
					t.Errorf("%s with %q: %s comes from %q, which was not given", c.option, c.with, line, label)
				}
			}
		}
	}
}

// writeHandover makes the file of mod_handover, which some options need.
func writeHandover(t *testing.T, base string) {
	t.Helper()
	file := filepath.Join(base, "env", "lib", "python3.11", "site-packages", "mod_wsgi", "server", receipt.Handover)
	if err := os.WriteFile(file, nil, 0o644); err != nil {
		t.Fatal(err)
	}
}

// TestMissingModuleIsBlamedOnTheOption that needs it, and on no other.
func TestMissingModuleIsBlamedOnTheOption(t *testing.T) {
	for _, c := range []struct{ module, line, want string }{
		{"proxy", "--proxy-mount-point /a http://h", "option --proxy-mount-point needs"},
		{"proxy", "--proxy-virtual-host h http://h", "option --proxy-virtual-host needs"},
		{"proxy_http", "--proxy-virtual-host h http://h", "option --proxy-virtual-host needs"},
		{"headers", "--proxy-virtual-host h http://h", "option --proxy-virtual-host needs"},
		{"headers", "--proxy-virtual-host h http://h --proxy-mount-point /a http://h", "option --proxy-mount-point or --proxy-virtual-host needs"},
		{"proxy", "--dashboard 9119 --auth-user-script app.py --dashboard-path /d", "option --dashboard-path needs"},
		{"ssl", "--proxy-mount-point /a http://h --proxy-virtual-host h https://h", "option --proxy-virtual-host needs"},
		{"ssl", "--proxy-mount-point /a https://h --proxy-virtual-host h http://h", "option --proxy-mount-point needs"},
		{"authz_host", "--server-status", "option --server-status needs"},
		{"authz_host", "--server-name a --allow-localhost", "option --allow-localhost needs"},
		{"status", "--server-metrics", "option --server-metrics needs"},
		{"log_config", "--access-log", "option --access-log needs"},
		{"auth_digest", "--auth-user-script app.py --auth-type Digest", "option --auth-user-script or --auth-type needs"},
		{"alias", "", "every configuration needs"},
	} {
		base, err := filepath.EvalSymlinks(t.TempDir())
		if err != nil {
			t.Fatal(err)
		}
		exe := fakeServer(t, base, nil)
		writeHandover(t, base)
		httpd := filepath.Join(base, "env", "lib", "python3.11", "site-packages", "mod_wsgi_packages", "httpd")
		if err := os.WriteFile(filepath.Join(httpd, "bin", "httpd"), []byte("#!/bin/sh\necho '  core.c'\n"), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.Remove(filepath.Join(httpd, "modules", "mod_"+c.module+".so")); err != nil {
			t.Fatal(err)
		}
		args := append([]string{"show-config", "app.py", "--server-root", filepath.Join(base, "root")}, testUser()...)
		code, _, stderr := runProgram(t, &Invocation{Executable: exe, Dir: base, Env: []string{"LANG=C.UTF-8"}}, append(args, strings.Fields(c.line)...)...)
		if want := "error: " + c.want + " the httpd module mod_" + c.module + ","; code != 1 || !strings.Contains(stderr, want) {
			t.Errorf("%s without mod_%s: %d %s", c.line, c.module, code, stderr)
		}
	}
}

// TestFirstErrorIsTheSameOne: of two errors the same one is always reported.
func TestFirstErrorIsTheSameOne(t *testing.T) {
	base, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	exe := fakeServer(t, base, nil)
	for _, c := range []struct{ line, want string }{
		{"--service-log-file x l --service-group y g --service-user z u", "option --service-user: no such service"},
		{"--startup-log-name no/s --access-log-name no/a --error-log-name no/e", "option --error-log-name: the directory"},
	} {
		for range 20 {
			args := append([]string{"show-config", "app.py", "--server-root", filepath.Join(base, "root")}, testUser()...)
			_, _, stderr := runProgram(t, &Invocation{Executable: exe, Dir: base, Env: []string{"LANG=C.UTF-8"}}, append(args, strings.Fields(c.line)...)...)
			if !strings.Contains(stderr, c.want) {
				t.Fatalf("%s: %s, want %s", c.line, stderr, c.want)
			}
		}
	}
}

// TestNoMapDecides: no loop over a map returns from within, because it would return a
// random one of several results.
func TestNoMapDecides(t *testing.T) {
	fset, files := places(t)
	for _, f := range files {
		ast.Inspect(f, func(n ast.Node) bool {
			r, ok := n.(*ast.RangeStmt)
			if !ok {
				return true
			}
			lit, ok := r.X.(*ast.CompositeLit)
			if !ok {
				return true
			}
			if _, ok := lit.Type.(*ast.MapType); !ok {
				return true
			}
			ast.Inspect(r.Body, func(n ast.Node) bool {
				if _, ok := n.(*ast.ReturnStmt); ok {
					t.Error(fmt.Sprint(fset.Position(n.Pos()), ": returns from a loop over a map"))
				}
				return true
			})
			return true
		})
	}
}
