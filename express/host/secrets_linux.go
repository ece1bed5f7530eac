package host

import "unsafe"

// Blank overwrites a word of the process's command line, as shown by proc(5). The word
// must be an element of os.Args, whose strings share that memory.
func Blank(word string) {
	if word == "" {
		return
	}
	b := unsafe.Slice(unsafe.StringData(word), len(word))
	for k := range b {
		b[k] = '*'
	}
}
