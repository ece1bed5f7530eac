//go:build unix

package host

import (
	"bytes"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"modwsgi/internal/owned"
)

// facts are the system's information about a process.
type facts struct {
	uids []int    // real, effective and saved user IDs, as far as known
	exe  string   // path of its program; "" if it cannot be determined
	args []string // its command line
	same bool     // its program is the same file as the instance's httpd
}

// isHTTPD reports whether a process is the httpd of this instance: it runs as the
// current user (or as the application's account if root uses debug mode), it runs the
// instance's program, and it uses the configuration of this server root.
func (h *HTTPD) isHTTPD(f facts) bool {
	mine := func(uid int) bool {
		return uid == os.Geteuid() || AsRoot() && h.UID != 0 && uid == h.UID && slices.Contains(h.Args, "-DONE_PROCESS")
	}
	return !slices.ContainsFunc(f.uids, func(uid int) bool { return !mine(uid) }) &&
		configuration(f.args) != "" && configuration(f.args) == configuration(append([]string{""}, h.Args...)) &&
		(f.exe == "" || f.same || h.isProgram(f.exe))
}

// configuration returns the configuration file named in a command line of httpd.
func configuration(args []string) string {
	for k := 1; k+1 < len(args); k++ {
		if args[k] == "-f" {
			return args[k+1]
		}
	}
	return ""
}

// isProgram reports whether a path is that of the instance's httpd, even if it was
// replaced or removed after the start. If a script starts it, or the environment has
// moved since, isProgram compares only the name.
func (h *HTTPD) isProgram(exe string) bool {
	exe = strings.TrimSuffix(exe, " (deleted)")
	real, err := filepath.EvalSymlinks(h.Program)
	if exe == h.Program || err == nil && exe == real {
		return true
	}
	if err == nil && !isScript(real) {
		return false
	}
	name := filepath.Base(exe)
	return name == filepath.Base(h.Program) || strings.HasPrefix(name, "httpd") || strings.HasPrefix(name, "apache2")
}

// isScript reports whether a program is a script that other users cannot change.
func isScript(path string) bool {
	f, err := owned.OpenFile(path)
	if err != nil {
		return false
	}
	defer func() { _ = f.Close() }()
	head := make([]byte, 2)
	n, _ := f.Read(head)
	return bytes.Equal(head[:n], []byte("#!"))
}
