package express

import "unsafe"

// blank overwrites a word of the process's own command line. The strings of
// os.Args are that memory itself, which is what proc(5) shows; no other string
// may be given.
func blank(word string) {
	if word == "" {
		return
	}
	b := unsafe.Slice(unsafe.StringData(word), len(word))
	for k := range b {
		b[k] = '*'
	}
}
