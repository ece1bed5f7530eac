package express

import (
	"strings"
	"testing"

	"modwsgi/internal/fault"
)

// TestEveryOptionNamesItsVersion: with each module an option is refused exactly
// where it is younger, with the version that it needs and how to get it.
func TestEveryOptionNamesItsVersion(t *testing.T) {
	for _, module := range []string{oldestModule, "4.5.13", "4.6.0", "4.9.4", "5.0.2", "6.0.0", "6.0.2", "6.0.5"} {
		six := 0
		for _, o := range Options() {
			if o.Gone != "" || o.field == nil {
				continue
			}
			s := newServer(Options())
			s.given[o.Name] = true
			err := checkVersions(s, module)
			if atLeastVersion(module, o.Since) {
				if err != nil {
					t.Errorf("%s, --%s: %v", module, o.Name, err)
				}
				continue
			}
			if atLeastVersion(o.Since, "6.0.0") {
				six++
			}
			if err == nil || !strings.Contains(err.Error(), "option --"+o.Name+" needs mod_wsgi "+o.Since+" or newer; the installed one is "+module) ||
				!strings.Contains(fault.HintOf(err), "--mod-wsgi-version '>= "+o.Since+"'") {
				t.Errorf("%s, --%s: %v (%s)", module, o.Name, err, fault.HintOf(err))
			}
		}
		if want := map[string]int{"6.0.0": 1, "6.0.2": 0, "6.0.5": 0}[module]; module < "6" && six < 10 || module >= "6" && six != want {
			t.Errorf("%s: %d options of mod_wsgi 6 are refused", module, six)
		}
	}
}
