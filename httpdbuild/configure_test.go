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
	if log, err := os.ReadFile(tool.LogPath); err != nil || !strings.Contains(string(log), "&& CONFIG_SHELL="+shell+" "+shell+" ./config.status Makefile ") {
		t.Errorf("log %s, %v: %s", tool.LogPath, err, log)
	}
}
