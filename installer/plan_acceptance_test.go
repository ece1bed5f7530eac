//go:build acceptance

package installer

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"modwsgi/internal/receipt"
	"modwsgi/internal/run"
	"modwsgi/internal/testkit"
)

// TestReadPlanIsCarriedOut installs into two environments, from an original
// plan and from one that was written out in between. Both get the same.
func TestReadPlanIsCarriedOut(t *testing.T) {
	bin, cache := os.Getenv("MODWSGI_TEST_BIN"), os.Getenv("MODWSGI_TEST_CACHE")
	if bin == "" || cache == "" {
		t.Skip("needs MODWSGI_TEST_BIN and MODWSGI_TEST_CACHE (scripts/run-tests)")
	}
	install := func(readBack bool) (*Report, receipt.Receipt, []string) {
		top, err := os.MkdirTemp("/var/tmp", "modwsgi-acceptance-")
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = os.RemoveAll(top) })
		if err := os.Chmod(top, 0o755); err != nil {
			t.Fatal(err)
		}
		env := filepath.Join(top, "env")
		if out, err := exec.CommandContext(t.Context(), "/usr/bin/python3", "-m", "venv", "--without-pip", env).CombinedOutput(); err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
		q := Request{
			Wish: Wish{Python: env, HTTPD: "bundled"},
			Means: Means{
				Setting:  Setting{Runner: &run.Runner{}, Dir: top, Env: os.Environ()},
				CacheDir: cache, Offline: true, ToolsDir: bin,
			},
		}
		plan := Planner(q.Plan)
		if readBack {
			p, err := q.Plan(t.Context(), q.Means)
			if err != nil {
				t.Fatal(err)
			}
			data, err := json.Marshal(p)
			if err != nil {
				t.Fatal(err)
			}
			read := new(Plan)
			if err := json.Unmarshal(data, read); err != nil {
				t.Fatal(err)
			}
			plan = read.First()
		}
		report, err := Install(t.Context(), q.Means, plan)
		if err != nil {
			t.Fatal(err)
		}
		r, err := receipt.Read(report.Site)
		if err != nil {
			t.Fatal(err)
		}
		var names []string
		for _, path := range testkit.Paths(t, report.Site) {
			rel, _ := filepath.Rel(report.Site, path)
			names = append(names, rel)
		}
		r.Python.Prefix = strings.TrimPrefix(r.Python.Prefix, top)
		r.HTTPD.Executable, r.HTTPD.ModulesDir, r.HTTPD.Rotatelogs = "", "", ""
		return report, *r, names
	}
	made, madeReceipt, madeFiles := install(false)
	read, readReceipt, readFiles := install(true)
	if !reflect.DeepEqual(madeReceipt, readReceipt) {
		t.Errorf("receipts:\n%+v\n%+v", madeReceipt, readReceipt)
	}
	if !slices.Equal(madeFiles, readFiles) {
		t.Errorf("files:\n%v\n%v", madeFiles, readFiles)
	}
	if !reflect.DeepEqual(made.Sources, read.Sources) || !reflect.DeepEqual(made.Instead, read.Instead) || read.Proof == nil || read.Proof.ModuleVersion != made.Proof.ModuleVersion {
		t.Errorf("reports:\n%+v\n%+v", made, read)
	}
}
