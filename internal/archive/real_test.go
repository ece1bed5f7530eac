//go:build acceptance

package archive_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"modwsgi/internal/archive"
)

// TestRealSources unpacks the archives in the directory MODWSGI_TEST_ARCHIVES.
func TestRealSources(t *testing.T) {
	where := os.Getenv("MODWSGI_TEST_ARCHIVES")
	if where == "" {
		t.Skip("MODWSGI_TEST_ARCHIVES is not set")
	}
	names, err := filepath.Glob(filepath.Join(where, "*.tar.*"))
	if err != nil || len(names) == 0 {
		t.Fatalf("no archives in %s: %v", where, err)
	}
	for _, name := range names {
		if strings.HasSuffix(name, ".asc") {
			continue
		}
		stats, err := archive.Extract(t.Context(), name, filepath.Join(t.TempDir(), "tree"), archive.Options{Strip: 1})
		if err != nil || stats.Files < 50 {
			t.Errorf("%s: %+v, %v", name, stats, err)
		}
	}
}
