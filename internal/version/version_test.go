package version

import (
	"regexp"
	"strings"
	"testing"
)

func TestString(t *testing.T) {
	defer func(r string) { Release = r }(Release)
	Release = "9.8.7"
	if s := String(); !strings.HasPrefix(s, "9.8.7") || !regexp.MustCompile(`^[0-9.]+( \([0-9a-f]{12}\))?$`).MatchString(s) {
		t.Errorf("got %q", s)
	}
}
