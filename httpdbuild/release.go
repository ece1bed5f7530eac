package httpdbuild

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"modwsgi/internal/fault"
)

// releaseHeader names the file that contains a component's version, and the macros or
// variables of its numbers. Without them, the file contains the whole version where
// wholeVersion matches.
var releaseHeader = map[string]struct {
	file    string
	numbers []string
}{
	"httpd":    {"include/ap_release.h", []string{"AP_SERVER_MAJORVERSION_NUMBER", "AP_SERVER_MINORVERSION_NUMBER", "AP_SERVER_PATCHLEVEL_NUMBER"}},
	"apr":      {"include/apr_version.h", []string{"APR_MAJOR_VERSION", "APR_MINOR_VERSION", "APR_PATCH_VERSION"}},
	"apr-util": {"include/apu_version.h", []string{"APU_MAJOR_VERSION", "APU_MINOR_VERSION", "APU_PATCH_VERSION"}},
	"pcre2":    {"src/pcre2.h.generic", []string{"PCRE2_MAJOR", "PCRE2_MINOR"}},
	"expat":    {"expat/lib/expat.h", []string{"XML_MAJOR_VERSION", "XML_MINOR_VERSION", "XML_MICRO_VERSION"}},
	"openssl":  {"VERSION.dat", []string{"MAJOR", "MINOR", "PATCH"}},
	"zlib":     {"zlib.h", []string{"ZLIB_VER_MAJOR", "ZLIB_VER_MINOR", "ZLIB_VER_REVISION"}},
	"brotli":   {"c/common/version.h", []string{"BROTLI_VERSION_MAJOR", "BROTLI_VERSION_MINOR", "BROTLI_VERSION_PATCH"}},
	"libxml2":  {"VERSION", nil},
	"nghttp2":  {"configure", nil},
	crypt:      {"configure.ac", nil},
}

// wholeVersion matches the version in a file that consists of it, and in scripts that
// Autoconf writes or reads.
var wholeVersion = regexp.MustCompile(`(?m)(?:\A|^PACKAGE_VERSION='|^AC_INIT\(\[[^\]]*\],\s*\[)([0-9]+(?:\.[0-9]+)+)`)

var leadingNumbers = regexp.MustCompile(`^[0-9]+(\.[0-9]+)*`)

// checkRelease compares the version in the unpacked sources with the requested one.
// Advisories are matched by that version, so sources of a vulnerable release under
// another number would escape them. Sources without the header are not judged here, as
// nothing can be compiled from them.
func checkRelease(c Component, dir string) error {
	header, known := releaseHeader[c.Name]
	if !known {
		return nil
	}
	data, err := os.ReadFile(filepath.Join(dir, filepath.FromSlash(header.file)))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	found := make([]string, 0, len(header.numbers))
	if len(header.numbers) == 0 {
		m := wholeVersion.FindSubmatch(data)
		if m == nil {
			return nil
		}
		found = strings.Split(string(m[1]), ".")
	}
	for _, name := range header.numbers {
		m := regexp.MustCompile(`(?m)^(?:[ \t]*#[ \t]*define[ \t]+` + name + `[ \t]+|` + name + `=)([0-9]+)`).FindSubmatch(data)
		if m == nil {
			return nil // a later release may write it differently
		}
		found = append(found, string(m[1]))
	}
	if want := strings.Split(leadingNumbers.FindString(c.Version), "."); !slices.Equal(found, want) {
		return fault.New(fault.Source, "get upstream's source archive of that version, and correct the version in the lock file if it came from there",
			"the archive contains %s %s, not %s", c.Name, strings.Join(found, "."), c.Version)
	}
	return nil
}
