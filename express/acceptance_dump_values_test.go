//go:build acceptance && unix

package express_test

import (
	"fmt"
	mathrand "math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"modwsgi/express/option"
)

// chance draws command lines. Its files and directories have hostile names.
type chance struct {
	*mathrand.Rand
	number     int // of the command line; part of whatever must be unique
	base, stem string
	dirs       []string
	usual      string // a directory used by many options of the line
}

// nasty are values with a special meaning somewhere between the command line and the
// directive that parses its words.
var nasty = []string{
	`it's`, `"`, `'`, `say "hi"`, `\`, `\\`, `end\`, `end\\`, `\"`, `\" Include /etc/passwd`, `a\nb`, `a\tb`, `\r`, "${HOME}", "$${HOME}", "${", "${HOME", "}", "${FUZZ}",
	"${MOD_WSGI_DOLLAR}{HOME}", "$1", "$", `\$1`, "%", "%%", "%{HTTP_HOST}", "%{ENV:PATH}", "%{HTTP_HOST", "%h", "#", "# x", "a # b", "</VirtualHost>", "</Directory>", "<If true>",
	"<If", ">", " lead", "trail ", "\tlead", "trail\t", "a  b", "a\tb", "^", "^a.*$", "(x)|[y]{2}", "*", "?", "[x]", "[!x]*", "[", "]", "{a,b}", "~", "!", "-", "--port", "--port=1",
	"-h", "expr=true", "expr=%{HTTP_HOST}", "env=X", "early", "default", "disabled", "none", "None", "All", "On", "|/bin/false", "|", "syslog:local0", "/", "//", "/../..",
	"grüße ✓", "\xff\xfe", "é\u0301\u202e", "=", "a=b", "x=\"y\" z=w", ",", ";", "`id`", "$(id)", "&", "0", "-1", "::1", "[::1]:80", "Header set X y", "LoadModule x y", "\u00a0", "\u2028",
}

// unwritable are values that no line of httpd's configuration can contain.
var unwritable = []string{"a\nInclude /etc/passwd", "\n", "a\r", "\r\nX: y", "\x01", "a\x7fb", "\x1b[2J"}

// text is a value of any kind.
func (g *chance) text() string {
	switch g.IntN(20) {
	case 0:
		return strings.Repeat(value(g.Rand, ""), 40+g.IntN(60))
	case 1, 2, 3:
		return "plain"
	case 4, 5, 6, 7, 8, 9:
		return value(g.Rand, "")
	case 10:
		return value(g.Rand, "") + nasty[g.IntN(len(nasty))]
	}
	return nasty[g.IntN(len(nasty))]
}

// without is a non-empty text without some bytes.
func (g *chance) without(bytes string) string {
	for {
		v := strings.Map(func(r rune) rune {
			if strings.ContainsRune(bytes, r) {
				return -1
			}
			return r
		}, g.text())
		if v != "" {
			return v
		}
	}
}

// word is a text without blanks and quotes.
func (g *chance) word() string { return g.without(" \t\"'\u00a0\u2028") }

func (g *chance) pick(words ...string) string { return words[g.IntN(len(words))] }

// rare is mostly the first word, and occasionally one of the others, most of which lead
// to a refusal.
func (g *chance) rare(usual string, others ...string) string {
	if g.IntN(8) > 0 {
		return usual
	}
	return g.pick(others...)
}

// in is a number: one of the limits, or one in between.
func (g *chance) in(low, high int) string {
	return strconv.Itoa(g.IntN(100)*(high-low)/99 + low)
}

func (g *chance) seconds() string {
	return g.pick("0", "1", "2", "15", "30", "60", "007", "+5", "86400", "2147483647", g.in(1, 3600))
}

// dir is an existing directory, in any accepted notation.
func (g *chance) dir() string {
	if g.usual == "" {
		g.usual = g.dirs[g.IntN(len(g.dirs))]
	}
	name := g.usual
	if g.IntN(3) > 0 {
		name = g.dirs[g.IntN(len(g.dirs))]
	}
	switch g.IntN(6) {
	case 0:
		return filepath.Base(name) // from the launcher's working directory
	case 1:
		return "./" + filepath.Base(name) + "/"
	case 2:
		return name + "/../" + filepath.Base(name)
	}
	return name
}

// file is the name of a file that exists in each of the directories.
func (g *chance) file(name string) string { return g.dir() + "/" + name }

// missing is a nonexistent path in an existing directory.
func (g *chance) missing() string { return g.dir() + "/new" + short(g.without("/\xff")) }

// short limits a name to the length that file systems allow.
func short(v string) string { return strings.ToValidUTF8(v[:min(len(v), 100)], "") }

func (g *chance) url() string {
	v := g.without("?#")
	if g.IntN(3) > 0 {
		v = "/" + v
	}
	return v + g.pick("", "", "", "/")
}

func (g *chance) target() string {
	return g.pick("http://127.0.0.1:8001", "http://127.0.0.1:8001/", "http://backend.example/x y'", "https://127.0.0.1:8443/a", `http://127.0.0.1/a\b"c`,
		"unix:/run/a b.sock|http://localhost/", "http://[::1]:81/$1", "http://127.0.0.1/%25{HTTP_HOST}/%20", "http://127.0.0.1/"+strings.NewReplacer("\xff", "", "%", "%25").Replace(g.word()))
}

func (g *chance) unique(prefix string) string { return prefix + strconv.Itoa(g.number) }

func one(f func(g *chance) string) func(*chance) []string {
	return func(g *chance) []string { return []string{f(g)} }
}

func flagOf(*chance) []string { return nil }

// draws has a function for each option that draws its values.
var draws = map[string]func(g *chance) []string{
	"application-type": one(func(g *chance) string { return g.pick("script", "static", "paste") }), "entry-point": one(func(g *chance) string { return g.file("app.py") }),
	"mount-point": one((*chance).url), "application-group": one(func(g *chance) string { return g.pick("%{GLOBAL}", "%{HOST}", "%{ENV:X}", g.text(), g.text()) }),
	"process-group": one(func(g *chance) string {
		if g.IntN(30) == 0 {
			return g.pick("%{GLOBAL}", "%{HOST}", "%{ENV:X}")
		}
		return g.unique("g") + "-" + g.word()
	}),
	"map-head-to-get": one(func(g *chance) string { return g.pick("auto", "ON", "Off") }), "working-directory": one((*chance).dir),
	"host": one(func(g *chance) string { return g.pick("127.0.0.1", "::1", "[::1]", "localhost", "0.0.0.0", "::") }),
	"port": one(func(g *chance) string {
		if special := []string{"1", "80", "443", "65535", "008000"}; g.number%800 < len(special) {
			return special[g.number%800]
		}
		return strconv.Itoa(10000 + 2*(g.number%25000))
	}),
	"server-name": one(func(g *chance) string {
		return g.pick("a.example", "www.example.com", "WWW.x", "www.", "b.example.", "www.example.com.", "10.0.0.1", "x_y-z", g.rare("n.example", "::1", "_wsgi_", "_WSGI_service_s_", "p.example"))
	}),
	"server-alias": one(func(g *chance) string {
		return g.pick("*", "*.a.example", "b?.example", "c.example", "d.example.", g.rare("e.example", "_wsgi_x", "Q.example."))
	}),
	"https-port": one(func(g *chance) string { // 443 is not in a chunk with another one
		return map[bool]string{true: "443", false: strconv.Itoa(10001 + 2*(g.number%25000))}[g.number%800 == 605]
	}),

	"https-auto": one(func(g *chance) string { return g.pick("a.example.org", "A.example.org.") }), "acme-email": one(func(g *chance) string { return g.pick("a@example.org") }),
	"acme-directory": one(func(g *chance) string { return g.pick("https://127.0.0.1:1/dir") }), "acme-ca": one(func(g *chance) string { return g.file("s.crt") }),
	"acme-external-account": one(func(g *chance) string { return g.file("s.crt") }), "acme-challenge": one(func(g *chance) string { return g.pick("http-01", "TLS-ALPN-01", "dns-01") }),
	"acme-dns-command": one(func(g *chance) string { return g.file("program") }), "acme-state-directory": one((*chance).missing),
	"ssl-certificate-file": one(func(g *chance) string { return g.file("s.crt") }), "ssl-certificate-key-file": one(func(g *chance) string { return g.file("s.key") }),
	"ssl-certificate": one(func(g *chance) string { return g.file("s") }), "ssl-ca-certificate-file": one(func(g *chance) string { return g.file("s.crt") }),
	"ssl-certificate-chain-file": one(func(g *chance) string { return g.file("s.crt") }), "ssl-verify-client": one((*chance).url),
	"hsts-policy": one(func(g *chance) string { return g.pick("max-age=60; includeSubDomains", g.text(), g.text()) }),

	"processes": one(func(g *chance) string { return g.pick("0", "1", "3", "7", "40") }), "threads": one(func(g *chance) string { return g.pick("1", "2", "25", "250", "65533") }),
	"max-clients":           one(func(g *chance) string { return g.pick("0", "1", "20", "300", "20000") }),
	"max-connections":       one(func(g *chance) string { return g.pick("1", "50", "9000", "1000000") }),
	"initial-workers":       one(func(g *chance) string { return g.pick("0", "1", "0.5", ".33", "1e-3") }),
	"minimum-spare-workers": one(func(g *chance) string { return g.pick("0", "1", "0.25") }), "maximum-spare-workers": one(func(g *chance) string { return g.pick("0", "1", "0.75") }),
	"server-mpm": one(func(g *chance) string { return g.pick("event", "worker", "prefork") }), "maximum-requests": one((*chance).seconds),
	"ignore-activity": one((*chance).url), "socket-timeout": one(func(g *chance) string { return g.in(1, 3600) }), "proxy-timeout": one(func(g *chance) string { return g.in(1, 3600) }),

	"limit-request-body": one(func(g *chance) string { return g.pick("0", "1", "10485760", "2147483647") }), "server-backlog": one(func(g *chance) string { return g.pick("1", "511", "4096") }),
	"send-buffer-size": one(sizeFrom(512)), "receive-buffer-size": one(sizeFrom(512)), "header-buffer-size": one(sizeFrom(8192)), "response-buffer-size": one(sizeFrom(65536)),

	"document-root": one(func(g *chance) string {
		return g.pick(g.dir(), g.dir(), g.missing(), g.rare(g.dir(), g.base+"/root/htdocs", g.base+"/root"))
	}),
	"follow-symlinks": one(func(g *chance) string { return g.pick("none", "Owner", "ALL") }), "trace-enable": one(func(g *chance) string { return g.pick("on", "OFF", "extended") }),
	"directory-index": one(func(g *chance) string { return g.pick("index.html", "a.html  b.html", g.without("\xff"), g.text()) }),
	"allow-override": one(func(g *chance) string {
		return g.pick("All", "None", "AuthConfig", "Indexes", "Options=All,MultiViews")
	}),
	"url-alias": func(g *chance) []string {
		return []string{g.url(), g.pick(g.dir(), g.dir()+"/", g.file("app.py"), g.file("s.key"), g.missing(), g.missing()+"/", g.rare(g.dir(), g.base+"/root"))}
	},
	"error-document": func(g *chance) []string {
		return []string{g.pick("400", "404", "413", "500", "503"), g.pick("/gone.html", "/it's \"gone\"", "https://x.example/?a=b", g.text(), g.text(), "t"+g.text())}
	},
	"mime-types": one(func(g *chance) string { return g.pick("/dev/null", g.file("mime.types")) }), "rewrite-rules": one(func(g *chance) string { return g.file("inc.conf") }),
	"add-handler": func(g *chance) []string {
		return []string{g.pick(".ext", "py", ".X.y", "."+g.without(`/"\`)), g.file("app.py")}
	},

	"proxy-mount-point": func(g *chance) []string { return []string{g.url(), g.target()} },
	"proxy-virtual-host": func(g *chance) []string {
		return []string{g.pick("p.example", "q.example", "127.0.0.2", "r.example.", g.rare("s.example", "[::1]", "_wsgi_")), g.target()}
	},
	"trust-proxy-header": one(func(g *chance) string { return g.pick("X-Forwarded-For", "X-Client-IP", "x-script-name") }),
	"trust-proxy": one(func(g *chance) string {
		return g.pick("127.0.0.1", "10.0.0.0/8", "::1", "fe80::/10", "FE80::/10", "2001:DB8::A", "0.0.0.0/0", "::/0")
	}),

	"host-access-script": one(func(g *chance) string { return g.file("app.py") }), "auth-user-script": one(func(g *chance) string { return g.file("app.py") }),
	"auth-type": one(func(g *chance) string { return g.pick("basic", "Digest") }), "auth-group-script": one(func(g *chance) string { return g.file("app.py") }),
	"auth-group": one((*chance).text), "log-directory": one(func(g *chance) string { return g.pick(g.dir(), g.missing()) }),
	"log-level": one(func(g *chance) string { return g.pick("debug", "info rewrite:trace3", "warn  core:error", "emerg") }),
	"access-log-format": one(func(g *chance) string {
		return g.pick("common", "combined", "json", "terminal", `%h "%r" \"%>s`, "t"+g.without("%"))
	}),
	"error-log-format": one(func(g *chance) string { return g.pick("json", "terminal", `[%t] "%M"`, g.without("%")+"%M") }),
	"error-log-name":   one((*chance).name), "access-log-name": one((*chance).name), "startup-log-name": one((*chance).name),
	"health-path": one(func(g *chance) string { return g.pick("/healthz", "/it's/up") }), "metrics-listen": one(func(g *chance) string { return g.pick("9118", "127.0.0.1:9118", "[::1]:9118") }),
	"dashboard": one(func(g *chance) string { return g.pick("9119", "127.0.0.1:9119", "[::1]:9119", "localhost:9118") }), "dashboard-path": one(func(g *chance) string { return g.pick("/-/dashboard", "/-", "/it-s/up") }),
	"rotate-interval": one(func(g *chance) string { return g.pick("hourly", "daily", "90") }), "max-log-files": one(func(g *chance) string { return g.pick("0", "1", "1000") }),
	"max-log-size": one(func(g *chance) string { return g.pick("1", "5", "1048576") }), "rotatelogs-executable": one(func(g *chance) string { return g.file("program") }),

	"python-path": one(func(g *chance) string { return g.pick(g.dir(), "/"+g.without(":")) }), "python-eggs": one(func(g *chance) string { return g.pick(g.dir(), g.missing()) }),
	"python-warnings": one(func(g *chance) string { return g.pick("ignore::DeprecationWarning", g.text()) }), "callable-object": one((*chance).text),
	"switch-interval": one(func(g *chance) string { return g.pick("0.01", "5e-7", "1", "1000000") }),

	"server-root": one(func(g *chance) string { return g.base + "/r" + short(strings.Map(shortName, g.word())) }),
	"user":        one(func(g *chance) string { return g.pick("www-data", "nobody", "daemon", "#1") }), "group": one(func(g *chance) string { return g.pick("nogroup", "daemon", "#65534") }),
	"setenv": func(g *chance) []string {
		return []string{g.pick("A", "B_2", "x.y:z-1"), g.pick("", g.text(), g.text(), g.text())}
	},
	"passenv":      one(func(g *chance) string { return g.pick("PATH", "FUZZ", "NOT_SET") }),
	"include-file": one(func(g *chance) string { return g.file("inc.conf") }),
	"locale":       one(func(g *chance) string { return g.pick("C", "C.UTF-8", "xx_YY.UTF-8", g.word()) }), "lang": one(func(g *chance) string { return g.pick("POSIX", "C.utf8", g.word()) }),
	"pid-file": one((*chance).missing), "process-name": one((*chance).text), "httpd-executable": one(func(g *chance) string { return g.file("program") }),
	"modules-directory": one(func(g *chance) string { return g.file("modules") }), "socket-prefix": one(func(g *chance) string { return g.pick(g.base, g.base+"/.") }),
	"config":         one(func(*chance) string { return "none" }),
	"envvars-script": one(func(g *chance) string { return g.file("app.py") }), "shell-executable": one(func(*chance) string { return "/bin/sh" }),

	"service-script":    func(g *chance) []string { return []string{g.unique("s."), g.file("app.py")} },
	"service-user":      func(g *chance) []string { return []string{g.unique("s."), g.pick("nobody", "daemon", "#1")} },
	"service-group":     func(g *chance) []string { return []string{g.unique("s."), g.pick("nogroup", "daemon")} },
	"service-log-file":  func(g *chance) []string { return []string{g.unique("s."), g.name()} },
	"telemetry-service": one(func(g *chance) string { return "unix:/" + g.text() }), "telemetry-ui-port": one(func(g *chance) string { return g.pick("1", "8889", "65535") }),
	"telemetry-interval": one(func(g *chance) string { return g.pick("0.5", "2.5", "60") }), "slow-requests": one(func(g *chance) string { return g.pick("0", "0.25", "3600") }),
	"telemetry-options":  one(func(g *chance) string { return g.pick("All", "None", "+CaptureUserAgent", "-CaptureUserAgent") }),
	"coverage-directory": one((*chance).missing), "profiler-directory": one((*chance).missing), "recorder-directory": one((*chance).missing),
	"gdb-executable": one(func(g *chance) string { return g.file("program") }),
}

// name is the name of a log file.
func (g *chance) name() string { return g.pick("a.log", "l"+short(g.without("/"))) }

// shortName keeps the name of a server root free of characters that a path cannot
// contain.
func shortName(r rune) rune {
	if r == '/' || r == 0xfffd {
		return -1
	}
	return r
}

func sizeFrom(low int) func(*chance) string {
	return func(g *chance) string { return g.pick("0", strconv.Itoa(low), strconv.Itoa(low+1), "2147483647") }
}

// needs are the options without which another option is refused.
var needs = map[string][]string{
	"https-port": {"server-name", "ssl-certificate"}, "ssl-certificate-file": {"https-port", "ssl-certificate-key-file"}, "ssl-certificate-key-file": {"https-port", "ssl-certificate-file"},
	"ssl-certificate": {"https-port"}, "ssl-ca-certificate-file": {"https-port"}, "ssl-verify-client": {"ssl-ca-certificate-file"}, "ssl-certificate-chain-file": {"https-port"},
	"ssl-environment": {"https-port"}, "https-only": {"https-port"}, "hsts-policy": {"https-port"}, "auth-group-script": {"auth-user-script"}, "auth-group": {"auth-group-script"},
	"debugger-startup": {"enable-debugger"}, "service-user": {"service-script"}, "service-group": {"service-script"}, "service-log-file": {"service-script"},
	"telemetry-ui-port": {"enable-telemetry"}, "slow-requests": {"telemetry-service"}, "telemetry-interval": {"telemetry-service"}, "telemetry-options": {"telemetry-service"},
	"enable-gdb": {"gdb-executable"}, "access-log-format": {"access-log"}, "access-log-name": {"access-log"}, "max-log-size": {"rotate-logs"}, "rotatelogs-executable": {"rotate-logs"}, "rotate-interval": {"rotate-logs"}, "max-log-files": {"rotate-logs"},
	"server-alias": {"server-name"}, "allow-localhost": {"server-name"}, "trust-proxy-header": {"trust-proxy"}, "dashboard-path": {"dashboard", "auth-user-script"},
}

// excluded are options that are refused together, or that hide each other.
var excluded = [][]string{
	{"embedded-mode", "debug-mode", "enable-debugger", "enable-coverage", "enable-profiler", "enable-recorder", "enable-gdb"},
	{"telemetry-service", "enable-telemetry"},
	{"rotatelogs-executable", "error-log-utf8"},
	{"rotatelogs-executable", "error-log-format"},
	{"rotatelogs-executable", "access-log-format"},
}

// notDrawn are options that have tests of their own (acceptance_acme_linux_test.go), because
// what httpd reads depends on what an authority has issued.
var notDrawn = []string{"https-auto"}

// uses draws options and their values; the first option is always included.
func (g *chance) uses(table []*option.Option, first int) (all []use) {
	has := map[string]bool{}
	var take func(name string)
	take = func(name string) {
		for _, set := range excluded {
			if slices.Contains(set, name) && slices.ContainsFunc(set, func(o string) bool {
				return has[o] && (o == "embedded-mode" || name == "embedded-mode" || len(set) == 2)
			}) {
				return
			}
		}
		if has[name] || name == "slow-requests" && has["enable-telemetry"] || slices.Contains(notDrawn, name) {
			return
		}
		has[name] = true
		for _, n := range needs[name] {
			take(n)
		}
		o := table[slices.IndexFunc(table, func(o *option.Option) bool { return o.Name == name })]
		times := 1
		if o.Repeatable && !strings.HasPrefix(name, "service-") && g.IntN(2) == 0 {
			times = 2 + g.IntN(2)
		}
		if name == "trust-proxy-header" && g.IntN(20) == 0 {
			all = slices.DeleteFunc(all, func(u use) bool { return u.option == "trust-proxy" })
		}
		for range times {
			all = append(all, use{name, g.draw(o)})
		}
	}
	take(table[first%len(table)].Name)
	for n := 1 + g.IntN(8); n > 0; n-- {
		take(table[g.IntN(len(table))].Name)
	}
	if g.IntN(12) == 0 && !has["document-root"] && !has["log-directory"] {
		// A document root that contains more than files for clients.
		dir := g.dirs[g.IntN(len(g.dirs))]
		all = append(all, use{"document-root", []string{dir}}, use{"log-directory", []string{dir}}, use{"url-alias", []string{"/inner", dir + "/inner"}})
	}
	return all
}

func (g *chance) draw(o *option.Option) []string {
	f := draws[o.Name]
	switch {
	case f == nil && o.Kind == option.KindFlag:
		f = flagOf
	case f == nil && o.Kind == option.KindNumber:
		f = one((*chance).seconds)
	}
	words := f(g)
	if len(words) > 0 && o.Kind == option.KindText && g.IntN(150) == 0 {
		words[len(words)-1] = unwritable[g.IntN(len(unwritable))]
	}
	return words
}

// written returns the use as words of a command line.
func (g *chance) written(o *option.Option, u use) []string {
	name := "--" + o.Name
	if len(o.Aliases) > 0 && g.IntN(3) == 0 {
		name = "--" + o.Aliases[0]
	}
	if len(u.values) > 0 && (g.IntN(4) == 0 || slices.ContainsFunc(u.values, func(v string) bool { return strings.HasPrefix(v, "-") })) {
		return append([]string{name + "=" + u.values[0]}, u.values[1:]...)
	}
	return append([]string{name}, u.values...)
}

// hostilePlaces creates directories with hostile names; each has every file that an
// option can name.
func hostilePlaces(t *testing.T, random *mathrand.Rand, base, stem string, env *place) (dirs []string) {
	t.Helper()
	for k := range 120 {
		name := "d" + strings.Map(shortName, nasty[k%len(nasty)])
		if k >= len(nasty) {
			name = fmt.Sprint("d", k, value(random, "/\xff"))
		}
		dir := filepath.Join(base, name)
		if slices.Contains(dirs, dir) {
			continue
		}
		if err := os.Mkdir(dir, 0o755); err != nil {
			t.Fatal(err)
		}
		write(t, dir+"/app.py", "")
		write(t, dir+"/mime.types", "")
		write(t, dir+"/inc.conf", "SetEnv INCLUDED yes\n")
		for link, to := range map[string]string{"s.crt": stem + ".crt", "s.key": stem + ".key", "program": env.httpd, "modules": env.modules} {
			if err := os.Symlink(to, dir+"/"+link); err != nil {
				t.Fatal(err)
			}
		}
		dirs = append(dirs, dir)
	}
	return dirs
}
