package httpdbuild

import (
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	"modwsgi/internal/distro"
	"modwsgi/internal/fault"
	"modwsgi/internal/toolchain"
)

// Feature is an optional part of httpd that needs a library, of the host or built from
// source.
type Feature struct {
	Name    string // its name for --with
	About   string
	Default bool     // built unless it is excluded
	Headers []string // headers that the compiler must find
	Libs    []string // libraries that the linker must find, as -l flags
	// Modules are the files (without .so) that must exist in the result.
	Modules []string
	on, off []string        // arguments of httpd's configure
	Package distro.Packages // packages with the headers
}

// features is the table of all features. Modules that need nothing from the host are
// always built.
var features = []Feature{
	{
		Name: "tls", About: "HTTPS (mod_ssl), with OpenSSL", Default: true,
		Headers: []string{"openssl/ssl.h", "openssl/evp.h"}, Libs: []string{"-lssl", "-lcrypto"},
		Modules: []string{"mod_ssl"}, on: []string{"--enable-ssl"}, off: []string{"--disable-ssl"},
		Package: distro.OpenSSL,
	},
	{
		Name: "http2", About: "HTTP/2 (mod_http2), with nghttp2",
		Headers: []string{"nghttp2/nghttp2.h"}, Libs: []string{"-lnghttp2"},
		Modules: []string{"mod_http2", "mod_proxy_http2"},
		on:      []string{"--enable-http2", "--enable-proxy-http2"}, off: []string{"--disable-http2", "--disable-proxy-http2"},
		Package: distro.NGHTTP2,
	},
	{
		Name: "deflate", About: "gzip compression (mod_deflate), with zlib", Default: true,
		Headers: []string{"zlib.h"}, Libs: []string{"-lz"},
		Modules: []string{"mod_deflate"}, on: []string{"--enable-deflate"}, off: []string{"--disable-deflate"},
		Package: distro.Zlib,
	},
	{
		Name: "brotli", About: "Brotli compression (mod_brotli)",
		Headers: []string{"brotli/encode.h"}, Libs: []string{"-lbrotlienc"},
		Modules: []string{"mod_brotli"}, on: []string{"--enable-brotli"}, off: []string{"--disable-brotli"},
		Package: distro.Brotli,
	},
	{
		Name: "xml", About: "rewriting of proxied HTML (mod_proxy_html, mod_xml2enc), with libxml2",
		Headers: []string{"libxml2/libxml/parser.h"}, Libs: []string{"-lxml2"},
		Modules: []string{"mod_proxy_html", "mod_xml2enc"},
		on:      []string{"--enable-proxy-html", "--enable-xml2enc"}, off: []string{"--disable-proxy-html", "--disable-xml2enc"},
		Package: distro.LibXML2,
	},
}

// Features returns the table, in its documented order.
func Features() []Feature { return slices.Clone(features) }

// feature finds a row by name.
func feature(name string) (Feature, bool) {
	for _, f := range features {
		if f.Name == name {
			return f, true
		}
	}
	return Feature{}, false
}

// CheckNames refuses names that --with and --without do not know, and those in both.
func CheckNames(with, without []string) error {
	for _, name := range slices.Concat(with, without) {
		if _, ok := feature(name); !ok {
			var names []string
			for _, f := range features {
				names = append(names, f.Name)
			}
			return fault.New(fault.Usage, "use one of: "+strings.Join(names, ", "), "unknown feature %q", name)
		}
		if slices.Contains(with, name) && slices.Contains(without, name) {
			return fault.New(fault.Usage, "leave one of them out", "feature %q is both in --with and in --without", name)
		}
	}
	return nil
}

// Absent returns an error about the requested features whose headers are in none of the
// usual directories. It is for a host without a compiler, which Select cannot ask.
func Absent(with []string) error {
	var lacking []Feature
	for _, f := range features {
		absent := func(header string) bool {
			for _, pattern := range []string{"/usr/include/", "/usr/include/*-linux-*/", "/usr/local/include/"} {
				if found, _ := filepath.Glob(pattern + header); len(found) > 0 {
					return false
				}
			}
			return true
		}
		if slices.Contains(with, f.Name) && slices.ContainsFunc(f.Headers, absent) {
			lacking = append(lacking, f)
		}
	}
	return cannotBuild(&toolchain.Toolchain{Family: distro.Family()}, lacking, "%[2]s was not found")
}

// cannotBuild returns one error about all features that the host lacks something for,
// or nil. why has the headers and libraries as its second and third argument.
func cannotBuild(tools *toolchain.Toolchain, lacking []Feature, why string) error {
	if len(lacking) == 0 {
		return nil
	}
	var names, reasons []string
	var packages []distro.Packages
	for _, f := range lacking {
		names, packages = append(names, f.Name), append(packages, f.Package)
		reasons = append(reasons, fmt.Sprintf("cannot build feature %[1]q: "+why,
			f.Name, strings.Join(f.Headers, ", "), strings.Join(f.Libs, " ")))
	}
	all := distro.Together(packages...)
	return tools.Needing(fault.New(fault.Environment, tools.Install("", all, "or leave out --with "+strings.Join(names, ",")),
		"%s", strings.Join(reasons, "; ")), all)
}

// has reports whether a missing header, as the compiler names it, belongs to a
// feature.
func (f Feature) has(header string) bool {
	for _, h := range f.Headers {
		if h == header || strings.HasSuffix(h, "/"+header) {
			return true
		}
	}
	// It is another header of the same library if its directory matches.
	dir, _, ok := strings.Cut(header, "/")
	for _, h := range f.Headers {
		if ok && (strings.HasPrefix(h, dir+"/") || strings.Contains(h, "/"+dir+"/")) {
			return true
		}
	}
	return false
}
