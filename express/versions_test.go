package express

import (
	"strings"
	"testing"

	"modwsgi/express/config"
	"modwsgi/express/site"
	"modwsgi/internal/fault"
)

// TestEveryOptionNamesItsVersion: with each module an option is refused exactly
// where it is younger, with the version that it needs and how to get it.
func TestEveryOptionNamesItsVersion(t *testing.T) {
	for _, module := range []string{site.OldestModule, "4.5.13", "4.6.0", "4.9.4", "5.0.2", "6.0.0", "6.0.2", "6.0.5"} {
		six := 0
		for _, o := range config.Table().Options() {
			if o.Gone != "" || o == config.Help.Option {
				continue
			}
			s := anyValue(t, o)
			err := checkVersions(s, module)
			if site.AtLeastVersion(module, config.Since(o)) {
				if err != nil {
					t.Errorf("%s, --%s: %v", module, o.Name, err)
				}
				continue
			}
			if site.AtLeastVersion(config.Since(o), "6.0.0") {
				six++
			}
			if err == nil || !strings.Contains(err.Error(), "option --"+o.Name+" needs mod_wsgi "+config.Since(o)+" or newer; the installed one is "+module) ||
				!strings.Contains(fault.HintOf(err), "--mod-wsgi-version '>= "+config.Since(o)+"'") {
				t.Errorf("%s, --%s: %v (%s)", module, o.Name, err, fault.HintOf(err))
			}
		}
		if want := map[string]int{"6.0.0": 1, "6.0.2": 0, "6.0.5": 0}[module]; module < "6" && six < 10 || module >= "6" && six != want {
			t.Errorf("%s: %d options of mod_wsgi 6 are refused", module, six)
		}
	}
}
