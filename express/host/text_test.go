package host

import "testing"

func TestLineEnds(t *testing.T) {
	for text, want := range map[string]string{"": "", "a\nb\n": "a\r\nb\r\n", "a\r\nb": "a\r\nb", "\n\r\n\n": "\r\n\r\n\r\n", "a\rb\n": "a\rb\r\n"} {
		if got := string(withLineEnds([]byte(text), true)); got != want {
			t.Errorf("%q becomes %q, want %q", text, got, want)
		}
		if got := string(withLineEnds([]byte(text), false)); got != text {
			t.Errorf("%q becomes %q where lines end with a line feed", text, got)
		}
	}
}
