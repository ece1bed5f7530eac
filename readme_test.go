package modwsgi_test

import (
	"os"
	"strings"
	"testing"
)

// TestReadmeListsDependencies: each direct dependency is in the table, with a reason.
func TestReadmeListsDependencies(t *testing.T) {
	data, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	listed, direct := string(data), 0
	for _, line := range readLines(t, "go.mod") {
		f := strings.Fields(line)
		if len(f) == 2 && strings.Contains(f[0], ".") && strings.HasPrefix(f[1], "v") {
			if direct++; !strings.Contains(listed, "`"+f[0]+"`") {
				t.Errorf("the table of dependencies lacks %s", f[0])
			}
		}
	}
	if direct < 10 {
		t.Errorf("only %d direct dependencies in go.mod", direct)
	}
}
