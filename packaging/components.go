package packaging

import (
	"debug/buildinfo"
	"slices"
	"strings"

	"modwsgi/internal/fault"
)

// How scanners find a component.
//
// Scanners compare package URLs with advisories of an ecosystem (PyPI, Go, a Linux
// distribution), and CPEs with the National Vulnerability Database. Releases of C
// projects have no ecosystem, so that only their CPE is ever compared. It has to be the
// vendor and the product of the database, which no rule derives from the project's name.
//
// A library that was copied from a distribution has no CPE. Its distribution mends
// vulnerabilities without changing upstream's version, so that a comparison with
// upstream's versions would report what is mended and miss what the distribution broke.
// Its package URL names the distribution and the source package, which the
// distribution's advisories are about.

// identity is how databases name a component that is built from source.
type identity struct {
	purl string   // type, namespace and name of the package URL
	cpes []string // vendor and product, the current one first: the database lists older vulnerabilities under older names
}

// identities lists the names of components that differ from "pkg:generic/NAME", and
// their CPEs (https://nvd.nist.gov/products/cpe).
var identities = map[string]identity{
	"httpd":     {"generic/httpd", []string{"apache:http_server"}},
	"apr":       {"generic/apr", []string{"apache:portable_runtime", "apache:apr"}},
	"apr-util":  {"generic/apr-util", []string{"apache:portable_runtime_utility", "apache:apr-util"}},
	"pcre2":     {"generic/pcre2", []string{"pcre:pcre2"}},
	"expat":     {"generic/expat", []string{"libexpat_project:libexpat"}},
	"openssl":   {"generic/openssl", []string{"openssl:openssl"}},
	"nghttp2":   {"generic/nghttp2", []string{"nghttp2:nghttp2"}},
	"brotli":    {"generic/brotli", []string{"google:brotli"}},
	"zlib":      {"generic/zlib", []string{"zlib:zlib"}},
	"libxml2":   {"generic/libxml2", []string{"xmlsoft:libxml2"}},
	"libxcrypt": {"generic/libxcrypt", nil}, // the database has no product of that name
	"cpython":   {"generic/python", []string{"python:python"}},
	"mod_wsgi":  {"pypi/mod-wsgi", []string{"modwsgi:mod_wsgi"}},
	stdlib:      {"golang/" + stdlib, []string{"golang:go"}},
}

// stdlib is the name of Go's standard library in vulnerability databases.
const stdlib = "stdlib"

// Identify fills in the package URL and the CPEs of a component that is built from
// source, by its name and version.
func (c *Component) Identify() {
	known := identities[c.Name]
	if known.purl == "" {
		known.purl = "generic/" + c.Name
	}
	var qualifiers [][2]string
	if c.SHA256 != "" && c.Kind != FromHost {
		qualifiers = append(qualifiers, [2]string{"checksum", "sha256:" + c.SHA256})
	}
	if len(c.Features) > 0 {
		qualifiers = append(qualifiers, [2]string{"features", strings.Join(slices.Sorted(slices.Values(c.Features)), ",")})
	}
	c.PURL, c.CPEs = PackageURL(known.purl, c.Version, qualifiers...), nil
	for _, product := range known.cpes {
		c.CPEs = append(c.CPEs, cpe(product, c.Version))
	}
}

// PackageURL returns a package URL (https://github.com/package-url/purl-spec) of type,
// namespace and name, all separated by slashes, and a version. Qualifiers without a value
// are left out; the others must be sorted by key.
func PackageURL(name, version string, qualifiers ...[2]string) string {
	url, separator := "pkg:"+escapePURL.Replace(name), "?"
	if version != "" {
		url += "@" + escapePURL.Replace(version)
	}
	for _, q := range qualifiers {
		if q[1] != "" {
			url += separator + q[0] + "=" + escapeQualifier.Replace(q[1])
			separator = "&"
		}
	}
	return url
}

// Names and versions consist of letters, digits and "-._~", and these. A colon may stay as
// it is in the value of a qualifier.
var (
	escapePURL      = strings.NewReplacer("%", "%25", "+", "%2B", ":", "%3A", "^", "%5E", "@", "%40", "?", "%3F", "#", "%23", " ", "%20")
	escapeQualifier = strings.NewReplacer("%", "%25", "+", "%2B", "^", "%5E", "@", "%40", "?", "%3F", "#", "%23", " ", "%20", "&", "%26", ",", "%2C", "/", "%2F")
)

// cpe returns a CPE of an application as a formatted string (NIST IR 7695, 6.2), which
// escapes everything in a version but letters, digits and "_".
func cpe(product, version string) string {
	var b strings.Builder
	for _, r := range version {
		if !strings.ContainsRune("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-", r) {
			b.WriteByte('\\')
		}
		b.WriteRune(r)
	}
	if version == "" {
		b.WriteByte('*')
	}
	return "cpe:2.3:a:" + product + ":" + b.String() + ":*:*:*:*:*:*:*"
}

// ProgramComponents returns the components of one of our programs: this project, Go's
// standard library and the linked modules, as the linker recorded them. It returns an
// error for a file that is not a Go program.
func ProgramComponents(name string) ([]Component, error) {
	info, err := buildinfo.ReadFile(name)
	if err != nil {
		return nil, fault.New(fault.Environment, "use the programs of a single release of modwsgi", "read the components of %s: %w", name, err)
	}
	all := []Component{GoModule(stdlib, strings.TrimPrefix(strings.Fields(info.GoVersion + " ")[0], "go"), "")}
	for _, m := range info.Deps {
		if m.Replace != nil {
			m = m.Replace
		}
		all = append(all, GoModule(m.Path, m.Version, m.Sum))
	}
	return all, nil
}

// GoModule describes a Go module that is linked into a program; "stdlib" is the standard
// library, whose version has no "v". The sum may be "".
func GoModule(path, version, sum string) Component {
	c := Component{Kind: FromModules, Name: path, Version: version, Sum: sum, PURL: PackageURL("golang/"+path, version)}
	if path == stdlib {
		c.Identify()
	}
	return c
}

// SourceComponent describes a component that was built from an archive.
func SourceComponent(name, version, license, sha256 string) Component {
	c := Component{Kind: FromSource, Name: name, Version: version, License: license, SHA256: sha256}
	c.Identify()
	return c
}

// Interpreter describes a CPython that was copied from the build host.
func Interpreter(version string) Component {
	c := Component{Kind: FromHost, Name: "cpython", Version: version, License: "PSF-2.0"}
	c.Identify()
	return c
}

// WithFeatures records in the httpd among the components which httpd features it has.
// They are a part of its package URL: the same release without one of them is affected by
// fewer vulnerabilities.
func WithFeatures(all []Component, features []string) []Component {
	all = slices.Clone(all)
	for i := range all {
		if all[i].Kind == FromSource && all[i].Name == "httpd" {
			all[i].Features = features
			all[i].Identify()
		}
	}
	return all
}
