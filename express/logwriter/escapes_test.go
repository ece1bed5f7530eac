package logwriter

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"
)

// escaped is what httpd makes of a text (ap_escape_errorlog_item, and with quotes
// ap_escape_logitem).
func escaped(text []byte, quotes bool) []byte {
	var b []byte
	for _, c := range text {
		switch {
		case c == '\b':
			b = append(b, `\b`...)
		case c == '\n':
			b = append(b, `\n`...)
		case c == '\r':
			b = append(b, `\r`...)
		case c == '\t':
			b = append(b, `\t`...)
		case c == '\v':
			b = append(b, `\v`...)
		case c == '\\', c == '"' && quotes:
			b = append(b, '\\', c)
		case c < ' ' || c > '~':
			b = fmt.Appendf(b, `\x%02x`, c)
		default:
			b = append(b, c)
		}
	}
	return b
}

func TestReadable(t *testing.T) {
	for _, c := range []struct{ text, want string }{
		{"größer: 日本語 😀 naïve é", "größer: 日本語 😀 naïve é"},
		{"می\u200cخواهم 👩\u200d💻", "می\u200cخواهم 👩\u200d💻"}, // joiners
		{"a\u00a0b\u3000c", "a\u00a0b\u3000c"},               // spaces of other scripts
		{"plain 'a' \"b\"", "plain 'a' \"b\""},
		{"line\nfeed\r\t\x1b[31m\x00\x7f", `line\nfeed\r\t\x1b[31m\x00\x7f`},
		{`\xc3\xa4 is text`, `\\xc3\\xa4 is text`},
		{`C:\new`, `C:\\new`},
		{"next\u0085line", `next\xc2\x85line`}, // C1
		{"abc\u202etxt\u2066x\u2069\u200f", `abc\xe2\x80\xaetxt\xe2\x81\xa6x\xe2\x81\xa9\xe2\x80\x8f`}, // direction
		{"a\u2028b\u2029", `a\xe2\x80\xa8b\xe2\x80\xa9`},                                               // separators
		{"tag\U000e0041 private\ue000 bom\ufeff soft\u00adhyphen", `tag\xf3\xa0\x81\x81 private\xee\x80\x80 bom\xef\xbb\xbf soft\xc2\xadhyphen`},
		{"latin1 \xe4\xf6", `latin1 \xe4\xf6`},
		{"cut \xe6\x97", `cut \xe6\x97`},
		{"overlong \xc0\xaf \xe0\x80\x8a, surrogate \xed\xa0\x80", `overlong \xc0\xaf \xe0\x80\x8a, surrogate \xed\xa0\x80`},
		{"ä\xffö", `ä\xffö`},
	} {
		line := escaped([]byte(c.text), false)
		if got := string(readable(nil, line)); got != c.want {
			t.Errorf("%q, in httpd's form %s:\n got %q\nwant %q", c.text, line, got, c.want)
		}
	}
	// What did not come through httpd has no escapes, and is held to the same.
	if got := string(readable(nil, []byte("raw ä \x1b[0m \xff \u202e\ttab"))); got != `raw ä \x1b[0m \xff \xe2\x80\xae`+"\ttab" {
		t.Errorf("raw text: %q", got)
	}
	// httpd cuts a line off, never in an escape, but perhaps in a character.
	for _, cut := range []string{`\`, `\x`, `\xc`, `\xc3`, `a\\`} {
		if got := string(readable(nil, []byte(cut))); got != cut {
			t.Errorf("%q became %q", cut, got)
		}
	}
}

// random returns bytes with many that matter.
func random(r *rand.Rand) []byte {
	pieces := []string{"\\", "x", "\"", "\n", "\t", "\r", "\x1b", "\x00", "ä", "\xc3", "\xa4", "\xff", "日", "😀", "\u202e", "\u0085", "-", "$", "!", "\t$", "\t!", "\\xc3", "\\n", " ", "a"}
	var b []byte
	for range r.IntN(30) {
		if r.IntN(4) == 0 {
			b = append(b, byte(r.IntN(256)))
		} else {
			b = append(b, pieces[r.IntN(len(pieces))]...)
		}
	}
	return b
}

// TestReadableOfAnything: whatever an application writes, the line has no control
// character and is UTF-8, and the text can be recovered from it.
func TestReadableOfAnything(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for range 20000 {
		text := random(r)
		line := readable(nil, escaped(text, false))
		if !utf8.Valid(line) {
			t.Fatalf("%q became %q, which is not UTF-8", text, line)
		}
		for _, c := range string(line) {
			if unicode.IsControl(c) || unicode.Is(unicode.Bidi_Control, c) {
				t.Fatalf("%q became %q, with %U", text, line, c)
			}
		}
		if got := unescape(line); !bytes.Equal(got, text) {
			t.Fatalf("%q became %q, which means %q", text, line, got)
		}
		if line := readable(nil, text); !utf8.Valid(line) || bytes.ContainsFunc(line, func(c rune) bool { return unicode.IsControl(c) && c != '\t' }) {
			t.Fatalf("the raw text %q became %q", text, line)
		}
	}
}

// TestUnescape: the text that httpd escaped is recovered from both kinds of logs.
func TestUnescape(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	for range 20000 {
		text := random(r)
		for _, quotes := range []bool{false, true} {
			if got := unescape(escaped(text, quotes)); !bytes.Equal(got, text) {
				t.Fatalf("%q: %q", text, got)
			}
		}
	}
}

// TestStrings: a JSON string means the text, with \xhh for bytes that are not UTF-8, and
// is shown by a terminal as it is.
func TestStrings(t *testing.T) {
	r := rand.New(rand.NewPCG(5, 6))
	for range 20000 {
		text := random(r)
		line := appendString(nil, text)
		var got string
		if err := json.Unmarshal(line, &got); err != nil {
			t.Fatalf("%q: %v in %s", text, err, line)
		}
		var want strings.Builder
		for rest := text; len(rest) > 0; {
			c, n := utf8.DecodeRune(rest)
			if c == utf8.RuneError && n == 1 {
				fmt.Fprintf(&want, `\x%02x`, rest[0])
			} else {
				want.WriteRune(c)
			}
			rest = rest[n:]
		}
		if got != want.String() {
			t.Fatalf("%q: %q", text, got)
		}
		for _, c := range string(line) {
			if unicode.IsControl(c) || unicode.Is(unicode.Bidi_Control, c) {
				t.Fatalf("%q: %q has %U", text, line, c)
			}
		}
	}
}
