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

// facts are what the system tells about a process.
type facts struct {
	uids []int    // real, effective and saved user, as far as known
	exe  string   // path of its program; "" where we may not know it
	args []string // its command line
	same bool     // its program is the file of the instance's httpd
}

// isHTTPD reports whether a process is the httpd of this instance: it runs as us
// (as root in debug mode, as the application's account), from the instance's
// program, and with the configuration of this server root.
func (h *HTTPD) isHTTPD(f facts) bool {
	mine := func(uid int) bool {
		return uid == os.Geteuid() || AsRoot() && h.UID != 0 && uid == h.UID && slices.Contains(h.Args, "-DONE_PROCESS")
	}
	return !slices.ContainsFunc(f.uids, func(uid int) bool { return !mine(uid) }) &&
		configuration(f.args) != "" && configuration(f.args) == configuration(append([]string{""}, h.Args...)) &&
		(f.exe == "" || f.same || h.isProgram(f.exe))
}

// configuration is the file that a command line of httpd names.
func configuration(args []string) string {
	for k := 1; k+1 < len(args); k++ {
		if args[k] == "-f" {
			return args[k+1]
		}
	}
	return ""
}

// isProgram reports whether a path is that of the instance's httpd. It may have
// been replaced or removed since it was started. Where a script starts it, or the
// environment is somewhere else by now, the name has to do.
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

// isScript reports whether a program is a script that nobody else can change.
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
