package top

import (
	"strings"
	"unicode"
	"unicode/utf8"
)

// Style is what a terminal can show.
type Style struct {
	Color bool // escape sequences for colors
	UTF8  bool
}

// look is how a piece of text stands out. Colors only repeat what the text says.
type look string

const (
	normal look = ""
	strong look = "1"
	faint  look = "2"
	good   look = "32"
	busy   look = "33"
	bad    look = "1;31"
)

// piece is a text that looks the same.
type piece struct {
	text string
	look look
}

// line is a line of the screen.
type line []piece

func (l line) width() (n int) {
	for _, p := range l {
		n += width(p.text)
	}
	return n
}

// render returns a line for a terminal of a width.
func (s Style) render(l line, columns int) string {
	var b strings.Builder
	left := columns
	for k, p := range l {
		text, rest := s.clean(p.text), l[k+1:].width()
		if w := width(text); w > left || w == left && rest > 0 {
			text = cut(text, left-width(s.more())) + s.more()
			text = cut(text, left)
			left = 0
		} else {
			left -= w
		}
		if s.Color && p.look != normal && text != "" {
			b.WriteString("\x1b[" + string(p.look) + "m" + text + "\x1b[0m")
		} else {
			b.WriteString(text)
		}
		if left == 0 {
			break
		}
	}
	return strings.TrimRight(b.String(), " ")
}

func (s Style) more() string {
	if s.UTF8 {
		return "…"
	}
	return "..."
}

// clean returns a text without anything that a terminal could take for a command. Without
// UTF-8 it is ASCII.
func (s Style) clean(text string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case r >= ' ' && r <= '~':
			return r
		case !s.UTF8:
			return '?'
		case unicode.IsPrint(r):
			return r
		}
		return unicode.ReplacementChar
	}, strings.ToValidUTF8(text, "\ufffd"))
}

// width is the number of columns of a text.
func width(text string) (n int) {
	for _, r := range text {
		n += columnsOf(r)
	}
	return n
}

// columnsOf is the number of columns of a character, as far as terminals agree.
func columnsOf(r rune) int {
	switch {
	case r < 0x300:
		return 1
	case unicode.In(r, unicode.Mn, unicode.Me):
		return 0
	case r >= 0x1100 && r <= 0x115f, r >= 0x2e80 && r <= 0xa4cf, r >= 0xac00 && r <= 0xd7a3, r >= 0xf900 && r <= 0xfaff,
		r >= 0xfe30 && r <= 0xfe6f, r >= 0xff00 && r <= 0xff60, r >= 0xffe0 && r <= 0xffe6, r >= 0x1f300 && r <= 0x1faff, r >= 0x20000 && r <= 0x3fffd:
		return 2
	}
	return 1
}

// cut returns the beginning of a text that fits.
func cut(text string, columns int) string {
	for k, r := range text {
		if columns -= columnsOf(r); columns < 0 {
			return text[:k]
		}
	}
	return text
}

// pad aligns a text to the left in some columns, or with a negative number to the right.
func pad(text string, columns int) string {
	space := strings.Repeat(" ", max(0, max(columns, -columns)-utf8.RuneCountInString(text)))
	if columns < 0 {
		return space + text
	}
	return text + space
}

// bar shows n of most in some columns.
func (s Style) bar(n, most, columns int) string {
	if most <= 0 || columns <= 0 {
		return ""
	}
	full, empty := "#", "."
	if s.UTF8 {
		full, empty = "█", "░"
	}
	k := (min(n, most)*columns + most - 1) / most // something is visible for the first one
	return strings.Repeat(full, k) + strings.Repeat(empty, columns-k)
}

// curve shows the last numbers, each in one column.
func (s Style) curve(numbers []float64, columns int) string {
	steps := []rune("_.-=#")
	if s.UTF8 {
		steps = []rune("▁▂▃▄▅▆▇█")
	}
	numbers = numbers[max(0, len(numbers)-max(columns, 0)):]
	most := 0.0
	for _, n := range numbers {
		most = max(most, n)
	}
	var b strings.Builder
	for _, n := range numbers {
		k := 0
		if most > 0 && n > 0 {
			k = min(1+int(n/most*float64(len(steps)-1)), len(steps)-1)
		}
		b.WriteRune(steps[k])
	}
	return b.String()
}
