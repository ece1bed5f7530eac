package sources

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"modwsgi/express/config"
	"modwsgi/express/option"
	"modwsgi/internal/fault"
	"modwsgi/internal/owned"
	"modwsgi/internal/settingsfile"
)

// reader reads the options of start-server in a new directory with files.
func reader(t *testing.T, files map[string]string, env ...string) (*Reader, *[]string) {
	t.Helper()
	dir, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	for name, text := range files {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	warnings := &[]string{}
	return &Reader{
		Dir: dir, Env: env, All: config.Table(), Command: config.Table(),
		Trusted: func(string) error { return nil }, Warn: func(text string) { *warnings = append(*warnings, text) },
	}, warnings
}

// line parses a command line of start-server.
func line(t *testing.T, args ...string) *option.Line {
	t.Helper()
	l, err := option.Parse("mod_wsgi-express", &option.Command{Name: "start-server", Arguments: 1, Table: config.Table()}, args)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func fill(t *testing.T, r *Reader, args ...string) *option.Line {
	t.Helper()
	l := line(t, args...)
	if _, err := r.Fill(l); err != nil {
		t.Fatal(err)
	}
	return l
}

const example = `# A project.
application = "site/app.wsgi"
port = 8001
processes = 3
log-to-terminal = true
server-alias = ["www.example.org", "*.example.org"]
queue-timeout = 20
document-root = "htdocs"
python-path = "lib"
gdb-executable = "gdb"
shell-executable = "tools/sh"
service-log-file = { jobs = "jobs.log" }
add-handler = [[".bar", "bar.py"], [".foo", "/srv/foo.py"]]
telemetry-service = "unix:run/collector"

[setenv]
ZEBRA = "1"
APPLE = ""

[url-alias]
"/z" = "z"
"/a" = "/srv/a"
`

func TestFile(t *testing.T) {
	r, warnings := reader(t, map[string]string{OwnFile: example})
	l := fill(t, r)
	in := func(path string) string { return filepath.Join(r.Dir, path) }
	for _, c := range []struct{ got, want any }{
		{config.EntryPoint.In(l), in("site/app.wsgi")},
		{config.Port.In(l), 8001},
		{config.Processes.In(l), 3},
		{config.LogToTerminal.In(l), true},
		{config.ServerAlias.In(l), []string{"www.example.org", "*.example.org"}},
		{config.QueueTimeout.In(l), 20},
		{config.DocumentRoot.In(l), in("htdocs")},
		{config.PythonPath.In(l), []string{in("lib")}},
		{config.GDBExecutable.In(l), "gdb"},
		{config.ShellExecutable.In(l), in("tools/sh")},
		{config.ServiceLogFile.In(l), [][2]string{{"jobs", "jobs.log"}}},
		{config.AddHandler.In(l), [][2]string{{".bar", in("bar.py")}, {".foo", "/srv/foo.py"}}},
		{config.TelemetryService.In(l), "unix:" + in("run/collector")},
		{config.Setenv.In(l), [][2]string{{"ZEBRA", "1"}, {"APPLE", ""}}},
		{config.URLAlias.In(l), [][2]string{{"/z", in("z")}, {"/a", "/srv/a"}}},
		{l.Origin(config.Port), OwnFile + ":3"},
		{l.Origin(config.URLAlias), OwnFile + ":20"},
		{l.Origin(config.Host), ""},
		{l.Given(config.Port), true},
	} {
		if fmt.Sprint(c.got) != fmt.Sprint(c.want) {
			t.Errorf("got %v, want %v", c.got, c.want)
		}
	}
	if len(*warnings) > 0 {
		t.Error(*warnings)
	}
}

func TestPrecedence(t *testing.T) {
	r, _ := reader(t, map[string]string{OwnFile: "port = 1\nhost = \"file\"\nprocesses = 2\nserver-alias = [\"a\", \"b\"]\nlog-to-terminal = true\nstartup-log = true\nentry-point = \"file.wsgi\"\n"},
		"MODWSGI_EXPRESS_PORT=2", "MODWSGI_EXPRESS_HOST=env", "MODWSGI_EXPRESS_SERVER_ALIAS=c", "MODWSGI_EXPRESS_LOG_TO_TERMINAL=off", "OTHER=1", "MODWSGI_EXPRESS_PORT=3")
	l := fill(t, r, "--host", "flag", "given.wsgi")
	for _, c := range []struct{ got, want any }{
		{config.Host.In(l), "flag"},
		{config.Processes.In(l), 2},
		{config.ServerAlias.In(l), []string{"c"}},
		{config.LogToTerminal.In(l), false},
		{l.Given(config.LogToTerminal), false},
		{config.StartupLog.In(l), true},
		{config.EntryPoint.In(l), ""}, // the argument is there
		{l.Origin(config.Host), ""},
		{l.Origin(config.ServerAlias), "MODWSGI_EXPRESS_SERVER_ALIAS"},
		{l.Origin(config.Processes), OwnFile + ":3"},
	} {
		if fmt.Sprint(c.got) != fmt.Sprint(c.want) {
			t.Errorf("got %v, want %v", c.got, c.want)
		}
	}
}

func TestEnvironment(t *testing.T) {
	r, warnings := reader(t, map[string]string{"secret": "s3cret\n"},
		"MODWSGI_EXPRESS_APPLICATION=app.wsgi", "MODWSGI_EXPRESS_QUEUE_TIMEOUT=7", "MODWSGI_EXPRESS_DEBUG_MODE=TRUE",
		`MODWSGI_EXPRESS_SETENV={ B = "1", A = { file = "secret" } }`, `MODWSGI_EXPRESS_SERVER_ALIAS=["x", "y"]`, `MODWSGI_EXPRESS_URL_ALIAS=[["/b", "b"], ["/a", "a"]]`,
		"MODWSGI_EXPRESS_DOCUMENT_ROOT=docs", "MODWSGI_EXPRESS_PROCESES=2", "MODWSGI_EXPRESS_=2", "MODWSGI_EXPRESS_HELP=1")
	l := fill(t, r)
	for _, c := range []struct{ got, want any }{
		{config.EntryPoint.In(l), "app.wsgi"},
		{config.QueueTimeout.In(l), 7},
		{config.DebugMode.In(l), true},
		{config.Setenv.In(l), [][2]string{{"B", "1"}, {"A", "s3cret"}}},
		{config.ServerAlias.In(l), []string{"x", "y"}},
		{config.URLAlias.In(l), [][2]string{{"/b", "b"}, {"/a", "a"}}},
		{config.DocumentRoot.In(l), "docs"}, // relative to the working directory, like an option
	} {
		if fmt.Sprint(c.got) != fmt.Sprint(c.want) {
			t.Errorf("got %v, want %v", c.got, c.want)
		}
	}
	want := []string{
		"MODWSGI_EXPRESS_PROCESES is ignored: mod_wsgi-express has no such option; did you mean MODWSGI_EXPRESS_PROCESSES?",
		"MODWSGI_EXPRESS_HELP is ignored: mod_wsgi-express has no such option; did you mean MODWSGI_EXPRESS_USER?",
	}
	if len(*warnings) != 2 || (*warnings)[0] != want[0] || !strings.HasPrefix((*warnings)[1], want[1][:40]) {
		t.Errorf("%q", *warnings)
	}
}

// TestEveryOption: each option can be set by a file and by a variable.
func TestEveryOption(t *testing.T) {
	for _, o := range config.Table().Options() {
		if o.Hidden || o.Gone != "" || o == config.Help.Row() || o == config.Config.Row() || config.Table().Refusal(o) != "" {
			continue
		}
		word := "1"
		if o.Words != nil {
			word = o.Words[0]
		}
		values := map[bool]string{true: strings.Trim(fmt.Sprintf("%q", word), `"`), false: fmt.Sprintf("%q", word)}
		text := o.Name + " = "
		switch {
		case o.Kind == option.KindFlag:
			text += "true"
		case o.Kind == option.KindText && o.Values == 2:
			text += `{ A = "/1" }`
			values[true] = `{ A = "/1" }`
		case o.Kind == option.KindText:
			text += values[false]
		default:
			text += word
		}
		for source, r := range map[string]func() *Reader{
			"file":     func() *Reader { r, _ := reader(t, map[string]string{OwnFile: text}); return r },
			"variable": func() *Reader { r, _ := reader(t, nil, Variable(o.Name)+"="+values[true]); return r },
		} {
			l := line(t)
			_, err := r().Fill(l)
			if err != nil && !strings.Contains(err.Error(), o.Name+": ") || err == nil && !l.Given(o) {
				t.Errorf("%s by %s: given %v, %v", o.Name, source, l.Given(o), err)
			}
			if err != nil && strings.Contains(err.Error(), "must be") {
				t.Errorf("%s by %s: %v", o.Name, source, err)
			}
		}
	}
}

func TestProjectFile(t *testing.T) {
	project := "[project]\nname = \"x\"\n\n[tool.other]\nport = 1\n\n[tool.mod_wsgi-express]\nport = 8005\n"
	r, warnings := reader(t, map[string]string{ProjectFile: project})
	l := fill(t, r)
	if config.Port.In(l) != 8005 || l.Origin(config.Port) != "pyproject.toml:8" || len(*warnings) > 0 {
		t.Errorf("%d from %s, %q", config.Port.In(l), l.Origin(config.Port), *warnings)
	}
	r, warnings = reader(t, map[string]string{ProjectFile: project, OwnFile: "port = 8006\n"})
	if l = fill(t, r); config.Port.In(l) != 8006 || len(*warnings) != 1 || !strings.Contains((*warnings)[0], "pyproject.toml is not") {
		t.Errorf("%d, %q", config.Port.In(l), *warnings)
	}
	for _, harmless := range []string{"[project]\nname = \"x\"\n", "broken = \n", "# mod_wsgi-express\n[tool.other]\nport = 1\n", "[tool]\n"} {
		r, warnings = reader(t, map[string]string{ProjectFile: harmless})
		if l = fill(t, r); l.Given(config.Port) || len(*warnings) > 0 {
			t.Errorf("%q: %q", harmless, *warnings)
		}
	}
}

func TestNamedFile(t *testing.T) {
	files := map[string]string{OwnFile: "port = 1\n", "other.toml": "port = 2\n", "third.toml": "port = 3\n"}
	r, _ := reader(t, files, "MODWSGI_EXPRESS_CONFIG=third.toml")
	if l := fill(t, r, "--config", "other.toml"); config.Port.In(l) != 2 {
		t.Error(config.Port.In(l))
	}
	r, _ = reader(t, files, "MODWSGI_EXPRESS_CONFIG=third.toml")
	if l := fill(t, r); config.Port.In(l) != 3 || l.Origin(config.Port) != "third.toml:1" {
		t.Error(config.Port.In(l), l.Origin(config.Port))
	}
	r, _ = reader(t, files)
	if l := fill(t, r, "--config=none"); l.Given(config.Port) {
		t.Error(config.Port.In(l))
	}
	r, _ = reader(t, nil)
	other := filepath.Join(t.TempDir(), "elsewhere.toml")
	if err := os.WriteFile(other, []byte("document-root = \"docs\"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	l := fill(t, r, "--config", other)
	if want := filepath.Join(filepath.Dir(other), "docs"); config.DocumentRoot.In(l) != want || l.Origin(config.DocumentRoot) != other+":1" {
		t.Error(config.DocumentRoot.In(l), l.Origin(config.DocumentRoot))
	}
}

func TestSecrets(t *testing.T) {
	credentials := t.TempDir()
	if err := os.WriteFile(filepath.Join(credentials, "key"), []byte("from systemd\r\n"), 0o400); err != nil {
		t.Fatal(err)
	}
	text := "[setenv]\nA = { file = \"a\" }\nB = { credential = \"key\" }\n"
	r, warnings := reader(t, map[string]string{OwnFile: text, "a": "line 1\nline 2\n"}, "CREDENTIALS_DIRECTORY="+credentials)
	l := line(t)
	found, err := r.Fill(l)
	if err != nil {
		t.Fatal(err)
	}
	if got := config.Setenv.In(l); fmt.Sprint(got) != "[[A line 1\nline 2] [B from systemd]]" || !slices.Equal(found.Credentials, []string{"key"}) || len(*warnings) > 0 {
		t.Errorf("%q, %+v, %q", got, found, *warnings)
	}
	r, warnings = reader(t, map[string]string{OwnFile: "[setenv]\nA = { file = \"a\" }\n", "a": "x"})
	if err := os.Chmod(filepath.Join(r.Dir, "a"), 0o644); err != nil {
		t.Fatal(err)
	}
	if l = fill(t, r); fmt.Sprint(config.Setenv.In(l)) != "[[A x]]" || len(*warnings) != 1 || !strings.Contains((*warnings)[0], "can be read by other users") {
		t.Errorf("%v, %q", config.Setenv.In(l), *warnings)
	}
	r, _ = reader(t, map[string]string{OwnFile: text})
	r.Unread = true
	if l = fill(t, r); config.Setenv.In(l)[1][1] != Unread {
		t.Errorf("%v", config.Setenv.In(l))
	}
	r, _ = reader(t, nil, `MODWSGI_EXPRESS_SETENV={ A = { file = "missing" } }`)
	r.Unread, r.Unit = true, true
	if _, err := r.Fill(line(t)); err == nil || !strings.Contains(err.Error(), "MODWSGI_EXPRESS_SETENV: \"A\": the unit would contain the secret") {
		t.Error(err)
	}
}

// TestMistakes: each is named with its line, and what to write instead.
func TestMistakes(t *testing.T) {
	for _, c := range []struct{ text, says string }{
		{"prot = 1", "mod_wsgi-express.toml:1: unknown key prot: did you mean port?"},
		{"\n\nserver_name = \"x\"", "mod_wsgi-express.toml:3: unknown key server_name: write server-name"},
		{"--port = 1", "mod_wsgi-express.toml:1: unknown key --port: write port"},
		{"Port = 1", "unknown key Port: write port"},
		{"\"po\\u001brt\" = 1", `mod_wsgi-express.toml:1: unknown key "po\x1brt": did you mean port?`},
		{"port = 99999999999999999999", "mod_wsgi-express.toml:1: "},
		{"completely-different = 1", "mod_wsgi-express.toml:1: unknown key completely-different"},
		{"[tool.mod_wsgi-express]\nport = 1", "unknown key tool: only pyproject.toml has [tool.mod_wsgi-express]; here options stand at the top"},
		{"[mod_wsgi-express]\nport = 1", "unknown key mod_wsgi-express: only pyproject.toml has"},
		{"port = \"8000\"", `mod_wsgi-express.toml:1: port: must be a whole number, not a string: write 8000 without quotes`},
		{"port = 80.5", "port: must be a whole number, not a number"},
		{"port = true", "port: must be a whole number, not true or false"},
		{"port = [8000]", "port: must be a whole number, not a list"},
		{"port = { a = 1 }", "port: must be a whole number, not a table"},
		{"port = 2026-11-30", "port: must be a whole number, not a date or time"},
		{"port = 99999", "mod_wsgi-express.toml:1: port: 99999 is not between"},
		{"port = -1", "mod_wsgi-express.toml:1: port: "},
		{"port = 0x", "mod_wsgi-express.toml:1: "},
		{"port = 1\nport = 2", "mod_wsgi-express.toml:2: "},
		{"port = ", "mod_wsgi-express.toml:1: "},
		{"port: 8000", "mod_wsgi-express.toml:1: "},
		{"port 8000", "mod_wsgi-express.toml:1: "},
		{"host = localhost", "mod_wsgi-express.toml:1: "},
		{"host = 'x", "mod_wsgi-express.toml:1: "},
		{"host = 127", `host: must be a string, not a whole number: write "127"`},
		{"host = 1.5", `host: must be a string, not a number: write "1.5"`},
		{"host = true", "host: must be a string, not true or false"},
		{"host = [\"a\"]", "host: must be a string, not a list: write the value without brackets"},
		{"host = \"\"", "mod_wsgi-express.toml:1: host: the value is empty"},
		{"host = \"a\\u0000b\"", "host: the value contains a NUL character"},
		{"log-to-terminal = 1", "log-to-terminal: must be true or false, not a whole number: write true"},
		{"log-to-terminal = \"yes\"", "log-to-terminal: must be true or false, not a string: write true"},
		{"log-to-terminal = \"off\"", "must be true or false, not a string: write false"},
		{"log-to-terminal = True", "mod_wsgi-express.toml:1: "},
		{"auth-type = \"Bsic\"", "mod_wsgi-express.toml:1: auth-type: \"Bsic\" is not one of Basic, Digest"},
		{"auth-type = false", "auth-type: must be a string, not true or false: it is one of Basic, Digest"},
		{"server-alias = [\"a\", 1]", "server-alias: element 2 must be a string, not a whole number"},
		{"server-alias = 1", "server-alias: must be a string or a list of strings, not a whole number"},
		{"server-alias = [\"\"]", "server-alias: the value is empty"},
		{"server-alias = [1]", "server-alias: element 1 must be a string, not a whole number"},
		{"[setenv]\nA = \"1\"\nB = \"b\\u0000\"", "mod_wsgi-express.toml:3: setenv: the value contains a NUL character"},
		{"[service-script]\na = \"x.py\"\nb = \"\"", "mod_wsgi-express.toml:3: service-script: the value is empty"},
		{"ssl-certificate-key-file = { file = \"key\" }", "ssl-certificate-key-file: must be a string, not a table: only values of setenv can refer to secrets"},
		{"user = { credential = \"user\" }", "user: must be a string, not a table: only values of setenv can refer to secrets"},
		{"server-alias = [{ file = \"x\" }]", "server-alias: element 1 must be a string, not a table"},
		{"[setenv]\nA = { credential = \"a\\nUser=root\" }", `a credential has a name of letters`},
		{"[setenv]\nA = { credential = \"a:b\" }", `a credential has a name of letters`},
		{"setenv = [\"A=1\"]", "setenv: element 1 must be a list of two strings: NAME VALUE"},
		{"setenv = \"A=1\"", `setenv: must be a table { "NAME" = "VALUE" }, or a list of such pairs, not a string`},
		{"[setenv]\nA = 1", `mod_wsgi-express.toml:2: setenv: the value of "A" must be a string, not a whole number`},
		{"url-alias = [[\"/a\"]]", "url-alias: element 1 must be a list of two strings: URL-PATH PATH"},
		{"url-alias = [[1, \"a\"]]", "url-alias: element 1 must be a list of two strings"},
		{"[setenv]\nA = { files = \"x\" }", `setenv: "A": a table must refer to a secret: { file = "PATH" } or { credential = "NAME" }`},
		{"[setenv]\nA = { file = \"x\", credential = \"y\" }", `"A": a table must refer to a secret`},
		{"[setenv]\nA = { file = 1 }", `"A": file must be a string that is not empty`},
		{"[setenv]\nA = { file = \"missing\" }", `"A": read the secret: `},
		{"[setenv]\nA = { file = \".\" }", `"A": read the secret: `},
		{"[setenv]\nA = { credential = \"key\" }", `the credential "key" is not there: systemd passes it to a service with LoadCredential=key`},
		{"[setenv]\nA = { credential = \"../key\" }", `a credential has a name of letters, digits, dots, dashes and underscores: "../key"`},
		{"newrelic-config-file = \"x\"", "mod_wsgi-express.toml:1: newrelic-config-file "},
		{"config = \"other.toml\"", "mod_wsgi-express.toml:1: a configuration file cannot name another one"},
		{"help = true", "unknown key help"},
		{"application = \"a\"\nentry-point = \"b\"", "mod_wsgi-express.toml:2: entry-point and application are the same option: write one of them"},
		{"application = [\"a\", \"b\"]", "application: must be a string, not a list"},
		{"application = \"\"", "mod_wsgi-express.toml:1: application: the value is empty"},
		{"mount-point = \"/a b", "mod_wsgi-express.toml:1: "},
		{"\xff = 1", "mod_wsgi-express.toml:1: "},
		{"port = 1 # c\nhost = \"a\" process = 2", "mod_wsgi-express.toml:2: "},
		{"[[port]]\na = 1", "mod_wsgi-express.toml:1: port: must be a whole number, not a list"},
		{"[port]", "mod_wsgi-express.toml:1: port: must be a whole number, not a table"},
	} {
		r, _ := reader(t, map[string]string{OwnFile: c.text})
		_, err := r.Fill(line(t))
		if err == nil || !strings.Contains(err.Error(), c.says) || !strings.HasPrefix(err.Error(), OwnFile+":") || fault.HintOf(err) == "" {
			t.Errorf("%q:\n got %v (%s)\nwant %s", c.text, err, fault.HintOf(err), c.says)
		}
	}
}

// TestAllMistakes: one run tells all, in the order of the file, also what the command line
// would replace.
func TestAllMistakes(t *testing.T) {
	r, _ := reader(t, map[string]string{OwnFile: "port = 99999\nhots = \"a\"\nprocesses = \"2\"\n"})
	_, err := r.Fill(line(t, "--port=1"))
	if err == nil || strings.Count(err.Error(), "\n") != 1 || !strings.Contains(err.Error(), ":2: unknown key hots: did you mean host?\nmod_wsgi-express.toml:3: processes: ") {
		t.Error(err)
	}
	r, _ = reader(t, map[string]string{OwnFile: "port = 99999\n"})
	if _, err := r.Fill(line(t, "--port=1")); err == nil || !strings.Contains(err.Error(), "mod_wsgi-express.toml:1: port: 99999") {
		t.Error(err)
	}
	r, _ = reader(t, map[string]string{OwnFile: strings.Repeat("x = 1\n", 1) + "y = 1\nz = 1\na = 1\nb = 1\nc = 1\nd = 1\ne = 1\nf = 1\ng = 1\nh = 1\ni = 1\n"})
	if _, err := r.Fill(line(t)); err == nil || !strings.HasSuffix(err.Error(), "\nand 2 more") {
		t.Error(err)
	}
}

func TestMistakesOfTheEnvironment(t *testing.T) {
	for kv, says := range map[string]string{
		"MODWSGI_EXPRESS_PORT=x":                   `MODWSGI_EXPRESS_PORT: port: "x" is not a whole number`,
		"MODWSGI_EXPRESS_PORT=":                    "MODWSGI_EXPRESS_PORT: the value is empty",
		"MODWSGI_EXPRESS_HOST_ACCESS_SCRIPT=":      "MODWSGI_EXPRESS_HOST_ACCESS_SCRIPT: the value is empty",
		"MODWSGI_EXPRESS_LOG_TO_TERMINAL=maybe":    `"maybe" is not one of 1, true, yes, on, 0, false, no, off`,
		"MODWSGI_EXPRESS_LOG_TO_TERMINAL=":         `"" is not one of`,
		"MODWSGI_EXPRESS_SETENV=A=1":               `"A=1" is not a table { "NAME" = "VALUE" }`,
		"MODWSGI_EXPRESS_SETENV={ A = 1 }":         `the value of "A" must be a string`,
		"MODWSGI_EXPRESS_SERVER_ALIAS=[a]":         `"[a]" is not a string or a list of strings in TOML`,
		"MODWSGI_EXPRESS_SERVER_ALIAS=[1]":         "element 1 must be a string, not a whole number",
		"MODWSGI_EXPRESS_NEWRELIC_CONFIG_FILE=x":   "newrelic-config-file ",
		"MODWSGI_EXPRESS_CONFIG=":                  "MODWSGI_EXPRESS_CONFIG: the value is empty",
		"MODWSGI_EXPRESS_CONFIG=missing.toml":      "MODWSGI_EXPRESS_CONFIG: ",
		"MODWSGI_EXPRESS_SETENV={A=\"1\"}\nport=1": "is not a table",
		"MODWSGI_EXPRESS_AUTH_TYPE=None":           `auth-type: "None" is not one of Basic, Digest`,
	} {
		r, _ := reader(t, nil, kv)
		if _, err := r.Fill(line(t)); err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("%s:\n got %v\nwant %s", kv, err, says)
		}
	}
	r, _ := reader(t, nil, "MODWSGI_EXPRESS_PORT=x") // also if the command line replaces it, and once
	if _, err := r.Fill(line(t, "--port=1")); err == nil || strings.Count(err.Error(), "MODWSGI_EXPRESS_PORT") != 1 {
		t.Error(err)
	}
	r, _ = reader(t, nil, "MODWSGI_EXPRESS_APPLICATION=a", "MODWSGI_EXPRESS_ENTRY_POINT=b")
	if _, err := r.Fill(line(t)); err == nil || !strings.Contains(err.Error(), "are for the same option: unset one") {
		t.Error(err)
	}
}

func TestFilesThatCannotBeRead(t *testing.T) {
	r, _ := reader(t, map[string]string{OwnFile: "port = 1\n"})
	r.Trusted = func(file string) error { return &owned.Untrusted{Path: file, At: file, Why: "everybody may write"} }
	_, err := r.Fill(line(t))
	if err == nil || !strings.Contains(err.Error(), "everybody may write") || !strings.Contains(fault.HintOf(err), "--config none") {
		t.Errorf("%v (%s)", err, fault.HintOf(err))
	}
	if _, err := r.Fill(line(t, "--config", OwnFile)); err == nil || !strings.Contains(err.Error(), "--config: ") {
		t.Error(err)
	}
	r.problems = nil
	if _, err := r.Fill(line(t, "--config", "none")); err != nil {
		t.Error(err)
	}
	r, _ = reader(t, nil)
	if err := os.Mkdir(filepath.Join(r.Dir, OwnFile), 0o700); err != nil {
		t.Fatal(err)
	}
	if _, err := r.Fill(line(t)); err == nil || !strings.Contains(err.Error(), "a directory") {
		t.Error(err)
	}
	r, _ = reader(t, map[string]string{"big.toml": strings.Repeat("#\n", settingsfile.Limit)})
	if _, err := r.Fill(line(t, "--config", "big.toml")); err == nil || !strings.Contains(err.Error(), "big.toml") {
		t.Error(err)
	}
	r, _ = reader(t, map[string]string{OwnFile: "\ufeffport = 8001\r\nhost = \"a\"\r\n"}) // as editors on Windows write
	if l := fill(t, r); config.Port.In(l) != 8001 || config.Host.In(l) != "a" {
		t.Error(config.Port.In(l))
	}
	r, _ = reader(t, nil)
	r.Dir = ""
	if _, err := r.Fill(line(t)); err != nil {
		t.Error(err)
	}
	var f *fault.Error
	if _, err := r.Fill(line(t, "--config", "x.toml")); !errors.As(err, &f) || !strings.Contains(err.Error(), "working directory is unknown") {
		t.Error(err)
	}
}

// TestFromAnotherServer: the server that the command line names is meant, although the file
// is about another one.
func TestFromAnotherServer(t *testing.T) {
	files := map[string]string{OwnFile: "port = 8001\nserver-root = \"run\"\n"}
	r, _ := reader(t, files)
	if l := fill(t, r); config.ServerRoot.In(l) != filepath.Join(r.Dir, "run") {
		t.Error(config.ServerRoot.In(l))
	}
	r, _ = reader(t, files, "MODWSGI_EXPRESS_SERVER_ROOT=/srv/run")
	r.Named = true
	if l := fill(t, r, "--port=8002"); l.Given(config.ServerRoot) || config.Port.In(l) != 8002 {
		t.Error(config.ServerRoot.In(l), config.Port.In(l))
	}
}

// TestRivals: two ways to say the same do not mix sources.
func TestRivals(t *testing.T) {
	r, _ := reader(t, map[string]string{OwnFile: "ssl-certificate = \"c\"\nlocale = \"C\"\n"})
	l := fill(t, r, "--ssl-certificate-file", "d.crt", "--ssl-certificate-key-file", "d.key", "--lang", "C.UTF-8")
	if l.Given(config.SSLCertificate) || l.Given(config.Locale) {
		t.Error("the file competes with the command line")
	}
	r, _ = reader(t, map[string]string{OwnFile: "ssl-certificate-file = \"c\"\nssl-certificate-key-file = \"k\"\n"}, "MODWSGI_EXPRESS_SSL_CERTIFICATE=d")
	if l := fill(t, r); l.Given(config.SSLCertificateFile) || l.Given(config.SSLCertificateKeyFile) || config.SSLCertificate.In(l) != "d" {
		t.Error("the file competes with a variable")
	}
	r, _ = reader(t, map[string]string{OwnFile: "ssl-certificate-file = \"c\"\nssl-certificate-key-file = \"k\"\n"})
	if l := fill(t, r); !l.Given(config.SSLCertificateFile) || !l.Given(config.SSLCertificateKeyFile) {
		t.Error("the file's two options are not there")
	}
}

// TestLinks: what a container platform sets for a service called modwsgi-express is not
// about options.
func TestLinks(t *testing.T) {
	r, warnings := reader(t, nil, "MODWSGI_EXPRESS_PORT=tcp://10.0.0.1:80", "MODWSGI_EXPRESS_SERVICE_HOST=10.0.0.1", "MODWSGI_EXPRESS_SERVICE_PORT=80",
		"MODWSGI_EXPRESS_SERVICE_PORT_HTTP=80", "MODWSGI_EXPRESS_PORT_80_TCP=tcp://10.0.0.1:80", "MODWSGI_EXPRESS_PORT_80_TCP_ADDR=10.0.0.1", "MODWSGI_EXPRESS_PORT_80_TCP_PORT=80",
		"MODWSGI_EXPRESS_threads=3")
	l := fill(t, r)
	if l.Given(config.Port) || l.Given(config.Threads) || len(*warnings) != 1 || !strings.Contains((*warnings)[0], "MODWSGI_EXPRESS_threads is ignored") || !strings.Contains((*warnings)[0], "MODWSGI_EXPRESS_THREADS") {
		t.Errorf("%q", *warnings)
	}
}

// TestUnit: a unit must not differ from the server that the same command starts.
func TestUnit(t *testing.T) {
	unit := func(files map[string]string, env ...string) *Reader {
		r, _ := reader(t, files, env...)
		r.Unit, r.Unread = true, true
		return r
	}
	if _, err := unit(map[string]string{OwnFile: "log-to-terminal = true\n"}, "MODWSGI_EXPRESS_LOG_TO_TERMINAL=0").Fill(line(t)); err == nil || !strings.Contains(err.Error(), "change the file") {
		t.Error(err)
	}
	if _, err := unit(nil, "MODWSGI_EXPRESS_LOG_TO_TERMINAL=0").Fill(line(t)); err != nil {
		t.Error(err)
	}
	if found, err := unit(map[string]string{OwnFile: "port = 1\n"}).Fill(line(t, "--config=none")); err != nil || !found.None || found.Path != "" {
		t.Errorf("%+v, %v", found, err)
	}
	file, err := os.Open(write(t, "port = 8001\n"))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = file.Close() }()
	name := fmt.Sprintf("/dev/fd/%d", file.Fd())
	if _, err := unit(nil).Fill(line(t, "--config", name)); err == nil || !strings.Contains(err.Error(), "the service cannot read "+name) {
		t.Error(err)
	}
}

func write(t *testing.T, text string) string {
	t.Helper()
	name := filepath.Join(t.TempDir(), "x.toml")
	if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return name
}

// TestControlCommands take no more from the file than what names the server.
func TestControlCommands(t *testing.T) {
	r, _ := reader(t, map[string]string{OwnFile: "port = 8001\njson = true\nserver-root = \"run\"\n"})
	r.Command = &option.Table{Groups: []*option.Group{option.NewGroup("x", config.Port, config.ServerRoot, config.JSON)}}
	if l := fill(t, r); l.Given(config.JSON) || config.Port.In(l) != 8001 || !l.Given(config.ServerRoot) {
		t.Error("not what names the server")
	}
}

// TestPatternsInOddDirectories: only the word in the file is a pattern.
func TestPatternsInOddDirectories(t *testing.T) {
	r, _ := reader(t, nil)
	r.Dir = filepath.Join(r.Dir, "g[1]")
	if err := os.MkdirAll(filepath.Join(r.Dir, "conf.d"), 0o700); err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{OwnFile: "include-file = [\"conf.d/*.conf\", \"conf.d/a.conf\"]\n", "conf.d/a.conf": ""} {
		if err := os.WriteFile(filepath.Join(r.Dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	files := config.IncludeFile.In(fill(t, r))
	if len(files) != 2 {
		t.Fatal(files)
	}
	found, err := filepath.Glob(files[0])
	if err != nil || len(found) != 1 || found[0] != files[1] {
		t.Errorf("%q finds %q, %v", files[0], found, err)
	}
}
