//go:build acceptance && linux

package acceptance

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"
)

// fleetCommand finds the command of a part in an example, decoded from YAML.
func fleetCommand(t *testing.T, name string, into any, command func() string) string {
	t.Helper()
	data, err := os.ReadFile(filepath.Join("../examples/fleet", name))
	if err != nil {
		t.Fatal(err)
	}
	if err := yaml.Unmarshal(data, into); err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	return command()
}

// TestFleetExamples runs the commands of the example workflows as their systems would:
// each part is made once, and what they merge is what one machine makes.
func TestFleetExamples(t *testing.T) {
	t.Parallel()
	var github struct {
		Jobs map[string]struct {
			Strategy struct{ Matrix struct{ Number []int } }
			Steps    []struct{ Run string }
		}
	}
	var gitlab map[string]any
	var job struct {
		Spec struct {
			CompletionMode string `yaml:"completionMode"`
			Completions    int
			Template       struct {
				Spec struct {
					Containers []struct {
						Env     []struct{ Name, Value string }
						Command []string
						Args    []string
					}
				}
			}
		}
	}
	steps := func(name string) string {
		var all []string
		for _, s := range github.Jobs[name].Steps {
			if s.Run != "" {
				all = append(all, s.Run)
			}
		}
		return strings.Join(all, "\n")
	}
	script := func(name string) string {
		var all []string
		for _, line := range gitlab[name].(map[string]any)["script"].([]any) {
			all = append(all, line.(string))
		}
		return strings.Join(all, "\n")
	}
	commands := map[string]string{
		"github": fleetCommand(t, "github.yml", &github, func() string { return steps("part") }),
		"gitlab": fleetCommand(t, "gitlab-ci.yml", &gitlab, func() string { return script("part") }),
		"k8s": fleetCommand(t, "job.yaml", &job, func() string {
			c := job.Spec.Template.Spec.Containers[0]
			if job.Spec.CompletionMode != "Indexed" || strings.Join(c.Command, " ") != "/bin/sh -euc" || c.Env[0].Name != "SHARDS" || c.Env[0].Value != fmt.Sprint(job.Spec.Completions) {
				t.Errorf("the job is inconsistent: %+v", job)
			}
			return c.Args[0]
		}),
	}
	if n := len(github.Jobs["part"].Strategy.Matrix.Number); n != 8 {
		t.Errorf("%d parts on GitHub", n)
	}
	dir := workdir(t, "fleet")
	path := "PATH=" + filepath.Dir(program(t, "modwsgi")) + ":/usr/bin:/bin"
	python := quote(setting(t, "MODWSGI_TEST_PYTHON"))
	text := "schema = 1\npythons = [" + python + "]\nformats = [\"wheel\", \"oci\"]\n[[httpd]]\nname = \"a\"\n[[httpd]]\nname = \"b\"\nwithout = [\"http2\"]\n[options.oci]\nbase = \"scratch\"\n"
	expression := regexp.MustCompile(`\$\{\{ *([a-z.-]+) *\}\}`)
	cache := "MODWSGI_CACHE_DIR=" + setting(t, "MODWSGI_TEST_CACHE")
	writeFile(t, filepath.Join(dir, "whole", "release.toml"), text, 0o644)
	must(t, filepath.Join(dir, "whole"), bareEnv(path, cache), program(t, "modwsgi"), "package", "--matrix", "release.toml", "--out", "first") // makes the lock file
	must(t, filepath.Join(dir, "whole"), bareEnv(path, cache), program(t, "modwsgi"), "package", "--matrix", "release.toml", "--locked")
	whole := filepath.Join(dir, "whole/dist")
	key := filepath.Join(dir, "key.pem")
	must(t, dir, bareEnv(), "openssl", "ecparam", "-name", "prime256v1", "-genkey", "-noout", "-out", key)
	must(t, dir, bareEnv(), "chmod", "600", key)
	equal := func(what, dist string) {
		t.Helper()
		if diff := command(t, "/", bareEnv(), "diff", "-r", "-x", "SHA256SUMS*", "-x", "*.intoto.jsonl", "-x", "index.json", whole, dist); diff.code != 0 {
			t.Errorf("%s: %v", what, diff)
		}
	}
	for name, part := range commands {
		work := filepath.Join(dir, name)
		writeFile(t, filepath.Join(work, "release.toml"), text, 0o644)
		must(t, work, bareEnv(), "cp", filepath.Join(dir, "whole/modwsgi.lock"), ".")
		part = strings.Replace(part, "--cache-dir /var/tmp/cache ", "", 1)
		for i := 1; i <= 2; i++ {
			values := map[string]string{"matrix.number": fmt.Sprint(i), "strategy.job-total": "2"}
			line := expression.ReplaceAllStringFunc(part, func(e string) string { return values[expression.FindStringSubmatch(e)[1]] })
			env := bareEnv(path, cache, fmt.Sprint("CI_NODE_INDEX=", i), "CI_NODE_TOTAL=2", fmt.Sprint("JOB_COMPLETION_INDEX=", i-1), "SHARDS=2")
			must(t, work, env, "sh", "-euc", line)
			if name == "github" { // upload-artifact and download-artifact
				must(t, work, bareEnv(), "sh", "-euc", fmt.Sprint("mkdir -p parts && mv part parts/part-", i))
			}
		}
		merge := "modwsgi package merge parts/* --out dist"
		env := bareEnv(path, "RUNNER_TEMP="+work, "MODWSGI_RELEASE_KEY="+key)
		switch name {
		case "github":
			data, _ := os.ReadFile(key)
			merge, env = steps("release"), append(env, "SIGN_KEY="+strings.TrimSpace(string(data)))
		case "gitlab":
			merge = script("release")
		}
		must(t, work, env, "sh", "-euc", merge)
		equal(name, filepath.Join(work, "dist"))
		if _, err := os.Stat(filepath.Join(work, "dist/SHA256SUMS.sig")); (err == nil) != (name != "k8s") {
			t.Errorf("%s: signature: %v", name, err)
		}
	}
	// Machines over ssh: stand-ins for ssh and scp run the command here, in a home for each.
	work := filepath.Join(dir, "loop")
	writeFile(t, filepath.Join(work, "release.toml"), text, 0o644)
	must(t, work, bareEnv(), "cp", filepath.Join(dir, "whole/modwsgi.lock"), ".")
	writeFile(t, filepath.Join(work, "bin/ssh"), "#!/bin/sh\nshift\nexec sh -c \"$*\"\n", 0o755)
	writeFile(t, filepath.Join(work, "bin/scp"), "#!/bin/sh\nfor a; do shift; case $a in -q) continue;; *:/*) a=${a#*:};; esac; set -- \"$@\" \"$a\"; done\nexec cp \"$@\"\n", 0o755)
	loop, err := filepath.Abs("../examples/fleet/ssh-loop")
	if err != nil {
		t.Fatal(err)
	}
	env := bareEnv(path, cache, "SSH="+filepath.Join(work, "bin/ssh"), "SCP="+filepath.Join(work, "bin/scp"))
	must(t, work, env, loop, "one", "two", "three")
	equal("ssh", filepath.Join(work, "dist"))
	if r := command(t, work, append(env, "SSH=false"), loop, "one"); r.code != 1 || !strings.Contains(r.stderr, "a part is missing") {
		t.Errorf("a machine that is out of reach: %v", r)
	}
}
