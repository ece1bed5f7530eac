package spelling

import "testing"

func TestNearest(t *testing.T) {
	names := []string{"install", "uninstall", "info", "doctor"}
	for word, want := range map[string]string{
		"instal": "install", "nistall": "install", "uninstal": "uninstall", "inf": "info", "doctro": "doctor", "packages": "", "": "",
	} {
		if got := Nearest(word, names, 2); got != want {
			t.Errorf("%q: %q, want %q", word, got, want)
		}
	}
	if got := Nearest("ab", []string{"ac", "ad"}, 1); got != "ac" {
		t.Errorf("of two that are as near, %q", got)
	}
	if got := Nearest("info", nil, 9); got != "" {
		t.Errorf("of none, %q", got)
	}
}

func TestDistance(t *testing.T) {
	for _, c := range []struct {
		a, b string
		want int
	}{{"", "", 0}, {"", "abc", 3}, {"kitten", "sitting", 3}, {"flaw", "lawn", 2}, {"same", "same", 0}} {
		if a, b := distance(c.a, c.b), distance(c.b, c.a); a != c.want || b != c.want {
			t.Errorf("%q and %q: %d and %d, want %d", c.a, c.b, a, b, c.want)
		}
	}
}
