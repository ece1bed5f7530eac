// Package licence maps everything that we package to its licence, as an SPDX
// expression. It contains the texts that no tree includes: ours, and those of the
// modules linked into our programs. It does not guess: an unknown licence has to be
// looked up and added here.
package licence

import (
	"embed"
	"fmt"
)

//go:embed texts
var texts embed.FS

// Ours is the licence of this project and of upstream's mod_wsgi.
const Ours = "Apache-2.0"

// sources are the licences of what is built from archives.
var sources = map[string]string{
	"httpd": "Apache-2.0", "apr": "Apache-2.0", "apr-util": "Apache-2.0", "mod_wsgi": "Apache-2.0",
	"pcre2": "BSD-3-Clause", "expat": "MIT", "openssl": "Apache-2.0", "nghttp2": "MIT", "brotli": "MIT", "zlib": "Zlib",
	"libxml2": "MIT", "libxcrypt": "LGPL-2.1-or-later",
	"cpython": "PSF-2.0",
}

// modules are the licences of the Go modules in our programs, and the files with their
// texts.
var modules = map[string][2]string{
	"stdlib":              {"BSD-3-Clause", "Go.txt"},
	"golang.org/x/sys":    {"BSD-3-Clause", "Go.txt"},
	"golang.org/x/term":   {"BSD-3-Clause", "Go.txt"},
	"golang.org/x/sync":   {"BSD-3-Clause", "Go.txt"},
	"golang.org/x/crypto": {"BSD-3-Clause", "Go.txt"},
	"golang.org/x/net":    {"BSD-3-Clause", "Go.txt"},
	"golang.org/x/text":   {"BSD-3-Clause", "Go.txt"},

	"github.com/BurntSushi/toml": {"MIT", "TOML.txt"},
	"github.com/mholt/acmez/v3":  {"Apache-2.0", "Apache-2.0.txt"},
}

// OfSource returns the SPDX expression for a source archive, "" if it is unknown.
func OfSource(component string) string { return sources[component] }

// OfModule returns the SPDX expression and the text for a Go module; "stdlib" is the
// standard library.
func OfModule(path string) (spdx string, text []byte, err error) {
	m, ok := modules[path]
	if !ok {
		return "", nil, fmt.Errorf("unknown licence of the Go module %s", path)
	}
	text, err = texts.ReadFile("texts/" + m[1])
	return m[0], text, err
}

// Text returns our own licence.
func Text() []byte {
	text, err := texts.ReadFile("texts/Apache-2.0.txt")
	if err != nil {
		panic(err) // it is embedded
	}
	return text
}

// CPython returns the licence of the interpreter, which is in a module that was linked
// with a static libpython.
func CPython() []byte {
	text, err := texts.ReadFile("texts/PSF-2.0.txt")
	if err != nil {
		panic(err) // it is embedded
	}
	return text
}
