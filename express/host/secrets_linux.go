package host

import "unsafe"

// Blank overwrites a word of the process's own command line. The strings of
// os.Args are that memory itself, which is what proc(5) shows; no other string
// may be given.
func Blank(word string) {
	if word == "" {
		return
	}
	b := unsafe.Slice(unsafe.StringData(word), len(word))
	for k := range b {
		b[k] = '*'
	}
}
