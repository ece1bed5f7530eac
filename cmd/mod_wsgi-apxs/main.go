// Command mod_wsgi-apxs answers "apxs -q" for the httpd in the Python environment that
// it is installed in; see internal/apxs.
package main

import (
	"fmt"
	"os"
	"path/filepath"

	"modwsgi/internal/apxs"
	"modwsgi/internal/run"
	"modwsgi/internal/version"
)

func main() {
	if len(os.Args) == 2 && os.Args[1] == "--version" {
		if _, err := fmt.Println("mod_wsgi-apxs", version.String()); err != nil {
			os.Exit(1)
		}
		return
	}
	var programs []string
	// The name that the program was called by keeps symbolic links, which may be in
	// the environment while the file is not. The kernel reports the file itself.
	if called, err := run.LookPath(os.Args[0], os.Environ()); err == nil {
		if path, err := filepath.Abs(called); err == nil {
			programs = append(programs, path)
		}
	}
	if file, err := os.Executable(); err == nil {
		programs = append(programs, file)
	}
	os.Exit(apxs.Main(os.Args[1:], programs, os.Stdout, os.Stderr))
}
