package httpdbuild

import (
	"slices"
	"strings"

	"modwsgi/internal/distro"
	"modwsgi/internal/fault"
)

// Feature is an optional part of httpd that needs a library of the host.
type Feature struct {
	Name    string // its name for --with
	About   string
	Default bool     // built by default if the host has the headers
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
		Name: "tls", About: "HTTPS (mod_ssl) from the host's OpenSSL", Default: true,
		Headers: []string{"openssl/ssl.h", "openssl/evp.h"}, Libs: []string{"-lssl", "-lcrypto"},
		Modules: []string{"mod_ssl"}, on: []string{"--enable-ssl"}, off: []string{"--disable-ssl"},
		Package: distro.OpenSSL,
	},
	{
		Name: "http2", About: "HTTP/2 (mod_http2) from the host's nghttp2",
		Headers: []string{"nghttp2/nghttp2.h"}, Libs: []string{"-lnghttp2"},
		Modules: []string{"mod_http2", "mod_proxy_http2"},
		on:      []string{"--enable-http2", "--enable-proxy-http2"}, off: []string{"--disable-http2", "--disable-proxy-http2"},
		Package: distro.NGHTTP2,
	},
	{
		Name: "deflate", About: "gzip compression (mod_deflate) from the host's zlib", Default: true,
		Headers: []string{"zlib.h"}, Libs: []string{"-lz"},
		Modules: []string{"mod_deflate"}, on: []string{"--enable-deflate"}, off: []string{"--disable-deflate"},
		Package: distro.Zlib,
	},
	{
		Name: "brotli", About: "Brotli compression (mod_brotli) from the host's library",
		Headers: []string{"brotli/encode.h"}, Libs: []string{"-lbrotlienc"},
		Modules: []string{"mod_brotli"}, on: []string{"--enable-brotli"}, off: []string{"--disable-brotli"},
		Package: distro.Brotli,
	},
	{
		Name: "xml", About: "rewriting of proxied HTML (mod_proxy_html, mod_xml2enc) from the host's libxml2",
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

// Select decides which features to build on a host. Requested ones must be possible;
// defaults are built if they are. The result is sorted.
func (h *Host) Select(with, without []string) ([]string, error) {
	if err := CheckNames(with, without); err != nil {
		return nil, err
	}
	var chosen []string
	for _, f := range features {
		asked := slices.Contains(with, f.Name)
		switch {
		case slices.Contains(without, f.Name):
		case asked && !h.Has[f.Name]:
			return nil, fault.New(fault.Environment, h.Install("", f.Package, "or leave out --with "+f.Name),
				"cannot build feature %q: the compiler does not find %s or the linker does not find %s",
				f.Name, strings.Join(f.Headers, ", "), strings.Join(f.Libs, " "))
		case asked || f.Default && h.Has[f.Name]:
			chosen = append(chosen, f.Name)
		}
	}
	slices.Sort(chosen)
	return slices.Compact(chosen), nil
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
