package logwriter

import (
	"strconv"
	"time"
	"unicode/utf16"
	"unicode/utf8"
)

// object builds one JSON object on one line. Members keep their order.
type object struct{ b []byte }

func newObject(to []byte) *object { return &object{append(to, '{')} }

func (o *object) name(name string) {
	if o.b[len(o.b)-1] != '{' {
		o.b = append(o.b, ',')
	}
	o.b = append(o.b, '"')
	o.b = append(o.b, name...)
	o.b = append(o.b, '"', ':')
}

func (o *object) text(name string, value []byte) {
	o.name(name)
	o.b = appendString(o.b, value)
}

// number adds a value that consists of digits as a number, and any other as text.
func (o *object) number(name string, value []byte) {
	if len(value) == 0 || string(value) == "-" {
		return
	}
	if len(value) > 18 || value[0] == '0' && len(value) > 1 {
		o.text(name, value)
		return
	}
	for _, c := range value {
		if c < '0' || c > '9' {
			o.text(name, value)
			return
		}
	}
	o.name(name)
	o.b = append(o.b, value...)
}

func (o *object) time(t time.Time) {
	o.name("time")
	o.b = append(o.b, '"')
	o.b = t.AppendFormat(o.b, "2006-01-02T15:04:05.000000Z07:00")
	o.b = append(o.b, '"')
}

// milliseconds adds a number of microseconds as milliseconds.
func (o *object) milliseconds(name string, value []byte) {
	if value == nil {
		return
	}
	micro, err := strconv.ParseInt(string(value), 10, 64)
	if err != nil {
		o.text(name, value)
		return
	}
	o.name(name)
	o.b = strconv.AppendFloat(o.b, float64(micro)/1000, 'f', 3, 64)
}

// end returns the line.
func (o *object) end() []byte { return append(o.b, '}', '\n') }

// appendString appends text as a JSON string. Characters without a visible form are
// written as \u escapes, so a terminal can show the line. A byte that is not UTF-8
// becomes the four characters \xhh: JSON has no bytes, and half of the readers refuse a
// lone surrogate.
func appendString(to, text []byte) []byte {
	to = append(to, '"')
	for len(text) > 0 {
		c := text[0]
		if c < utf8.RuneSelf {
			text = text[1:]
			switch {
			case c == '"' || c == '\\':
				to = append(to, '\\', c)
			case c == '\n':
				to = append(to, '\\', 'n')
			case c == '\t':
				to = append(to, '\\', 't')
			case c == '\r':
				to = append(to, '\\', 'r')
			case c < ' ' || c == 0x7f:
				to = appendUnit(to, rune(c))
			default:
				to = append(to, c)
			}
			continue
		}
		r, n := utf8.DecodeRune(text)
		switch {
		case r == utf8.RuneError && n == 1:
			to = append(to, '\\')
			to = appendHex(to, c)
		case visible(r):
			to = append(to, text[:n]...)
		case r > 0xffff:
			high, low := utf16.EncodeRune(r)
			to = appendUnit(appendUnit(to, high), low)
		default:
			to = appendUnit(to, r)
		}
		text = text[n:]
	}
	return append(to, '"')
}

func appendUnit(to []byte, r rune) []byte {
	return append(to, '\\', 'u', hexDigits[r>>12&15], hexDigits[r>>8&15], hexDigits[r>>4&15], hexDigits[r&15])
}
