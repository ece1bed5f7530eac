package prove

import "testing"

func TestOutputBlock(t *testing.T) {
	for said, want := range map[string]string{
		"":                 "",
		" \n\n":            "",
		"AH00526: wrong\n": "\nhttpd output:\n" + indent("AH00526: wrong"),
	} {
		if got := outputBlock(said); got != want {
			t.Errorf("%q: %q, want %q", said, got, want)
		}
	}
}
