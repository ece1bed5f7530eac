//go:build unix

package httpdbuild

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"modwsgi/internal/run"
	"modwsgi/internal/steps"
)

// recorder is a configure script whose config.status records its arguments and fails.
const recorder = `echo "$CONFIG_SHELL $*" >configure.txt
cat >config.status <<'EOF'
#!/bin/sh
config_files=" Makefile include/apr.h apr-1-config:apr-config.in apr.pc test/Makefile docs/conf/httpd.conf support/apxs build/pkg/pkginfo"
config_headers=" include/private.h"
config_commands=" libtool default"
echo "$CONFIG_SHELL $*" >status.txt
exit 7
EOF
`

// Files that nothing reads are not created, and scripts find the shell where they look
// for it.
func TestCreateFiles(t *testing.T) {
	q := fake(t, map[string]string{"apr": recorder}, "")
	shell := filepath.Join(filepath.Dir(q.Work), "bin/dash")
	if err := writeFile(shell, []byte("#!/bin/sh\nexec /bin/sh \"$@\"\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	_, err := Build(t.Context(), q)
	var step *steps.Error
	if !errors.As(err, &step) || step.Step != "configure apr" || !strings.Contains(err.Error(), "run dash") {
		t.Fatalf("got %v", err)
	}
	dir := filepath.Join(q.Work, "apr")
	if data, err := os.ReadFile(filepath.Join(dir, "configure.txt")); err != nil || !strings.HasPrefix(string(data), shell+" --cache-file=") || !strings.HasSuffix(string(data), " --no-create\n") {
		t.Errorf("got %q, %v", data, err)
	}
	want := shell + " Makefile include/apr.h apr-1-config include/private.h libtool default\n"
	if data, err := os.ReadFile(filepath.Join(dir, "status.txt")); err != nil || string(data) != want {
		t.Errorf("got %q, %v", data, err)
	}
	var tool *run.Error
	if !errors.As(err, &tool) {
		t.Fatalf("got %v", err)
	}
	if log, err := os.ReadFile(tool.LogPath); err != nil || !strings.Contains(string(log), "&& CONFIG_SHELL="+shell+" CONFIG_SITE="+filepath.Join(q.Work, "tmp/apr.site")+" "+shell+" ./config.status Makefile ") {
		t.Errorf("log %s, %v: %s", tool.LogPath, err, log)
	}
}

// The functions of config.site do what the programs do: with the scripts of sed that they
// know, with others, for several lines, and without a newline at the end.
func TestSiteFunctions(t *testing.T) {
	if testing.Short() {
		t.Skip("-short starts no programs")
	}
	shell, err := run.LookPath("dash", os.Environ())
	if err != nil {
		t.Skip("dash not found: ", err)
	}
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "config.site"), configSite, 0o600); err != nil {
		t.Fatal(err)
	}
	lines := []string{
		"", "a", "sys/types.h", "a.b-c+d/e", "x:/y:z", "-+./", ".lo.lo", "a.lo b.lo c.lox", "foo  bar ", ":", "a:", ":b", "*x*", "[a]", `back\slash\n`, `q'u"o`,
		".x:/+y", "-n", "é.lo/ü", "one.lo\ntwo.lo\n", "one-1\n\n+3", "%s",
	}
	scripts := [][]string{
		{"y%./+-%__p_%"},
		{"s/[-+.]/_/g"},
		{`s/\.lo/.slo/g`},
		{"-e", "s/^.*://"},
		{"-e", "s/:.*$//"},
		{"-e", "s%/%_%g", "-e", `s/\.//g`, "-e", "s/-//g"},
		{"s/a/b/"},
		{"-n", "-e", "s/^.*://p"},
		{"-e", "s/:.*$//", "-e", "s/a/b/"},
	}
	sed := func(function string, script []string, input string) string {
		t.Helper()
		argv := append([]string{shell, "-c", `. ./config.site; ` + function + ` "$@"`, "sh"}, script...)
		out, err := (&run.Runner{}).Output(t.Context(), run.Cmd{Argv: argv, Dir: dir, Env: os.Environ(), Stdin: strings.NewReader(input)})
		if err != nil {
			t.Fatal(err)
		}
		return string(out)
	}
	for _, script := range scripts {
		for _, line := range lines {
			for _, input := range []string{line, line + "\n"} {
				if got, want := sed("sed", script, input), sed("command sed", script, input); got != want {
					t.Errorf("sed %q of %q gives %q, not %q", script, input, got, want)
				}
			}
		}
	}
	const files = `. ./config.site; echo >there; ln -s nowhere link; mkdir sub; echo >sub/file
rm -f missing there && rm -f link && rm -rf missing sub && rm -f && rm -f "" && ls; rm missing 2>/dev/null || echo refused`
	out, err := (&run.Runner{}).Output(t.Context(), run.Cmd{Argv: []string{shell, "-c", files}, Dir: dir, Env: os.Environ()})
	if err != nil || string(out) != "config.site\nrefused\n" {
		t.Errorf("got %q, %v", out, err)
	}
}
