package windows

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"

	"modwsgi/internal/pe"
)

var copyright = regexp.MustCompile(`(?m)^[ *]*(Copyright [0-9][^\r\n]*[^\r\n ])[ ]*$`)

// describe writes the module's version into it, where Windows shows it. The text about
// rights is that of the sources.
func (b *builder) describe() error {
	rights := ""
	if source, err := os.ReadFile(b.dir("mod_wsgi", filepath.FromSlash("src/server/mod_wsgi.c"))); err == nil {
		if m := copyright.FindSubmatch(source); m != nil {
			rights = string(m[1])
		}
	}
	data, err := os.ReadFile(b.made())
	if err != nil {
		return err
	}
	data, err = pe.AddResources(data, pe.Version{
		File: b.Module.Version, Product: b.Module.Version, Library: true, Strings: [][2]string{
			{"CompanyName", "mod_wsgi project"},
			{"ProductName", "mod_wsgi"},
			{"FileDescription", "mod_wsgi for Apache 2.4 and Python " + b.Python},
			{"InternalName", "mod_wsgi"},
			{"OriginalFilename", b.name},
			{"LegalCopyright", rights},
			{"Comments", fmt.Sprintf("Built by modwsgi with the headers of httpd %s and Python %s", b.httpd.version, b.python.version)},
		},
	}, "")
	if err != nil {
		return fmt.Errorf("write the version into %s: %w", b.name, err)
	}
	return os.WriteFile(b.made(), data, 0o755)
}
