package supervise

import (
	"strings"
	"testing"
)

// TestParseVerb: httpd's own form of a verb (-k) means the same as apachectl's.
func TestParseVerb(t *testing.T) {
	for line, want := range map[string]string{
		"": "| ", "stop": "stop|", "start -DFOREGROUND": "start|-DFOREGROUND", "-k stop": "stop|", "-kstop": "stop|", "-D X -k graceful -e debug": "graceful|-D X -e debug",
		"-k": "-k|", "-k nonsense": "-k|nonsense", "-t": "-t|", "-S": "-S|",
	} {
		verb, rest := parseVerb(strings.Fields(line))
		if got := verb + "|" + strings.Join(rest, " "); got != strings.TrimSpace(want) {
			t.Errorf("%q: %q, want %q", line, got, want)
		}
	}
}
