package testkit

import (
	"fmt"
	"io/fs"
	"maps"
	"path/filepath"
	"slices"
	"syscall"
	"testing"
)

// Snapshot describes everything below some directories by path: mode, owner, and for
// anything but a directory also size and modification time.
func Snapshot(t *testing.T, dirs ...string) map[string]string {
	t.Helper()
	out := map[string]string{}
	for _, dir := range dirs {
		err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
			if err != nil {
				return err
			}
			info, err := d.Info()
			if err != nil {
				return err
			}
			st := info.Sys().(*syscall.Stat_t)
			line := fmt.Sprint(info.Mode(), st.Uid)
			if !d.IsDir() {
				line += fmt.Sprint(" ", info.Size(), st.Mtim)
			}
			out[path] = line
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	return out
}

// Unchanged compares two snapshots and reports each difference.
func Unchanged(t *testing.T, before, after map[string]string) {
	t.Helper()
	for _, path := range slices.Sorted(maps.Keys(before)) {
		if after[path] != before[path] {
			t.Errorf("%s was %s, is %q", path, before[path], after[path])
		}
	}
	for _, path := range slices.Sorted(maps.Keys(after)) {
		if before[path] == "" {
			t.Errorf("%s was created", path)
		}
	}
}
