package config

import (
	"slices"
	"testing"
)

func TestTrusted(t *testing.T) {
	for v, want := range map[string][]string{
		"10.0.0.0/8": {"10.0.0.0/8"}, "FD00::/8": {"fd00::/8"}, "::1": {"::1"}, "FE80::A": {"fe80::a"}, "0.0.0.0/0": {"0.0.0.0/1", "128.0.0.0/1"}, "::/0": {"::/1", "8000::/1"},
	} {
		if got := trusted(v); !slices.Equal(got, want) {
			t.Errorf("%s: %q, want %q", v, got, want)
		}
	}
}
