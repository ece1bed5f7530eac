//go:build acceptance

package acceptance

import (
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"
)

// action is the content of a composite action
// (https://docs.github.com/en/actions/reference/metadata-syntax-for-github-actions).
type action struct {
	Name, Description string
	Inputs            map[string]struct {
		Description string
		Required    bool
		Default     string
	}
	Outputs map[string]struct{ Value string }
	Runs    struct {
		Using string
		Steps []struct {
			ID, If, Shell, Run, Uses string
			Env, With                map[string]string
		}
	}
}

var expression = regexp.MustCompile(`\$\{\{\s*([a-z.A-Z0-9_-]+)\s*\}\}`)

// TestAction runs the steps of action.yml as GitHub's runner would: each shell step in
// a clean environment, with files for its outputs.
func TestAction(t *testing.T) {
	dist, _ := released(t)
	text, err := os.ReadFile("../action.yml")
	if err != nil {
		t.Fatal(err)
	}
	var a action
	if err := yaml.Unmarshal(text, &a); err != nil {
		t.Fatal(err)
	}
	if a.Runs.Using != "composite" || a.Name == "" || a.Description == "" || len(a.Runs.Steps) < 2 {
		t.Fatalf("%+v", a)
	}
	for name, in := range a.Inputs {
		if in.Description == "" {
			t.Errorf("the input %s is not described", name)
		}
	}
	server := httptest.NewServer(http.FileServer(http.Dir(dist)))
	defer server.Close()
	script, err := os.ReadFile(filepath.Join(dist, "bootstrap.sh"))
	if err != nil {
		t.Fatal(err)
	}
	work := workdir(t, "workspace")
	env := venv(t, setting(t, "MODWSGI_TEST_PYTHON"), filepath.Join(work, "env"))
	run := func(sum string) (outputs map[string]string, last result) {
		temp := workdir(t, "runner temp")
		values := map[string]string{
			"runner.temp": temp, "inputs.download-url": server.URL, "inputs.sha256": sum, "inputs.python": env, "inputs.args": "--httpd\nbundled\n--cache-dir\n" + setting(t, "MODWSGI_TEST_CACHE"),
		}
		outputs = map[string]string{}
		for _, step := range a.Runs.Steps {
			if step.Uses != "" {
				continue // another action, which needs GitHub
			}
			if strings.Contains(step.Run, "${{") {
				t.Errorf("what a caller gives is put into a script:\n%s", step.Run)
			}
			if step.Shell != "bash" {
				t.Errorf("a step runs in %q", step.Shell)
			}
			output, path := filepath.Join(temp, "output"), filepath.Join(temp, "path")
			stepEnv := bareEnv("GITHUB_OUTPUT="+output, "GITHUB_PATH="+path, "GITHUB_ACTIONS=true", "CI=true")
			for name, value := range step.Env {
				stepEnv = append(stepEnv, name+"="+expression.ReplaceAllStringFunc(value, func(e string) string {
					v, known := values[expression.FindStringSubmatch(e)[1]]
					if !known {
						t.Errorf("%s is not known", e)
					}
					return v
				}))
			}
			last = command(t, work, stepEnv, "bash", "--noprofile", "--norc", "-eo", "pipefail", "-c", step.Run)
			if last.code != 0 {
				return outputs, last
			}
			data, _ := os.ReadFile(output)
			for line := range strings.Lines(string(data)) {
				name, value, _ := strings.Cut(strings.TrimSpace(line), "=")
				outputs[name] = value
				values["steps."+step.ID+".outputs."+name] = value
			}
		}
		return outputs, last
	}
	outputs, last := run(fmt.Sprintf("%x", sha256.Sum256(script)))
	if last.code != 0 || !strings.Contains(last.stdout, "Verified: ") {
		t.Fatalf("%v", last)
	}
	must(t, "/", nil, outputs["modwsgi"], "--version")
	if a := serve(t, env); a.Prefix != env {
		t.Errorf("%+v", a)
	}
	if _, last := run(strings.Repeat("0", 64)); last.code == 0 || !strings.Contains(last.stdout, "::error title=modwsgi::") {
		t.Errorf("another script than the one that was pinned: %v", last)
	}
}

// dockerfile reads the instructions of a Dockerfile, stage by stage. It supports the
// part of the format that ours uses.
func dockerfile(t *testing.T, path string) (stages [][][2]string) {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.SplitSeq(strings.ReplaceAll(string(text), "\\\n", ""), "\n") {
		word, rest, _ := strings.Cut(strings.TrimSpace(line), " ")
		switch {
		case word == "" || strings.HasPrefix(word, "#") || word == "ARG":
		case word == "FROM":
			stages = append(stages, nil)
		default:
			last := &stages[len(stages)-1]
			*last = append(*last, [2]string{word, rest})
		}
	}
	return stages
}

// TestDockerfile runs the RUN lines of the example on a copy of this machine, and then
// its command as the user that it names. Unlike in Docker, the stages share one
// system.
func TestDockerfile(t *testing.T) {
	dist, _ := released(t)
	stages := dockerfile(t, "../examples/docker/Dockerfile")
	if len(stages) != 2 {
		t.Fatalf("%d stages", len(stages))
	}
	hello, err := filepath.Abs("../examples/docker/hello.wsgi")
	if err != nil {
		t.Fatal(err)
	}
	script := "export PATH=/usr/sbin:/usr/bin:/sbin:/bin DEBIAN_FRONTEND=noninteractive MODWSGI_CACHE_DIR=" + setting(t, "MODWSGI_TEST_CACHE") + "\nexec 3>&1 >/var/tmp/docker.log 2>&1\ntrap 'tail -n 30 /var/tmp/docker.log >&3' EXIT\n"
	var user string
	var argv []string
	for _, stage := range stages {
		for _, i := range stage {
			switch word, rest := i[0], i[1]; word {
			case "RUN":
				if regexp.MustCompile(`apache|httpd-`).MatchString(rest) {
					t.Errorf("an Apache package: %s", rest)
				}
				script += "( " + rest + " )\n"
			case "COPY":
				from, to, _ := strings.Cut(rest, " ")
				switch from {
				case "dist/":
					script += "mkdir -p /tmp/dist && cp " + dist + "/bootstrap.sh " + dist + "/*.tar.gz /tmp/dist/\n"
				case "hello.wsgi":
					script += "cp " + hello + " " + to + "\n"
				}
			case "USER":
				user = rest
			case "CMD":
				if err := json.Unmarshal([]byte(rest), &argv); err != nil {
					t.Fatal(err)
				}
			}
		}
	}
	if user == "" || user == "root" || len(argv) == 0 {
		t.Fatalf("user %q, command %q", user, argv)
	}
	for i, a := range argv {
		argv[i] = "'" + a + "'"
	}
	script += `rm -rf /opt/modwsgi /tmp/dist
setpriv --reuid=` + user + ` --regid=` + user + ` --clear-groups env -i PATH=/usr/bin:/bin HOME=/srv/app ` + strings.Join(argv, " ") + ` &
server=$!
/srv/app/.venv/bin/python - >&3 <<'EOF'
import time, urllib.request
for attempt in range(200):
    try:
        print("ANSWER", urllib.request.urlopen("http://127.0.0.1:8080/", timeout=20).read().decode())
        break
    except OSError:
        time.sleep(0.1)
EOF
kill -TERM $server
wait $server && echo ENDED $? >&3 || echo ENDED $? >&3
trap - EXIT
`
	r := onMachine(t, "mkdir -p /srv/app && chmod 755 /srv/app\n"+script)
	if !strings.Contains(r.stdout, "ANSWER Hello from Apache") || !strings.Contains(r.stdout, "ENDED") {
		t.Errorf("%v", r)
	}
}
