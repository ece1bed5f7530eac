//go:build acceptance && linux

package acceptance

import (
	"encoding/json"
	"strings"
	"testing"

	"modwsgi/internal/testkit"
)

// TestHostWithoutLibcrypt runs doctor and plans on a Debian whose compiler no longer
// brings libcrypt-dev, and which has no make: the library is built from source, unless
// only those of the host are allowed.
func TestHostWithoutLibcrypt(t *testing.T) {
	testkit.Turn(t, "libraries")
	root := debianRoot(t, "sid", "bare")
	if has := root.run(t, "ls /usr/include/crypt.h /usr/bin/make"); has.stdout != "" {
		t.Fatalf("the root file system has %s", has.stdout)
	}
	succeed := func(ran result) {
		if ran.code != 0 {
			t.Fatal(ran)
		}
	}
	succeed(root.run(t, "python3 -m venv --without-pip /opt/modwsgi-test/v"))
	out := root.run(t, "$bin/modwsgi doctor --python /opt/modwsgi-test/v 2>&1")
	if !strings.Contains(out.stdout, "the library crypt would be built from source") || !strings.Contains(out.stdout, "apt-get install libcrypt-dev") {
		t.Errorf("doctor: %v", out)
	}
	if out = root.run(t, "$bin/modwsgi install --dry-run --python /opt/modwsgi-test/v 2>&1"); out.code != 0 || !strings.Contains(out.stdout, "libxcrypt: build ") {
		t.Errorf("plan: %v", out)
	}
	for _, more := range []string{"--dry-run", "--offline"} {
		out = root.run(t, "timeout 120 $bin/modwsgi install --json --libraries host "+more+" --python /opt/modwsgi-test/v 2>&1") // a build would take longer
		var last struct{ Message, Hint string }
		for line := range strings.Lines(out.stdout) {
			_ = json.Unmarshal([]byte(line), &last)
		}
		if out.code == 0 || !strings.Contains(out.stdout, "httpd cannot be built on this machine") || !strings.Contains(last.Hint, "apt-get install libcrypt-dev") {
			t.Errorf("install %s: %v", more, out)
		}
	}
	out = root.run(t, "$bin/modwsgi install --dry-run --build-driver make --python /opt/modwsgi-test/v 2>&1")
	if out.code == 0 || !strings.Contains(out.stdout, "apt-get install make") {
		t.Errorf("with make: %v", out)
	}
}
