package host

import (
	"fmt"
	"strings"
)

// ControlFile is the name of the script of a server root that controls its httpd.
const ControlFile = "apachectl.cmd"

// ShellWord writes a path as one word of the shell that people type into.
func ShellWord(s string) string { return `"` + s + `"` }

// ControlStub is that script.
func ControlStub(launcher, root string) []byte {
	quote := func(s string) string { return `"` + strings.ReplaceAll(s, "%", "%%") + `"` }
	// UTF-8, and said so: the paths may be in any script.
	return fmt.Appendf(nil, "@echo off\r\nchcp 65001 >nul\r\n%s apachectl %s %%*\r\n", quote(launcher), quote(root))
}
