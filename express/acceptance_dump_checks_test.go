//go:build acceptance && unix

package express_test

import (
	"fmt"
	mathrand "math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// candidates draws command lines until n of one module and one MPM are accepted.
func (s *dump) candidates(n int, o *output) (all []*candidate) {
	for k := range 40 * n {
		m, args := s.line(k)
		if k%400 < 5 || k%400 == 205 || m.env != s.places[0] || m.mpm() != "event" { // ports recur in the first ones
			continue
		}
		if len(all) < 5 && !m.given("server-name") { // rare options that some damages need
			for _, u := range []use{
				{"server-name", []string{"a.example"}},
				{"https-port", []string{itoa(m.port() + 1)}},
				{"ssl-certificate", []string{s.stem}},
				{"hsts-policy", []string{"50%x"}},
				{"allow-localhost", nil},
				{"server-status", nil},
			} {
				m.uses = append(m.uses, u)
				args = append(append(args, "--"+u.option), u.values...)
			}
		}
		code, text, _ := s.show(m, args, o)
		if code == 0 {
			s.makeDirectories(m)
			all = append(all, &candidate{number: k, m: m, args: args, text: text})
		}
		if len(all) == n {
			return all
		}
	}
	s.t.Fatalf("only %d of %d command lines were accepted", len(all), n)
	return nil
}

// damages are faults that a launcher could have. Each changes one line, or all lines.
// Directives that treat some backslashes and percent signs the same with one fewer,
// such as headers and commands, cannot be damaged that way.
var damages = []struct {
	name string
	fits func(line string) bool
	make func(line string) string
	all  bool // change each line that matches: several sections may make a file private
}{
	{"a directive is dropped", directiveLine, func(string) string { return "#" }, false},
	{"a directive is duplicated", directiveLine, func(l string) string { return l + "\n" + l }, false},
	{"a directive is injected", directiveLine, func(l string) string { return l + "\nSetEnv INJECTED yes" }, false},
	{"a section is injected", directiveLine, func(l string) string { return l + "\n<IfModule core.c>\nServerAdmin x@y\n</IfModule>" }, false},
	{"a value is longer", quotedLine, func(l string) string { return l[:strings.LastIndexByte(l, '"')] + `x"` }, false},
	{"a value is shorter", regexp.MustCompile(`[a-z]"$`).MatchString, func(l string) string { return l[:len(l)-2] + `"` }, false},
	{"a value is changed", regexp.MustCompile(`^[A-Z][A-Za-z]+ [0-9]+$`).MatchString, func(l string) string { return l + "1" }, false},
	{"a variable is expanded", has("${MOD_WSGI_DOLLAR}{HOME}"), func(l string) string { return strings.Replace(l, "${MOD_WSGI_DOLLAR}{HOME}", "${HOME}", 1) }, false},
	{"a backslash is lost", func(l string) bool {
		return directiveLine(l) && has(`\\`)(l) && !strings.Contains(l, "Header ") && !strings.Contains(l, `"|`)
	}, func(l string) string { return strings.Replace(l, `\\`, "", 1) }, false},
	{"a quote is not escaped", has(`\"`), func(l string) string { return strings.Replace(l, `\"`, `"`, 1) }, false},
	{"a percent sign is not escaped", percents.MatchString, func(l string) string { return percents.ReplaceAllString(l, "%$1") }, false},
	{"a directive is renamed", has("LimitRequestBody "), func(l string) string { return strings.Replace(l, "Request", "XMLRequest", 1) }, false},
	{"access is opened", has("Require all denied"), func(l string) string { return strings.Replace(l, "denied", "granted", 1) }, false},
	{"private files are in another directory", has(`<If "%{REQUEST_FILENAME}`), func(l string) string { return strings.Replace(l, "m#^/", "m#^/x/", 1) }, true},
	{"files with a leading dot are sent", has("!well-known"), func(l string) string { return strings.Replace(l, "/)?", "/)?_", 1) }, false},
	{"missing files are refused", has(`<If "%{REQUEST_FILENAME}`), func(l string) string { return strings.Replace(l, " && -e %{REQUEST_FILENAME}", "", 1) }, false},
	{"another method is refused", has("'CONNECT'"), func(l string) string { return strings.Replace(l, "'CONNECT'", "'COPY'", 1) }, false},
	{"every client counts as this machine", has("Require local"), func(l string) string { return strings.Replace(l, "local", "all granted", 1) }, false},
	{"a proxy's header is ignored", has("req_novary('X-Real-IP')"), func(l string) string { return strings.Replace(l, "-z req_novary('X-Real-IP') && ", "", 1) }, false},
	{"another name counts as this machine's", has("|127"), func(l string) string { return strings.Replace(l, "|127", "|a.example|127", 1) }, false},
	{"a reserved name is answered", has("m#^_wsgi_"), func(l string) string { return strings.Replace(l, "m#^_wsgi_", "m#^_wsgi_s", 1) }, false},
	{"a pattern is not escaped", has("[[]"), func(l string) string { return strings.ReplaceAll(l, "[[]", "[") }, false},
}

// percents are two percent signs that are not at the end, where a single one means the
// same.
var percents = regexp.MustCompile(`%%([^"%])`)

func has(part string) func(string) bool {
	return func(line string) bool { return strings.Contains(line, part) && line[0] != '#' }
}

func directiveLine(line string) bool {
	name, _, _ := strings.Cut(strings.TrimLeft(line, " "), " ")
	return name != "" && !strings.ContainsAny(name[:1], "#<")
}

func quotedLine(line string) bool { return directiveLine(line) && strings.HasSuffix(line, `"`) }

// TestComparisonFindsEachDamage: the comparison of
// TestHTTPDReadsWhatWasMeantByEveryOption fails for a launcher with any of these
// faults.
//
// Once: the test generates the data that it compares.
func TestComparisonFindsEachDamage(t *testing.T) {
	s := newDump(t)
	s.refusals = true
	sound, dir := s.candidates(150, newOutput(t)), memoryDir(t)
	sound = s.read(sound, dir)
	for _, c := range sound {
		if why := c.complaints(); why != nil {
			t.Fatalf("before any damage: %q: %q", c.args, why)
		}
	}
	random := mathrand.New(mathrand.NewPCG(s.seed, 3))
	for _, d := range damages {
		var damaged []*candidate
		for _, n := range random.Perm(len(sound)) {
			c := sound[n]
			lines := strings.Split(c.text, "\n")
			var fitting []int
			for k, l := range lines {
				if l != "" && d.fits(l) && !strings.HasPrefix(l, "Define MOD_WSGI_DOLLAR") {
					fitting = append(fitting, k)
				}
			}
			if len(fitting) == 0 || len(damaged) == 10 {
				continue
			}
			k := fitting[random.IntN(len(fitting))]
			if !d.all {
				fitting = []int{k}
			}
			for _, k := range fitting {
				lines[k] = d.make(lines[k])
			}
			copied := *c
			copied.m = c.m.again()
			copied.text = strings.Join(lines, "\n")
			copied.args = append(slices.Clone(c.args), fmt.Sprintf("with the line %.300q", lines[k]))
			damaged = append(damaged, &copied)
		}
		if len(damaged) < 3 {
			t.Errorf("%s: only %d configurations to try it on", d.name, len(damaged))
		}
		read := s.read(damaged, dir) // this finds what httpd refuses
		for _, c := range read {
			if c.complaints() == nil {
				t.Errorf("%s: nothing was found: %q\n%s", d.name, c.args, c.text)
			}
		}
		t.Logf("%s: httpd has read %d of %d", d.name, len(read), len(damaged))
	}
}

// again is the same command line without any findings.
func (m *meant) again() *meant {
	return &meant{env: m.env, dir: m.dir, app: m.app, uses: m.uses, absent: m.absent, slots: map[string][]want{}}
}

// TestSetupServerWritesWhatWasCompared: setup-server writes what show-config shows, and
// an httpd that reads a single such file reads it the same way as among others. It has
// loaded the modules and defined the names that were meant.
//
// Once: it uses all environments itself.
func TestSetupServerWritesWhatWasCompared(t *testing.T) {
	s := newDump(t)
	o := newOutput(t)
	tried := 0
	for _, c := range s.candidates(40, o) {
		code, _, errs := o.run(t, c.m, append([]string{"setup-server"}, c.args...)...)
		if code != 0 {
			if !strings.Contains(errs, "httpd refuses") {
				t.Errorf("%q: %d %s", c.args, code, errs)
			}
			continue
		}
		tried++
		file := filepath.Join(c.m.root(), "httpd.conf")
		written, err := os.ReadFile(file)
		if err != nil || string(written) != withoutComments(c.text) {
			t.Errorf("%q: %v\nsetup-server wrote\n%s\nshow-config showed\n%s", c.args, err, written, c.text)
		}
		cmd := exec.CommandContext(t.Context(), c.m.env.httpd, "-t", "-e", "error", "-C", "LoadModule info_module \""+s.info+"\"",
			"-DDUMP_CONFIG", "-DDUMP_MODULES", "-DDUMP_RUN_CFG", "-f", file)
		cmd.Env = c.m.env.environ()
		out, err := cmd.Output()
		if err != nil {
			t.Errorf("%q: %v\n%s", c.args, err, out)
		}
		c.text, c.file, c.read = string(written), file, readDump(string(out))
		for _, complaint := range c.complaints() {
			t.Errorf("%s\n%q", complaint, c.args)
		}
		didAtOnce(t, c, string(out))
	}
	if tried < 30 {
		t.Errorf("only %d of the command lines were accepted by httpd", tried)
	}
}

// didAtOnce compares the modules and names with those that httpd reports as loaded and
// defined.
func didAtOnce(t *testing.T, c *candidate, out string) {
	t.Helper()
	var loaded, defined []string
	for _, m := range regexp.MustCompile(`(?m)^ (\S+)_module \(shared\)$`).FindAllStringSubmatch(out, -1) {
		loaded = append(loaded, m[1])
	}
	for _, m := range regexp.MustCompile(`(?m)^Define: (MOD_WSGI_\S+|EMBEDDED_MODE|ORPHAN_INTERPRETER)`).FindAllStringSubmatch(out, -1) {
		defined = append(defined, strings.TrimSuffix(m[1], "=$"))
	}
	names := []string{"MOD_WSGI_DOLLAR"}
	if c.m.tested() {
		names = append(names, c.m.defined...)
	}
	same(t, c, "modules", loaded, append(c.m.loaded, "wsgi", "info"))
	same(t, c, "names", defined, names)
}

func same(t *testing.T, c *candidate, what string, got, want []string) {
	t.Helper()
	sorted := func(v []string) []string { v = slices.Clone(v); slices.Sort(v); return slices.Compact(v) }
	if got, want := sorted(got), sorted(want); !slices.Equal(got, want) {
		t.Errorf("%q: httpd has the %s %q, want %q", c.args, what, got, want)
	}
}

// withoutComments is the output of show-config without its explanations.
func withoutComments(text string) string {
	var b strings.Builder
	for line := range strings.Lines(text) {
		if !strings.HasPrefix(line, "# ") || strings.HasPrefix(line, "# Written by") {
			b.WriteString(line)
		}
	}
	return b.String()
}
