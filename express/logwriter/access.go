package logwriter

import (
	"bytes"
	"strconv"
	"strings"
	"time"
)

// AccessFormat is the format of httpd's access log from which JSON is made.
var AccessFormat = format(writers, "s%{begin:usec}t", "a%a", "u%u", "m%m", "p%U", "q%q", "v%H", "h%{Host}i", "c%>s", "b%B", "d%D",
	"r%{Referer}i", "g%{User-Agent}i", "i%{UNIQUE_ID}e", "l%L", "n%v", "G%{mod_wsgi.process_group}e", "x%r")

// accessFields is the number of fields of a record, both marks included.
var accessFields = strings.Count(AccessFormat, "\t")

// accessJSON makes JSON of an access log.
type accessJSON struct {
	now    func() time.Time
	count  int // of the fields of a record; 0 for any
	values ['z' + 1][]byte
}

func newAccessJSON(now func() time.Time, count int) *accessLines {
	f := &accessJSON{now: now, count: count}
	return &accessLines{whole: f.whole, part: f.part}
}

func (f *accessJSON) whole(to, record []byte) []byte {
	v := &f.values
	// A record of which parts are another one's may lack fields.
	if n, once := fields(record, v); !once || f.count > 0 && n != f.count {
		return f.part(to, record)
	}
	o := newObject(to)
	at := f.now()
	if micro, err := strconv.ParseInt(string(v['s']), 10, 64); err == nil {
		at = time.UnixMicro(micro)
	}
	o.time(at)
	text := func(name string, letter byte) {
		if v[letter] != nil {
			o.text(name, unescape(v[letter]))
		}
	}
	text("remote_addr", 'a')
	if bytes.Equal(v['u'], []byte(`""`)) { // httpd's form of an empty name
		v['u'] = []byte{}
	}
	text("remote_user", 'u')
	text("method", 'm')
	text("path", 'p')
	if q := v['q']; len(q) > 0 {
		o.text("query", unescape(q[1:]))
	}
	text("protocol", 'v')
	text("request", 'x')
	text("host", 'h')
	o.number("status", v['c'])
	o.number("bytes", v['b'])
	o.milliseconds("duration_ms", v['d'])
	text("referer", 'r')
	text("user_agent", 'g')
	if v['i'] == nil {
		v['i'] = v['l']
	}
	text("request_id", 'i')
	text("server_name", 'n')
	text("process_group", 'G')
	pid, tid, _ := bytes.Cut(v['!'], []byte{'.'})
	o.number("pid", pid)
	o.number("tid", tid)
	return o.end()
}

// part writes the remains of a record as text: nothing is dropped, and the line is JSON.
func (f *accessJSON) part(to, text []byte) []byte {
	o := newObject(to)
	o.time(f.now())
	o.text("incomplete", text)
	return o.end()
}
