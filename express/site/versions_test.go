package site

import "testing"

func TestAtLeastVersion(t *testing.T) {
	for _, c := range []struct {
		have, want string
		ok         bool
	}{
		{"5.0.2", "4.9.1", true},
		{"4.9.1", "4.9.1", true},
		{"4.10.0", "4.9.1", true},
		{"4.9", "4.9.1", false},
		{"4.9.1", "4.9", true},
		{"4.9.1.1", "4.9.1", true},
		{"4.4.9", "4.4.10", false},
		{"6.0.0rc1", "6.0.0", true},
		{"6.0rc1.5", "6.0.1", true},
		{"rc6", "1", false},
		{"", "4.0", false},
		{"", "", true},
	} {
		if got := AtLeastVersion(c.have, c.want); got != c.ok {
			t.Errorf("%q at least %q: %v", c.have, c.want, got)
		}
	}
}

func TestOrUnknown(t *testing.T) {
	for version, want := range map[string]string{"": "of an unknown version", "4.9.1": "4.9.1"} {
		if got := OrUnknown(version); got != want {
			t.Errorf("%q: %q", version, got)
		}
	}
}
