package host

import "bytes"

// TextFile returns the contents of a text file with the line ends of this system. The
// text may have either kind.
func TextFile(text []byte) []byte { return withLineEnds(text, !Unix) }

func withLineEnds(text []byte, crlf bool) []byte {
	if !crlf {
		return text
	}
	return bytes.ReplaceAll(bytes.ReplaceAll(text, []byte("\r\n"), []byte("\n")), []byte("\n"), []byte("\r\n"))
}
