package version

import (
	"regexp"
	"strings"
	"testing"
)

func TestString(t *testing.T) {
	defer func(r, c string) { Release, Commit = r, c }(Release, Commit)
	Release = "9.8.7"
	if s := String(); !strings.HasPrefix(s, "9.8.7") || !regexp.MustCompile(`^[0-9.]+( \([0-9a-f]{12}\))?$`).MatchString(s) {
		t.Errorf("got %q", s)
	}
	for commit, want := range map[string]string{
		"0123456789abcdef0123456789abcdef01234567": "9.8.7 (0123456789ab)",
		"none": "9.8.7", // goreleaser's value without a repository
	} {
		if Commit = commit; String() != want {
			t.Errorf("commit %s: %q", commit, String())
		}
	}
}
