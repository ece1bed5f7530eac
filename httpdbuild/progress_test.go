package httpdbuild

import (
	"bytes"
	"slices"
	"testing"

	"modwsgi/internal/event"
)

func TestProgressReportsFilesAndChecks(t *testing.T) {
	var log bytes.Buffer
	var told []string
	p := &progress{log: &log, step: "compile x", events: func(e event.Event) {
		if e.Kind != event.Progress || e.Step != "compile x" {
			t.Errorf("event %+v", e)
		}
		told = append(told, e.Text)
	}}
	text := "/w/libtool --silent --mode=compile cc -O2 -prefer-pic -c mod_alias.c && touch mod_alias.slo\n" +
		"  CC       src/libpcre2_8_la-pcre2_auto.lo\n" +
		"libtool --mode=compile cc -I./include -o passwd/apr_getpass.lo -c passwd/apr_getpass.c && touch x\n" +
		"make[1]: Entering directory '/w/httpd'\n" +
		"checking for gcc option to accept ISO C99... none needed\n" +
		"a line without an end -c late.c"
	for _, part := range []string{text[:30], text[30:31], text[31:]} { // lines arrive in pieces
		if n, err := p.Write([]byte(part)); err != nil || n != len(part) {
			t.Fatal(n, err)
		}
	}
	want := []string{"mod_alias.c (file 1)", "libpcre2_8_la-pcre2_auto.lo (file 2)", "apr_getpass.c (file 3)", "checking for gcc option to accept ISO C99"}
	if !slices.Equal(told, want) {
		t.Errorf("told %q, want %q", told, want)
	}
	if log.String() != text {
		t.Errorf("the log has %q", log.String())
	}
	if _, err := p.Write(bytes.Repeat([]byte("x"), 1<<20)); err != nil || len(p.line) > maxLine+1<<20 {
		t.Errorf("a line without an end: %d bytes kept, %v", len(p.line), err)
	}
}
