package logwriter

import (
	"unicode"
	"unicode/utf8"
)

const hexDigits = "0123456789abcdef"

// readable appends a line of an error log with the escapes of readable text replaced by
// that text, in UTF-8. Everything else stays, or becomes, an escape:
//
//   - escapes of ASCII: line feeds, other control characters, backslashes
//   - bytes that are not UTF-8, so overlong forms and halves of surrogates too
//   - characters without a visible form (see [visible])
//
// Bytes that did not come through httpd (text that a process writes to its standard
// error itself) are treated in the same way. So a line has no control character but the
// tab, and a terminal that shows it cannot be made to do anything.
func readable(to, line []byte) []byte {
	var high []byte // consecutive bytes above 0x7f, raw or escaped
	for len(line) > 0 {
		c, n := line[0], 1
		if b, ok := hexEscape(line); ok && b >= utf8.RuneSelf {
			c, n = b, 4
		}
		if c >= utf8.RuneSelf {
			high = append(high, c)
			line = line[n:]
			continue
		}
		to = appendHigh(to, high)
		high = high[:0]
		switch {
		case c == '\\' && len(line) > 1: // the second byte does not start another escape
			to = append(to, c)
			if line = line[1:]; line[0] == '\\' {
				to = append(to, '\\')
				line = line[1:]
			}
			continue
		case c < ' ' && c != '\t' || c == 0x7f:
			to = appendHex(to, c)
		default:
			to = append(to, c)
		}
		line = line[1:]
	}
	return appendHigh(to, high)
}

// appendHigh appends bytes above 0x7f: those of visible characters as they are, others
// as escapes.
func appendHigh(to, high []byte) []byte {
	for len(high) > 0 {
		r, n := utf8.DecodeRune(high)
		if !(r == utf8.RuneError && n == 1) && visible(r) {
			to = append(to, high[:n]...)
		} else {
			for _, c := range high[:n] {
				to = appendHex(to, c)
			}
		}
		high = high[n:]
	}
	return to
}

// visible reports whether a character above 0x7f is shown as itself: letters, marks,
// digits, punctuation, symbols and spaces. That excludes the C1 controls, the characters
// that change the direction of text, line and paragraph separators, invisible tags, and
// code points that are private or not assigned. Of the format characters, the two joiners
// are allowed, which Persian, Indian scripts and emoji need.
func visible(r rune) bool {
	return unicode.IsGraphic(r) || r == '\u200c' || r == '\u200d'
}

func appendHex(to []byte, c byte) []byte {
	return append(to, '\\', 'x', hexDigits[c>>4], hexDigits[c&15])
}

// hexEscape returns the byte of an escape such as \xc3 at the start of text. httpd writes
// small letters.
func hexEscape(text []byte) (byte, bool) {
	if len(text) < 4 || text[0] != '\\' || text[1] != 'x' {
		return 0, false
	}
	high, ok := nibble(text[2])
	low, ok2 := nibble(text[3])
	return high<<4 | low, ok && ok2
}

func nibble(c byte) (byte, bool) {
	switch {
	case '0' <= c && c <= '9':
		return c - '0', true
	case 'a' <= c && c <= 'f':
		return c - 'a' + 10, true
	}
	return 0, false
}

// unescape returns the text of which httpd made an escaped one (ap_escape_logitem,
// ap_escape_errorlog_item). An escape that httpd does not write, or that is cut off, is
// left alone.
func unescape(text []byte) []byte {
	var to []byte
	for k := 0; k < len(text); k++ {
		c := text[k]
		if c != '\\' {
			if to != nil {
				to = append(to, c)
			}
			continue
		}
		if to == nil {
			to = append(make([]byte, 0, len(text)), text[:k]...)
		}
		if b, ok := hexEscape(text[k:]); ok {
			to = append(to, b)
			k += 3
			continue
		}
		if k+1 < len(text) {
			if b, ok := letters[text[k+1]]; ok {
				c = b
				k++
			}
		}
		to = append(to, c)
	}
	if to == nil {
		return text
	}
	return to
}

// letters are the escapes of one letter.
var letters = map[byte]byte{'b': '\b', 'n': '\n', 'r': '\r', 't': '\t', 'v': '\v', '\\': '\\', '"': '"'}
