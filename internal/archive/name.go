package archive

import (
	"fmt"
	"path"
	"path/filepath"
	"strings"
	"unicode"
	"unicode/utf8"
)

// cleanName returns the name of an entry with slashes and without "." elements ("." for
// the top directory), or why it is refused.
func cleanName(name string, l Limits) (clean, reason string) {
	if reason := badText(name); reason != "" {
		return "", reason
	}
	switch {
	case len(name) > l.MaxPathLen:
		return "", fmt.Sprintf("its name is longer than %d bytes", l.MaxPathLen)
	case strings.HasPrefix(name, "/"):
		return "", "its name is absolute"
	}
	for element := range strings.SplitSeq(name, "/") {
		if element == ".." {
			return "", `its name contains ".."`
		}
		if len(element) > maxElement {
			return "", fmt.Sprintf("an element of its name is longer than %d bytes", maxElement)
		}
	}
	clean = path.Clean(name)
	if strings.Count(clean, "/")+1 > l.MaxDepth {
		return "", fmt.Sprintf("its name has more than %d elements", l.MaxDepth)
	}
	// On Windows this also refuses reserved names (NUL, COM1) and streams.
	if !filepath.IsLocal(filepath.FromSlash(clean)) {
		return "", "its name is not a local path"
	}
	return clean, ""
}

// badText returns why a name or a link target cannot be a path on every system, or "".
func badText(s string) string {
	switch {
	case s == "":
		return "its name is empty"
	case !utf8.ValidString(s):
		return "its name is not UTF-8"
	case strings.ContainsRune(s, '\\'):
		return "its name contains a backslash"
	case len(s) > 1 && s[1] == ':' && isLetter(s[0]):
		return "its name starts with a drive letter"
	}
	for _, r := range s {
		// Cf includes the bidirectional overrides, which can make a name in a message
		// look like another one.
		if unicode.IsControl(r) || unicode.Is(unicode.Cf, r) {
			return fmt.Sprintf("its name contains the control character %U", r)
		}
	}
	return ""
}

func isLetter(b byte) bool { return 'a' <= b|0x20 && b|0x20 <= 'z' }

// strip removes n leading elements of a clean name. ok is false if none is left.
func strip(clean string, n int) (rest string, ok bool) {
	for range n {
		_, clean, ok = strings.Cut(clean, "/")
		if !ok {
			return "", false
		}
	}
	return clean, true
}
