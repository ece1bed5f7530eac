//go:build acceptance && linux

package acceptance

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

var (
	taggedWith = regexp.MustCompile(`[-.](many|musl)linux_([0-9]+)_([0-9]+)_(\w+)`)
	consistent = regexp.MustCompile(`is consistent\s+with\s+the\s+following\s+platform\s+tag:\s+"(\w+)"`)
)

// checkAuditwheel has auditwheel examine all wheels in a directory. By their symbols and
// libraries, it must find the tag that their names begin with.
func checkAuditwheel(t *testing.T, dist string) {
	t.Helper()
	site := filepath.Join(setting(t, "MODWSGI_TEST_PYTHONS"), "auditwheel/usr/lib/python3/dist-packages")
	if _, err := os.Stat(site); err != nil {
		t.Logf("NOT TESTED: auditwheel: %v (scripts/auditwheel-fixture)", err)
		return
	}
	wheels, _ := filepath.Glob(filepath.Join(dist, "*.whl"))
	for _, wheel := range wheels {
		name := filepath.Base(wheel)
		if strings.Contains(name, "-win_") {
			continue
		}
		tag := taggedWith.FindStringSubmatch(name)
		if tag == nil {
			t.Errorf("the name %s", name)
			continue
		}
		// The first of several tags is what its symbols require.
		want := tag[1] + "linux_" + tag[2] + "_" + tag[3] + "_" + tag[4]
		ran := must(t, dist, bareEnv("PYTHONPATH="+site), "python3", "-m", "auditwheel", "show", wheel)
		if found := consistent.FindStringSubmatch(ran.stdout); found == nil || found[1] != want {
			t.Errorf("%s: auditwheel says %q, want %s\n%s", name, found, want, ran.stdout)
		}
	}
}
