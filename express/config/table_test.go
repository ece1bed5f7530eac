package config

import (
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"modwsgi/express/option"
	"modwsgi/express/site"
	"modwsgi/internal/fault"
)

// tsv reads a table of the specification. Each row maps column names to values.
func tsv(t *testing.T, name string) []map[string]string {
	t.Helper()
	data, err := os.ReadFile("../testdata/" + name)
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(strings.TrimSuffix(string(data), "\n"), "\n")
	head := strings.Split(lines[0], "\t")
	var rows []map[string]string
	for _, l := range lines[1:] {
		row := map[string]string{}
		for k, v := range strings.Split(l, "\t") {
			row[head[k]] = v
		}
		rows = append(rows, row)
	}
	return rows
}

// parseLine parses a command line of start-server.
func parseLine(words ...string) (*Server, error) {
	line, err := parse(words...)
	return &Server{Values: line.Values, Positional: line.Positional}, err
}

func parse(words ...string) (*option.Line, error) {
	return option.Parse("mod_wsgi-express", &option.Command{Name: "start-server", Arguments: 1, Table: Table()}, words)
}

// anyValue returns a command line that sets an option to any valid value.
func anyValue(t *testing.T, o *option.Option) *Server {
	t.Helper()
	for _, value := range append([]string{o.Default, "1", "9000", "70000", "a", "/a", "10.0.0.1", "unix:/a", "+A", "a@example.org", "https://a.example/dir"}, o.Words...) {
		args := []string{o.Flag()}
		for range o.Values {
			args = append(args, value)
		}
		if line, err := option.Parse("mod_wsgi-express", &option.Command{Table: Table()}, args); err == nil {
			return &Server{Values: line.Values}
		}
	}
	t.Fatalf("no value for %s: add a valid one to the list in anyValue", o)
	return nil
}

// TestTableFollowsTheSpecification compares each row with testdata/options.tsv. Only
// --max-clients, --shutdown-timeout and --rotatelogs-executable have other defaults than
// upstream's (docs/concepts/clients.md, docs/concepts/reload.md, docs/concepts/logs.md).
func TestTableFollowsTheSpecification(t *testing.T) {
	table := Table()
	spec := map[string]bool{}
	for _, row := range tsv(t, "options.tsv") {
		name := strings.TrimPrefix(row["option"], "--")
		spec[name] = true
		o, abbreviated, _ := table.Lookup(name)
		if o == nil || abbreviated {
			t.Errorf("--%s is missing", name)
			continue
		}
		if o.Name != name {
			if !strings.Contains(row["aliases"], o.Name) {
				t.Errorf("--%s is an alias of --%s", name, o.Name)
			}
			continue
		}
		if want, _ := strconv.Atoi(row["nargs"]); o.Values != want {
			t.Errorf("--%s takes %d values, want %d", name, o.Values, want)
		}
		if string(o.Kind) != row["type"] {
			t.Errorf("--%s has type %s, want %s", name, o.Kind, row["type"])
		}
		if o.Repeatable != (row["repeatable"] == "yes") {
			t.Errorf("--%s: repeatable %v", name, o.Repeatable)
		}
		if Unix.Of(o) != (row["platform"] == "unix") {
			t.Errorf("--%s: unix %v, want %s", name, Unix.Of(o), row["platform"])
		}
		if Since(o) != row["min_module_version"] {
			t.Errorf("--%s since %s, want %s", name, Since(o), row["min_module_version"])
		}
		others := []*option.Option{MaxClients.Option, ShutdownTimeout.Option, RotatelogsExecutable.Option}
		if got, want := o.Default+o.Shown, row["default"]; got != want && !slices.Contains(others, o) && (got != "" || want != "none" && want != "off") {
			t.Errorf("--%s has the default %q, want %q", name, got, want)
		}
		renamed := strings.HasPrefix(row["notes"], "DROPPED") || strings.HasPrefix(row["notes"], "RENAMED")
		if renamed && o.Gone == "" {
			t.Errorf("--%s is not reported as removed", name)
		}
		if o.Gone == "" && o.Help == "" {
			t.Errorf("--%s has no help", name)
		}
	}
	for _, o := range table.Options() {
		if spec[o.Name] == Own.Of(o) {
			t.Errorf("--%s: in the specification of upstream's launcher: %v, marked as missing there: %v", o.Name, spec[o.Name], Own.Of(o))
		}
	}
}

// TestDirectivesFollowTheSpecification checks the versions that introduced directives
// and parameters.
func TestDirectivesFollowTheSpecification(t *testing.T) {
	since := map[string]string{}
	for _, row := range tsv(t, "directives.tsv") {
		since[row["name"]] = row["first_version"]
	}
	if got := since["WSGISocketRotation"]; got != rotationSince {
		t.Errorf("WSGISocketRotation since %s, want %s", rotationSince, got)
	}
	for _, o := range Table().Options() {
		parameter := Daemon.Of(o)
		if parameter == "" {
			continue
		}
		// All supported modules have parameters older than the oldest of them.
		v, ok := since["WSGIDaemonProcess "+parameter+"="]
		if !ok || v != Since(o) && !site.AtLeastVersion(site.OldestModule, v) {
			t.Errorf("--%s: parameter %s since %q, and the option since %s", o.Name, parameter, v, Since(o))
		}
	}
}

func TestParse(t *testing.T) {
	p, err := parse("--port=81", "app.py", "--setenv", "A", "-x --y", "--setenv", "B", "", "--threads", "7", "--threads", "9",
		"--python-path", "a", "--python-path=b", "--processe", "3", "--access-log", "--eviction-timeout", "4")
	if err != nil {
		t.Fatal(err)
	}
	s := p
	if Port.In(s) != 81 || Threads.In(s) != 9 || Processes.In(s) != 3 || !AccessLog.In(s) || EvictionTimeout.In(s) != 4 || !slices.Equal(PythonPath.In(s), []string{"a", "b"}) {
		t.Errorf("%+v", s)
	}
	if !slices.Equal(Setenv.In(s), [][2]string{{"A", "-x --y"}, {"B", ""}}) || !slices.Equal(s.Positional, []string{"app.py"}) {
		t.Errorf("%q %q", Setenv.In(s), s.Positional)
	}
	if len(p.Warnings) != 0 && !strings.Contains(p.Warnings[0], "--processes") || !s.Given(Processes) || s.Given(Host) {
		t.Errorf("%q %v", p.Warnings, s.Positional)
	}
	if LogLevel.In(s) != "warn" || LimitRequestBody.In(s) != 10485760 || MountPoint.In(s) != "/" || KeepAliveTimeout.In(s) != 2 {
		t.Errorf("defaults: %+v", s)
	}
	if p, err := parse("--", "--port"); err != nil || !slices.Equal(p.Positional, []string{"--port"}) {
		t.Errorf("after --: %v", err)
	}
	if p, err := parse("--reload", "--locale", "--", "x"); err != nil || len(p.Warnings) != 1 || Locale.In(p) != "--" {
		t.Errorf("abbreviated: %v %+v", err, p)
	}
}

func TestParseErrors(t *testing.T) {
	for _, c := range []struct {
		line string
		want string
		hint string
	}{
		{"--port", "needs NUMBER", ""},
		{"--port --threads 3", "needs NUMBER", "--port=NUMBER"},
		{"--port x", "not a whole number", ""},
		{"--port 0", "not between 1 and 65535", ""},
		{"--threads -1", "not between", ""},
		{"--initial-workers 1.5", "not between 0 and 1", ""},
		{"--initial-workers NaN", "not between 0 and 1", ""},
		{"--switch-interval 0", "above 0", ""},
		{"--header-buffer-size 100", "at least 8192", ""},
		{"--access-log=yes", "takes no value", ""},
		{"--setenv A", "needs NAME VALUE", ""},
		{"--application-type wsgi", "not one of", ""},
		{"--prot 8000", "no such option", "did you mean --port?"},
		{"--proc 2", "ambiguous", ""},
		{"--nothing-like-it-at-all 2", "no such option", ""},
		{"-p 80", "no such option", "long names"},
		{"a.py b.py", "unexpected argument \"b.py\"", "quote"},
		{"--telemetry-service tcp:1", "not unix:", ""},
		{"--telemetry-interval 0.1", "less than 0.5", ""},
		{"--slow-requests -1", "less than 0", ""},
		{"--telemetry-options ++A", "not the name", ""},
		{"--with-newrelic", "dropped in mod_wsgi 6.0.0", ""},
		{"--isatty", "4.8.0", ""},
		{"--proxy-buffer-size 1", "use --response-buffer-size", ""},
		{"--with-newrelic-agent", "dropped in mod_wsgi 6.0.0", ""},
		{"--with-newrelic-platform", "dropped in mod_wsgi 6.0.0", ""},
		{"--newrelic-config-file x", "dropped in mod_wsgi 6.0.0", ""},
		{"--newrelic-environment x", "dropped in mod_wsgi 6.0.0", ""},
		{"--with-php5", "PHP 5", ""},
		{"--auth-user-script=", "option --auth-user-script: the value is empty", "omit the option"},
		{"--ssl-verify-client=", "the value is empty", "omit the option"},
		{"--entry-point=", "the value is empty", "omit the option"},
		{"--setenv= x", "the value is empty", ""},
		{"--service-log= x", "option --service-log: the value is empty", ""},
		{"--ssl-port x", "option --ssl-port: \"x\" is not a whole number", ""},
		{"--ssl-port", "option --ssl-port needs NUMBER", "--ssl-port=NUMBER"},
		{"--trust-proxy nonsense", "neither an address", ""},
		{"--host a/b", "neither a host name", ""},
		{"--server-alias a;b", "neither a host name", ""},
		{"--server-mpm itk", "not one of", ""},
		{"--log-level warn;x", "not a log level", ""},
		{"--passenv A=b", "not the name", ""},
		{"--process-group a\"b", "single word", ""},
	} {
		_, err := parseLine(strings.Fields(c.line)...)
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", c.line, err, c.want)
			continue
		}
		if h, ok := err.(*option.UsageError); !ok || !strings.Contains(h.Hint(), c.hint) {
			t.Errorf("%s: hint %q, want %q", c.line, h.Hint(), c.hint)
		}
	}
}

// TestWordsThatLookLikeOptions checks that the second value of an option may look like
// an option if the first was given with an = sign.
func TestWordsThatLookLikeOptions(t *testing.T) {
	in, err := parseLine("--setenv=OPTS", "--port", "--port", "81")
	if err != nil || len(Setenv.In(in)) != 1 || Setenv.In(in)[0] != [2]string{"OPTS", "--port"} || Port.In(in) != 81 {
		t.Errorf("%v %+v", err, in)
	}
	if _, err := parseLine("--setenv", "OPTS", "--port"); err == nil || !strings.Contains(err.(*option.UsageError).Hint(), "--setenv=NAME VALUE") {
		t.Errorf("%v", err)
	}
}

// TestEveryOptionNamesItsVersion checks that each module rejects exactly the options
// that are newer, with the required version and how to install it.
func TestEveryOptionNamesItsVersion(t *testing.T) {
	for _, module := range []string{site.OldestModule, "4.5.13", "4.6.0", "4.9.4", "5.0.2", "6.0.0", "6.0.2", "6.0.5"} {
		six := 0
		for _, o := range Table().Options() {
			if o.Gone != "" || o == Help.Option {
				continue
			}
			s := anyValue(t, o)
			err := checkVersions(s, module)
			if site.AtLeastVersion(module, Since(o)) {
				if err != nil {
					t.Errorf("%s, --%s: %v", module, o.Name, err)
				}
				continue
			}
			if site.AtLeastVersion(Since(o), "6.0.0") {
				six++
			}
			if err == nil || !strings.Contains(err.Error(), "option --"+o.Name+" needs mod_wsgi "+Since(o)+" or newer; the installed one is "+module) ||
				!strings.Contains(fault.HintOf(err), "--mod-wsgi-version '>= "+Since(o)+"'") {
				t.Errorf("%s, --%s: %v (%s)", module, o.Name, err, fault.HintOf(err))
			}
		}
		if want := map[string]int{"6.0.0": 1, "6.0.2": 0, "6.0.5": 0}[module]; module < "6" && six < 10 || module >= "6" && six != want {
			t.Errorf("%s: %d options of mod_wsgi 6 are refused", module, six)
		}
	}
}

// TestOldModule checks that versions which fail requests with many headers are
// rejected.
func TestOldModule(t *testing.T) {
	for version, refused := range map[string]bool{"4.4.10": true, "4.4.7": true, "": true, "4.4.11": false, "6.0.5": false} {
		err := checkVersions(&Server{Values: option.NewValues()}, version)
		if (err != nil) != refused || err != nil && !strings.Contains(err.Error(), "4.4.11 or newer") {
			t.Errorf("%s: %v", version, err)
		}
	}
}

func TestServicesNeedTheirVersion(t *testing.T) {
	in, err := parseLine("--service-script", "a", "b")
	if err != nil {
		t.Fatal(err)
	}
	if err := checkVersions(in, "4.5.24"); err == nil || !strings.Contains(err.Error(), "--service-script needs mod_wsgi 4.6.0") {
		t.Errorf("%v", err)
	}
}

// TestOptionNamesAreUnique checks that no two options share a name.
func TestOptionNamesAreUnique(t *testing.T) {
	names := map[string]bool{}
	for _, o := range Table().Options() {
		for _, name := range append([]string{o.Name}, o.Aliases...) {
			if names[name] {
				t.Errorf("--%s is in the table twice", name)
			}
			names[name] = true
		}
	}
}

// TestEachHandleIsInTheTable checks that the table contains all declared options.
func TestEachHandleIsInTheTable(t *testing.T) {
	names, err := filepath.Glob("*.go")
	if err != nil {
		t.Fatal(err)
	}
	declared := 0
	for _, name := range names {
		if strings.HasSuffix(name, "_test.go") {
			continue
		}
		f, err := parser.ParseFile(token.NewFileSet(), name, nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		ast.Inspect(f, func(n ast.Node) bool {
			call, ok := n.(*ast.CallExpr)
			if !ok {
				return true
			}
			s, ok := call.Fun.(*ast.SelectorExpr)
			if !ok {
				return true
			}
			if x, ok := s.X.(*ast.Ident); ok && x.Name == "option" && slices.Contains(strings.Fields("Text Texts Pairs Number Fraction Toggle HelpFlag"), s.Sel.Name) {
				declared++
			}
			return true
		})
	}
	if listed := len(Table().Options()); declared != listed {
		t.Errorf("%d options are declared and %d are in the table", declared, listed)
	}
}
