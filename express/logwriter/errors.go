package logwriter

import (
	"bytes"
	"regexp"
	"slices"
	"strconv"
	"time"
)

// ErrorFormat is the format of httpd's error log from which JSON is made. A dash stands
// for what a message does not have.
var ErrorFormat = format("%-P.%-T", "s%{cuz}t", "l%-l", "m%-m", "a%-a", "i%-L", "n%-v", "f%-F", "e%-E", "r%-{Referer}i", "x%M")

// errorLines takes the messages of an error log apart. The log also has lines in httpd's
// default form, which it uses while it starts, and text that processes write to their
// standard error themselves.
//
// mod_wsgi passes each line of a traceback to httpd as a message. They are joined: a
// traceback is one message of several lines.
type errorLines struct {
	assembler

	render func(to []byte, m *message) []byte // appends a message
	now    func() time.Time
	open   []*traceback // those whose end has not arrived, the oldest first
	values ['z' + 1][]byte
	to     []byte
}

// message is one message of an error log.
type message struct {
	at                                                         time.Time
	level, module, pid, tid, client, id, server, source, cause []byte
	referer, script, text                                      []byte
	cut                                                        bool // httpd has cut it off
}

// longest is the length from which on a line may have been cut off by httpd
// (MAX_STRING_LEN).
const longest = 8192 - 4

// Limits of the tracebacks that are held back: how long after the last line, and how
// much.
const (
	joinTime = 100 * time.Millisecond
	joinSize = 256 << 10
	joinMost = 256
)

func newErrorLines(now func() time.Time, render func(to []byte, m *message) []byte) *errorLines {
	return &errorLines{now: now, render: render, assembler: assembler{most: longest}}
}

func (f *errorLines) line(to, line []byte) []byte {
	f.to = to
	if bytes.HasPrefix(line, start) || len(f.heads) > 0 || bytes.Contains(line, start) {
		f.assembler.line(line, f.whole, f.other)
	} else {
		f.other(line)
	}
	return f.to
}

// idle writes the tracebacks that no more lines have arrived for.
func (f *errorLines) idle(to []byte) []byte {
	f.to = to
	now := f.now()
	f.open = slices.DeleteFunc(f.open, func(t *traceback) bool {
		old := now.Sub(t.last) >= joinTime
		if old {
			f.write(&t.message)
		}
		return old
	})
	return f.to
}

func (f *errorLines) flush(to []byte) []byte {
	f.to = to
	f.rest(f.other)
	for _, t := range f.open {
		f.write(&t.message)
	}
	f.open = nil
	return f.to
}

func (f *errorLines) held() bool { return len(f.open) > 0 }

func (f *errorLines) whole(record []byte) {
	v := &f.values
	if _, once := fields(record, v); !once {
		f.other(record)
		return
	}
	pid, tid, _ := bytes.Cut(v['!'], []byte{'.'})
	at, ok := compactTime(string(v['s']))
	if !ok {
		at = f.now()
	}
	f.add(&message{
		at: at, level: v['l'], module: v['m'], pid: pid, tid: tid, client: v['a'], id: v['i'], server: v['n'], source: v['f'], cause: v['e'],
		referer: unescape(v['r']), text: unescape(v['x']),
		cut: len(record) >= longest,
	})
}

// compactTime reads httpd's compact form of a time. Before 2.4.59 that has no zone, which
// is this machine's.
func compactTime(text string) (time.Time, bool) {
	for _, layout := range []string{"2006-01-02 15:04:05.000000 -0700", "2006-01-02 15:04:05.000000 MST"} {
		if t, err := time.Parse(layout, text); err == nil {
			return t, true
		}
	}
	t, err := time.ParseInLocation("2006-01-02 15:04:05.000000", text, time.Local)
	return t, err == nil
}

// usual is a line in httpd's default form.
var usual = regexp.MustCompile(`^\[(\w{3} \w{3} [ \d]\d \d\d:\d\d:\d\d\.\d{6} \d{4})\] \[([\w-]*):(\w+)\] \[pid (\d+)(?::tid (\d+))?\] (?:\[(?:client|remote) ([0-9A-Fa-f:.\[\]]+)\] )?(.*)$`)

// other adds a line that is not a record.
func (f *errorLines) other(line []byte) {
	if m := usual.FindSubmatch(line); m != nil {
		if at, err := time.ParseInLocation("Mon Jan _2 15:04:05.000000 2006", string(m[1]), time.Local); err == nil {
			f.add(&message{at: at, module: m[2], level: m[3], pid: m[4], tid: m[5], client: m[6], text: unescape(m[7])})
			return
		}
	}
	f.add(&message{at: f.now(), text: line})
}

// scripted is a message with the file that it comes from, which mod_wsgi 6 puts in front
// of each line of an application.
var scripted = regexp.MustCompile(`^\[script ([^\]]*)\] (?s:(.*))$`)

// add writes a message, or joins it to the traceback that it continues.
func (f *errorLines) add(m *message) {
	if string(m.module) == "wsgi" && bytes.HasPrefix(m.text, []byte("[script ")) {
		if parts := scripted.FindSubmatch(m.text); parts != nil {
			m.script, m.text = parts[1], parts[2]
		}
	}
	for k, t := range f.open {
		if !t.same(m) {
			continue
		}
		if t.continues(m.text) && len(t.text)+len(m.text) < joinSize {
			t.text = append(append(t.text, '\n'), m.text...)
			t.last = f.now()
			return
		}
		f.open = slices.Delete(f.open, k, k+1)
		f.write(&t.message)
		break
	}
	if t := newTraceback(m, f.now()); t != nil && len(f.open) < joinMost {
		f.open = append(f.open, t)
		return
	}
	f.write(m)
}

func (f *errorLines) write(m *message) { f.to = f.render(f.to, m) }

// jsonMessage appends a message as a JSON object.
func jsonMessage(to []byte, m *message) []byte {
	o := newObject(to)
	o.time(m.at)
	text := func(name string, value []byte) {
		if len(value) > 0 {
			o.text(name, value)
		}
	}
	text("level", m.level)
	text("module", m.module)
	if len(m.pid) > 0 {
		o.number("pid", m.pid)
	}
	if len(m.tid) > 0 {
		o.number("tid", m.tid)
	}
	if k := bytes.LastIndexByte(m.client, ':'); k > 0 {
		o.text("remote_addr", m.client[:k])
		o.number("remote_port", m.client[k+1:])
	}
	text("request_id", m.id)
	text("server_name", m.server)
	text("source", m.source)
	text("error", m.cause)
	text("script", m.script)
	o.text("message", m.text)
	if m.cut {
		o.name("truncated")
		o.b = append(o.b, "true"...)
	}
	text("referer", m.referer)
	return o.end()
}

// ErrorObject returns a message of a program other than httpd as a line of a JSON error log.
func ErrorObject(at time.Time, level, module string, pid int, text string) []byte {
	return jsonMessage(nil, &message{at: at, level: []byte(level), module: []byte(module), pid: strconv.AppendInt(nil, int64(pid), 10), text: []byte(text)})
}
