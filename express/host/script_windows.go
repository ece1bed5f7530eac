package host

import (
	"fmt"
	"strings"
)

// ControlFile is the name of the script in a server root that controls its httpd.
const ControlFile = "apachectl.cmd"

// ShellWord quotes a path for the user's shell.
func ShellWord(s string) string { return `"` + s + `"` }

// ControlStub returns the contents of ControlFile.
func ControlStub(launcher, root string) []byte {
	quote := func(s string) string { return `"` + strings.ReplaceAll(s, "%", "%%") + `"` }
	// Select UTF-8 explicitly, because the paths may contain any characters.
	return fmt.Appendf(nil, "@echo off\r\nchcp 65001 >nul\r\n%s apachectl %s %%*\r\n", quote(launcher), quote(root))
}
