//go:build acceptance && linux

package express_test

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"modwsgi/internal/freeport"
	"modwsgi/internal/otheruser"
)

// fromFile starts a server in dir without an argument or an option: a configuration file
// with the given text, and the few settings that every test needs, says everything.
func fromFile(t *testing.T, dir, text string, env ...string) *server {
	t.Helper()
	s := &server{t: t, port: freeport.Get(t), out: &bytes.Buffer{}, done: make(chan struct{}), root: filepath.Join(shortDir(t), "root")}
	account := ""
	if user := asUser(); user != nil {
		account = fmt.Sprintf("user = %q\n", user[1])
	}
	write(t, filepath.Join(dir, "mod_wsgi-express.toml"), fmt.Sprintf("port = %d\nhost = \"127.0.0.1\"\nserver-root = %q\n%s%s", s.port, s.root, account, text))
	s.cmd = command(t, "start-server")
	s.cmd.Dir, s.cmd.Stdout, s.cmd.Stderr = dir, s.out, s.out
	s.cmd.Env = append(s.cmd.Env, env...)
	s.launch()
	return s
}

// verb runs a command in the directory of the server's configuration file.
func (s *server) verb(args ...string) (int, string) {
	s.t.Helper()
	cmd := command(s.t, args...)
	cmd.Dir = s.cmd.Dir
	out, _ := cmd.CombinedOutput()
	return cmd.ProcessState.ExitCode(), string(out)
}

func TestConfigurationFile(t *testing.T) {
	testEnv(t)
	dir := workDir(t, "a project")
	write(t, filepath.Join(dir, "app.py"), echoApp)
	write(t, filepath.Join(dir, "file.txt"), "a static file\n")
	write(t, filepath.Join(dir, "key"), "from a file\n")
	if err := os.Chmod(filepath.Join(dir, "key"), 0o600); err != nil {
		t.Fatal(err)
	}
	credentials := filepath.Join(shortDir(t), "credentials")
	if err := os.Mkdir(credentials, 0o700); err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(credentials, "token"), "from systemd")
	if err := os.Chmod(filepath.Join(credentials, "token"), 0o400); err != nil {
		t.Fatal(err)
	}
	s := fromFile(t, dir, `application = "app.py"
processes = 1
threads = 7
mount-point = "/file"
[setenv]
PLAIN = "in the file"
KEY = { file = "key" }
TOKEN = { credential = "token" }
[url-alias]
"/static.txt" = "file.txt"
`, "CREDENTIALS_DIRECTORY="+credentials, "MODWSGI_EXPRESS_MOUNT_POINT=/variable").up()
	if banner := "Configuration File : " + filepath.Join(dir, "mod_wsgi-express.toml") + "\n"; !strings.Contains(s.out.String(), banner) {
		t.Errorf("%q is missing in\n%s", banner, s.out)
	}
	seen := s.environ("/variable/")
	for name, want := range map[string]string{"PLAIN": "in the file", "KEY": "from a file", "TOKEN": "from systemd", "SCRIPT_NAME": "/variable"} {
		if seen[name] != want {
			t.Errorf("%s is %v, not %q", name, seen[name], want)
		}
	}
	if code, body := s.get("/static.txt"); code != 200 || body != "a static file\n" {
		t.Errorf("%d %q", code, body)
	}
	// Commands find the server by the same file.
	eventually(t, "the PID file", func() bool {
		code, out := s.verb("status")
		return code == 0 && strings.Contains(out, "is running (process ")
	})
	if code, out := s.verb("reload"); code != 0 {
		t.Errorf("%d %s", code, out)
	}
	if code, out := s.verb("stop"); code != 0 || !strings.Contains(out, "has stopped") {
		t.Errorf("%d %s", code, out)
	}
	<-s.done
}

// TestConfigurationFileMistakes: nothing starts, and a server whose root is named can be
// stopped whatever the file contains.
func TestConfigurationFileMistakes(t *testing.T) {
	testEnv(t)
	dir := workDir(t, "")
	write(t, filepath.Join(dir, "app.py"), echoApp)
	s := fromFile(t, dir, "application = \"app.py\"\n").up()
	write(t, filepath.Join(dir, "mod_wsgi-express.toml"), "prot = 80\nprocesses = \"2\"\n")
	code, out := s.verb("start-server", "app.py", "--host", "127.0.0.1")
	want := "mod_wsgi-express: error: mod_wsgi-express.toml:1: unknown key prot: did you mean port?\n    mod_wsgi-express.toml:2: processes: must be a whole number, not a string: write 2 without quotes\n"
	if code != 2 || !strings.HasPrefix(out, want) || strings.Contains(out, "Usage:") {
		t.Errorf("%d\n%s", code, out)
	}
	if code, out := s.verb("status"); code != 2 || !strings.Contains(out, "unknown key prot") {
		t.Errorf("%d\n%s", code, out)
	}
	s.manage(0, "is running", "status")
	s.manage(0, "has stopped", "stop")
	<-s.done
}

// TestConfigurationOfAnotherUser: root does not obey a file that another account can
// change, nor does an account one in a directory that everybody may write to.
func TestConfigurationOfAnotherUser(t *testing.T) {
	testEnv(t)
	otheruser.Need(t)
	top := otheruser.Dir(t)
	theirs := filepath.Join(top, "theirs")
	if err := os.Mkdir(theirs, 0o755); err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(theirs, "app.py"), echoApp)
	file := write(t, filepath.Join(theirs, "mod_wsgi-express.toml"), "include-file = \"evil.conf\"\n")
	otheruser.Give(t, theirs, file)
	show := func(dir string, args ...string) (int, string) {
		cmd := command(t, append(append([]string{"show-config", "app.py"}, asUser()...), args...)...)
		cmd.Dir = dir
		out, _ := cmd.CombinedOutput()
		return cmd.ProcessState.ExitCode(), string(out)
	}
	for _, args := range [][]string{nil, {"--config", file}} {
		if code, out := show(theirs, args...); code == 0 || !strings.Contains(out, file+" is not trusted") || strings.Contains(out, "evil.conf") {
			t.Errorf("%q: %d\n%s", args, code, out)
		}
	}
	if code, out := show(theirs, "--config", "none"); code != 0 {
		t.Errorf("%d\n%s", code, out)
	}
	// The project file of another tool is read by nobody.
	if err := os.Rename(file, filepath.Join(theirs, "pyproject.toml")); err != nil {
		t.Fatal(err)
	}
	if code, out := show(theirs); code != 0 {
		t.Errorf("%d\n%s", code, out)
	}
	open := filepath.Join(top, "open")
	if err := os.Mkdir(open, 0o777); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(open, 0o777); err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(open, "app.py"), echoApp)
	write(t, filepath.Join(open, "pyproject.toml"), "[tool.mod_wsgi-express]\nport = 1\n")
	if code, out := show(open); code == 0 || !strings.Contains(out, "pyproject.toml is not trusted") {
		t.Errorf("%d\n%s", code, out)
	}
	cmd := otheruser.Command(t, launcher(t), "show-config", "app.py")
	cmd.Dir, cmd.Env = open, []string{"PATH=/usr/bin:/bin", "HOME=/nonexistent", "TMPDIR=" + top}
	if out, _ := cmd.CombinedOutput(); cmd.ProcessState.ExitCode() == 0 || !strings.Contains(string(out), "pyproject.toml") {
		t.Errorf("%v\n%s", cmd.ProcessState, out)
	}
	// Its own directory is fine.
	cmd = otheruser.Command(t, launcher(t), "show-config", "app.py")
	cmd.Dir, cmd.Env = theirs, []string{"PATH=/usr/bin:/bin", "HOME=/nonexistent", "TMPDIR=" + top}
	mine := write(t, filepath.Join(theirs, "mod_wsgi-express.toml"), "port = 8123\n")
	otheruser.Give(t, mine)
	if out, _ := cmd.CombinedOutput(); cmd.ProcessState.ExitCode() != 0 || !strings.Contains(string(out), "# --port (mod_wsgi-express.toml:1)") {
		t.Errorf("%v\n%s", cmd.ProcessState, out)
	}
}

// TestConfigSchemaAgrees: a validator of JSON schemas accepts what the launcher accepts,
// and refuses what it refuses.
//
// Once: it starts no server.
func TestConfigSchemaAgrees(t *testing.T) {
	testEnv(t)
	dir := workDir(t, "")
	schema, err := command(t, "config-schema").Output()
	if err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(dir, "schema.json"), string(schema))
	write(t, filepath.Join(dir, "app.py"), echoApp)
	const check = `
import json, sys, tomllib
try:
    import jsonschema
except ImportError:
    sys.exit(77)
schema = json.load(open("schema.json"))
jsonschema.Draft7Validator.check_schema(schema)
try:
    jsonschema.Draft7Validator(schema).validate(tomllib.load(open("mod_wsgi-express.toml", "rb")))
except jsonschema.ValidationError as e:
    print(e.message)
    sys.exit(1)
`
	for text, right := range map[string]bool{
		"": true,
		"port = 8000\nserver-alias = \"a\"\nlog-to-terminal = true\n":             true,
		"server-alias = [\"a\", \"b\"]\nauth-type = \"Digest\"\n":                 true,
		"[setenv]\nA = \"1\"\nB = { credential = \"x\" }\nC = { file = \"y\" }\n": true,
		"url-alias = [[\"/a\", \"a\"], [\"/b\", \"b\"]]\n":                        true,
		"add-handler = { \".x\" = \"app.py\" }\nminimum-spare-workers = 0.25\n":   true,
		"prot = 8000\n":                               false,
		"port = \"8000\"\n":                           false,
		"port = 1.5\n":                                false,
		"port = -1\n":                                 false,
		"log-to-terminal = \"yes\"\n":                 false,
		"auth-type = \"None\"\n":                      false,
		"server-alias = [1]\n":                        false,
		"host = \"\"\n":                               false,
		"host = [\"a\"]\n":                            false,
		"setenv = [\"A=1\"]\n":                        false,
		"url-alias = [[\"/a\"]]\n":                    false,
		"[setenv]\nA = { files = \"x\" }\n":           false,
		"[setenv]\nA = { file = \"x\", a = \"y\" }\n": false,
		"config = \"x\"\n":                            false,
	} {
		write(t, filepath.Join(dir, "mod_wsgi-express.toml"), text)
		python := exec.CommandContext(t.Context(), "/usr/bin/python3", "-c", check)
		python.Dir = dir
		out, _ := python.CombinedOutput()
		code := python.ProcessState.ExitCode()
		if code == 77 {
			t.Skip("NOT TESTED: python3-jsonschema is not installed (scripts/test-prerequisites)")
		}
		if (code == 0) != right {
			t.Errorf("%q: the schema: %d %s", text, code, out)
		}
		show := command(t, append([]string{"show-config", "app.py"}, asUser()...)...)
		show.Dir = dir
		if out, _ := show.CombinedOutput(); (show.ProcessState.ExitCode() == 0) != right {
			t.Errorf("%q: the launcher: %v %s", text, show.ProcessState, out)
		}
	}
}
