package express

import (
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"

	"modwsgi/express/config"
	"modwsgi/express/site"
)

// tsv reads a table of the specification by its column names.
func tsv(t *testing.T, name string) []map[string]string {
	t.Helper()
	data, err := os.ReadFile("testdata/" + name)
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

// TestTableFollowsTheSpecification compares each row with testdata/options.tsv.
func TestTableFollowsTheSpecification(t *testing.T) {
	table := config.Table()
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
			t.Errorf("--%s is a %s, want %s", name, o.Kind, row["type"])
		}
		if o.Repeatable != (row["repeatable"] == "yes") {
			t.Errorf("--%s: repeatable %v", name, o.Repeatable)
		}
		if config.Unix.Of(o) != (row["platform"] == "unix") {
			t.Errorf("--%s: unix %v, want %s", name, config.Unix.Of(o), row["platform"])
		}
		if config.Since(o) != row["min_module_version"] {
			t.Errorf("--%s since %s, want %s", name, config.Since(o), row["min_module_version"])
		}
		if got, want := o.Default+o.Shown, row["default"]; got != want && (got != "" || want != "none" && want != "off") {
			t.Errorf("--%s has the default %q, want %q", name, got, want)
		}
		renamed := strings.HasPrefix(row["notes"], "DROPPED") || strings.HasPrefix(row["notes"], "RENAMED")
		if renamed && o.Gone == "" {
			t.Errorf("--%s is not reported as gone", name)
		}
		if o.Gone == "" && o.Help == "" {
			t.Errorf("--%s has no help", name)
		}
	}
	own := []string{"json", "wait-ready", "trace-enable", "allow-connect", "follow-symlinks"} // upstream's has none of these
	for _, o := range table.Options() {
		if !spec[o.Name] && !slices.Contains(own, o.Name) {
			t.Errorf("--%s is not in the specification", o.Name)
		}
	}
}

// TestDirectivesFollowTheSpecification: what gates directives and parameters.
func TestDirectivesFollowTheSpecification(t *testing.T) {
	since := map[string]string{}
	for _, row := range tsv(t, "directives.tsv") {
		since[row["name"]] = row["first_version"]
	}
	for name, v := range site.DirectiveSince {
		if since[name] != v {
			t.Errorf("%s since %s, want %s", name, v, since[name])
		}
	}
	for name, v := range site.DaemonSince {
		if got := since["WSGIDaemonProcess "+name+"="]; got != v {
			t.Errorf("parameter %s since %s, want %s", name, v, got)
		}
	}
	for _, o := range config.Table().Options() {
		parameter := config.Daemon.Of(o)
		if parameter == "" {
			continue
		}
		v, ok := since["WSGIDaemonProcess "+parameter+"="]
		if !ok || site.AtLeastVersion(v, "4.4.1") && site.DaemonSince[parameter] == "" {
			t.Errorf("--%s: parameter %s since %q is not gated", o.Name, parameter, v)
		}
	}
}

func TestVersions(t *testing.T) {
	for _, c := range []struct {
		have, want string
		ok         bool
	}{
		{"5.0.2", "4.9.1", true},
		{"4.9.1", "4.9.1", true},
		{"4.10.0", "4.9.1", true},
		{"4.9", "4.9.1", false},
		{"4.4.9", "4.4.10", false},
		{"6.0.0rc1", "6.0.0", true},
		{"", "4.0", false},
	} {
		if got := site.AtLeastVersion(c.have, c.want); got != c.ok {
			t.Errorf("%q at least %q: %v", c.have, c.want, got)
		}
	}
}

func parseLine(line ...string) (*parsed, error) {
	c, err := findCommand("start-server")
	if err != nil {
		return nil, err
	}
	return parse(c, line)
}

func TestParse(t *testing.T) {
	p, err := parseLine("--port=81", "app.py", "--setenv", "A", "-x --y", "--setenv", "B", "", "--threads", "7", "--threads", "9",
		"--python-path", "a", "--python-path=b", "--processe", "3", "--access-log", "--eviction-timeout", "4")
	if err != nil {
		t.Fatal(err)
	}
	s := p.server
	if config.Port.In(s) != 81 || config.Threads.In(s) != 9 || config.Processes.In(s) != 3 || !config.AccessLog.In(s) || config.EvictionTimeout.In(s) != 4 || !slices.Equal(config.PythonPath.In(s), []string{"a", "b"}) {
		t.Errorf("%+v", s)
	}
	if !slices.Equal(config.Setenv.In(s), [][2]string{{"A", "-x --y"}, {"B", ""}}) || !slices.Equal(s.Positional, []string{"app.py"}) {
		t.Errorf("%q %q", config.Setenv.In(s), s.Positional)
	}
	if len(p.warnings) != 0 && !strings.Contains(p.warnings[0], "--processes") || !s.Given(config.Processes) || s.Given(config.Host) {
		t.Errorf("%q %v", p.warnings, s.Positional)
	}
	if config.LogLevel.In(s) != "warn" || config.LimitRequestBody.In(s) != 10485760 || config.MountPoint.In(s) != "/" || config.KeepAliveTimeout.In(s) != 2 {
		t.Errorf("defaults: %+v", s)
	}
	if p, err := parseLine("--", "--port"); err != nil || !slices.Equal(p.server.Positional, []string{"--port"}) {
		t.Errorf("after --: %v", err)
	}
	if p, err := parseLine("--reload", "--locale", "--", "x"); err != nil || len(p.warnings) != 1 || config.Locale.In(p.server) != "--" {
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
		{"a.py b.py", "\"b.py\" is too much", "quotes"},
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
		{"--auth-user-script=", "option --auth-user-script: the value is empty", "leave the option out"},
		{"--ssl-verify-client=", "the value is empty", "leave the option out"},
		{"--entry-point=", "the value is empty", "leave the option out"},
		{"--setenv= x", "the value is empty", ""},
		{"--service-log= x", "option --service-log: the value is empty", ""},
		{"--ssl-port x", "option --ssl-port: \"x\" is not a whole number", ""},
		{"--ssl-port", "option --ssl-port needs NUMBER", "--ssl-port=NUMBER"},
		{"--trust-proxy nonsense", "neither an address", ""},
		{"--host a/b", "neither a host name", ""},
		{"--server-alias a;b", "not a host name", ""},
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
		if h, ok := err.(*UsageError); !ok || !strings.Contains(h.Hint(), c.hint) {
			t.Errorf("%s: hint %q, want %q", c.line, h.Hint(), c.hint)
		}
	}
}

func TestSizes(t *testing.T) {
	for _, c := range []struct {
		processes, threads, most int
		prefork, worker          sizes
	}{
		{1, 5, 0, sizes{20, 0, 0, 1, 20, 1, 2}, sizes{2, 10, 10, 1, 20, 10, 20}},
		{2, 5, 0, sizes{25, 0, 0, 1, 25, 1, 2}, sizes{3, 12, 12, 1, 36, 12, 24}},
		{4, 10, 0, sizes{70, 0, 0, 3, 70, 3, 7}, sizes{5, 17, 17, 1, 85, 17, 51}},
		{8, 25, 0, sizes{310, 0, 0, 15, 310, 15, 31}, sizes{17, 19, 19, 3, 323, 57, 190}},
		{2, 5, 100, sizes{100, 0, 0, 5, 100, 5, 10}, sizes{7, 16, 16, 1, 112, 16, 64}},
	} {
		line := []string{"--processes", strconv.Itoa(c.processes), "--threads", strconv.Itoa(c.threads)}
		if c.most > 0 {
			line = append(line, "--max-clients", strconv.Itoa(c.most))
		}
		s := typed(line...)
		if got := (&instance{Server: s, mpm: "prefork"}).sizes(); got != c.prefork {
			t.Errorf("prefork %d*%d: %+v, want %+v", c.processes, c.threads, got, c.prefork)
		}
		if got := (&instance{Server: s, mpm: "event"}).sizes(); got != c.worker {
			t.Errorf("event %d*%d: %+v, want %+v", c.processes, c.threads, got, c.worker)
		}
	}
}
