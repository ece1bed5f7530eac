package logwriter

import (
	"bytes"
	"maps"
	"slices"
	"strings"
)

// A record is a line in a format of our own, from which JSON is made. httpd escapes
// control characters in all values, so a tab separates fields, and the letter after it
// names the field. "!" starts a record and "$" ends it, both with the number of the
// thread that wrote it.
//
// A write to a pipe of more than 4096 bytes is not atomic: if the pipe is full, lines of
// other processes can get in between, and a client can make its line as long as that.
// The marks show it. A record inside of another one is recovered, and so are both parts
// of the outer one. What cannot be attributed is written as text. What remains is a part
// of a value inside of the same value of another record as long, if both are interrupted
// twice.

// writers is the number of the thread that writes, in httpd's access log.
const writers = "%{pid}P.%{tid}P"

// TextFormat makes a format of httpd's access log one whose lines are records, so that
// long lines of several processes can be told apart.
func TextFormat(text string) string { return format(writers, text) }

// accessLines is a form of an access log: whole makes lines of a complete record, part of
// everything else. Lines do not depend on one another, so none is held back.
type accessLines struct {
	assembler

	whole, part func(to, text []byte) []byte
}

func (f *accessLines) line(to, line []byte) []byte {
	f.assembler.line(line,
		func(record []byte) { to = f.whole(to, record) },
		func(text []byte) { to = f.part(to, text) })
	return to
}

func (f *accessLines) idle(to []byte) []byte { return to }

func (f *accessLines) flush(to []byte) []byte {
	f.rest(func(text []byte) { to = f.part(to, text) })
	return to
}

func (f *accessLines) held() bool { return false }

// newAccessText takes records apart again.
func newAccessText() *accessLines {
	part := func(to, text []byte) []byte { return append(append(to, text...), '\n') }
	return &accessLines{part: part, whole: func(to, record []byte) []byte {
		id, _ := started(record)
		return part(to, record[len(start)+len(id)+1:len(record)-len(end)-len(id)])
	}}
}

// format is the text for httpd's directive: a letter and an item of httpd for each field.
func format(thread string, fields ...string) string {
	return "\t!" + thread + "\t" + strings.Join(fields, "\t") + "\t$" + thread
}

// fields returns the values of a complete record by letter. Values that httpd does not
// have are "-" and are left out. It returns the number of fields, and whether there is at
// most one of each.
func fields(record []byte, to *['z' + 1][]byte) (n int, once bool) {
	clear(to[:])
	var seen ['z' + 1]bool
	for len(record) > 1 {
		field := record[1:] // after the tab
		if k := bytes.IndexByte(field, '\t'); k >= 0 {
			field, record = field[:k], field[k:]
		} else {
			record = nil
		}
		if len(field) < 1 || field[0] > 'z' {
			continue
		}
		if seen[field[0]] {
			return n, false
		}
		seen[field[0]] = true
		n++
		if value := field[1:]; string(value) != "-" {
			to[field[0]] = value
		}
	}
	return n, true
}

// assembler finds complete records in lines, which have no line feed.
type assembler struct {
	most  int               // length at which httpd cuts a line off, 0 if it does not
	heads map[string][]byte // starts of records whose end has not arrived, by thread
}

var start, end = []byte("\t!"), []byte("\t$")

// mostHeads is the number of records that can be interrupted together.
const mostHeads = 64

// line calls whole for each complete record and part for everything else, which is valid
// only during the call.
func (a *assembler) line(line []byte, whole, part func([]byte)) {
	for first := true; first || len(line) > 0; first = false {
		piece := line
		if k := bytes.Index(line[min(1, len(line)):], start); k >= 0 {
			piece, line = line[:k+1], line[k+1:]
		} else {
			line = nil
		}
		a.piece(piece, whole, part)
	}
}

func (a *assembler) piece(piece []byte, whole, part func([]byte)) {
	from, starts := started(piece)
	to, ends := ended(piece)
	if starts && !ends && a.most > 0 && len(piece) >= a.most {
		to, ends = from, true
	}
	if starts && ends && from != to && strings.HasPrefix(from, to) {
		ends = false // cut in the mark
	}
	switch {
	case starts && ends && from == to:
		a.spoil(from, part)
		whole(piece)
	case starts && ends: // of two records, and where the second one begins is unknown
		a.spoil(to, part)
		part(piece)
	case starts:
		a.spoil(from, part)
		if a.heads == nil {
			a.heads = map[string][]byte{}
		}
		if len(a.heads) >= mostHeads {
			a.rest(part)
		}
		a.heads[from] = bytes.Clone(piece)
	case !starts && ends && a.heads[to] != nil:
		whole(append(a.heads[to], piece...))
		delete(a.heads, to)
	case !ends && len(a.heads) == 1:
		for id := range a.heads {
			a.heads[id] = append(a.heads[id], piece...)
			if to, ends := ended(a.heads[id]); ends && to == id { // cut in the mark
				whole(a.heads[id])
				delete(a.heads, id)
			} else if len(a.heads[id]) > longestLine {
				a.spoil(id, part)
			}
		}
	default: // of any of them
		a.rest(part)
		part(piece)
	}
}

// spoil calls part for the start of a record whose end will not be known.
func (a *assembler) spoil(id string, part func([]byte)) {
	if head := a.heads[id]; head != nil {
		part(head)
		delete(a.heads, id)
	}
}

// rest calls part for all records whose end has not arrived.
func (a *assembler) rest(part func([]byte)) {
	for _, id := range slices.Sorted(maps.Keys(a.heads)) {
		a.spoil(id, part)
	}
}

// started returns the thread that wrote the start of a record.
func started(piece []byte) (string, bool) {
	rest, ok := bytes.CutPrefix(piece, start)
	id, _, tab := bytes.Cut(rest, []byte{'\t'})
	return string(id), ok && tab && isThread(id)
}

// ended returns the thread that wrote the end of a record.
func ended(piece []byte) (string, bool) {
	k := bytes.LastIndexByte(piece, '\t')
	if k < 0 || !bytes.HasPrefix(piece[k:], end) {
		return "", false
	}
	id := piece[k+len(end):]
	return string(id), isThread(id)
}

// isThread reports whether a text is the number of a thread, as in thread.
func isThread(id []byte) bool {
	return len(id) > 0 && len(bytes.Trim(id, "0123456789.-")) == 0
}
