package supervise

import (
	"crypto/sha256"
	"encoding/base64"
	"regexp"
	"strings"
	"testing"
)

// TestDashboardHashes: the Content-Security-Policy allows the page's own script and style
// sheet, and the page has nothing else that a browser would load or run.
func TestDashboardHashes(t *testing.T) {
	for tag, hash := range map[string]string{"script": scriptHash, "style": styleHash} {
		_, after, _ := strings.Cut(dashboard, "<"+tag+">")
		content, rest, found := strings.Cut(after, "</"+tag+">")
		if !found || strings.Contains(rest, "<"+tag) {
			t.Fatalf("the page does not have exactly one %s", tag)
		}
		sum := sha256.Sum256([]byte(content))
		if want := "sha256-" + base64.StdEncoding.EncodeToString(sum[:]); hash != want {
			t.Errorf("%s of the page has changed: its hash in pages.go must be %s", tag, want)
		}
	}
	for _, bad := range []string{`(?i)https?://`, `(?i)\ssrc=`, `(?i)\son[a-z]+=`, `(?i)\sstyle=`, `innerHTML|outerHTML|insertAdjacent|document\.write|eval\(|Function\(`, `@import|url\(`} {
		if found := regexp.MustCompile(bad).FindString(dashboard); found != "" {
			t.Errorf("the page contains %q", found)
		}
	}
}
