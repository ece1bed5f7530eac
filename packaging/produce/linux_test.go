package produce

import "testing"

func TestMaintainerOfTheEnvironment(t *testing.T) {
	for want, env := range map[string][]string{
		"":                  {"DEBFULLNAME=Jane Doe"},
		"Jane Doe <j@x.de>": {"DEBFULLNAME=Jane Doe", "DEBEMAIL=j@x.de", "EMAIL=other@x.de"},
		"Jane <k@x.de>":     {"DEBFULLNAME=Jane Doe", "DEBEMAIL=Jane <k@x.de>"},
		"l <l@x.de>":        {"EMAIL=l@x.de"},
		"M <m@x.de>":        {"NAME=M", "EMAIL=m@x.de"},
	} {
		if got := maintainer(env); got != want {
			t.Errorf("%q: got %q, want %q", env, got, want)
		}
	}
}
