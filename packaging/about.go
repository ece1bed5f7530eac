package packaging

import (
	"slices"
	"strconv"
	"strings"

	"modwsgi/internal/pydist"
)

// The systems that a distribution is for, as classifiers.
const (
	OnLinux   = "Operating System :: POSIX :: Linux"
	OnMacOS   = "Operating System :: MacOS"
	OnWindows = "Operating System :: Microsoft :: Windows"
)

// Packaged is the part of a description that separates upstream's work from modwsgi's.
const Packaged = "modwsgi built it from upstream's unchanged sources. The programs mod_wsgi-express and mod_wsgi-apxs are modwsgi's:\n" +
	"report problems with them and with the packaging to the publisher of this package, not to upstream.\n"

// Classifiers of every server for WSGI, from the list that package indexes accept
// (https://pypi.org/classifiers/). A package index refuses a file with any other.
var serverClassifiers = []string{
	"Environment :: Web Environment",
	"Intended Audience :: System Administrators",
	"Programming Language :: Python :: Implementation :: CPython",
	"Topic :: Internet :: WWW/HTTP :: HTTP Servers",
}

// newestClassified is the newest minor version of Python 3 that has a classifier.
const newestClassified = 15

// DescribeModule sets what upstream's setup.py says of mod_wsgi: author, addresses,
// keywords and classifiers, for a system (OnLinux or OnWindows) and a minor version of
// Python, "" for all. The tracker is left out, because the launcher in these
// distributions is not upstream's.
func DescribeModule(d *pydist.Dist, system, python string) {
	d.Author, d.HomePage = "Graham Dumpleton", "https://www.modwsgi.org/"
	d.URLs = [][2]string{
		{"Homepage", "https://www.modwsgi.org/"},
		{"Documentation", "https://modwsgi.readthedocs.io/"},
		{"Source", "https://github.com/GrahamDumpleton/mod_wsgi"},
	}
	d.Keywords = []string{"mod_wsgi", "wsgi", "apache", "httpd"}
	d.Classifiers = classifiers(d, "Development Status :: 6 - Mature", "Topic :: Internet :: WWW/HTTP :: WSGI :: Server", system, pythonClassifier(python))
}

// DescribeHTTPD does the same for a distribution of httpd.
func DescribeHTTPD(d *pydist.Dist) {
	d.Author, d.HomePage = "The Apache Software Foundation", "https://httpd.apache.org/"
	d.URLs = [][2]string{
		{"Homepage", "https://httpd.apache.org/"}, {"Documentation", "https://httpd.apache.org/docs/2.4/"}, {"Source", "https://github.com/apache/httpd"},
	}
	d.Keywords = []string{"apache", "httpd", "mod_wsgi"}
	d.Classifiers = classifiers(d, "Development Status :: 6 - Mature", "Programming Language :: C", OnLinux, pythonClassifier(""))
}

// DescribeTools does the same for a distribution of modwsgi's own programs. repository
// is the address of the source repository, "" if it is unknown.
func DescribeTools(d *pydist.Dist, repository string) {
	d.Keywords = []string{"mod_wsgi", "wsgi", "apache", "httpd", "deployment"}
	if strings.HasPrefix(repository, "https://") {
		d.HomePage = repository
		d.URLs = [][2]string{{"Homepage", repository}, {"Source", repository}}
	}
	d.Classifiers = classifiers(d,
		"Environment :: Console", "Topic :: Internet :: WWW/HTTP :: WSGI :: Server",
		"Topic :: Software Development :: Build Tools", "Topic :: System :: Installation/Setup",
		OnLinux, OnMacOS, OnWindows, pythonClassifier(""))
}

// pythonClassifier names a minor version of Python, or Python 3 if it is "" or newer than
// all that have a classifier.
func pythonClassifier(minor string) string {
	const language = "Programming Language :: Python :: "
	if n, err := strconv.Atoi(strings.TrimPrefix(minor, "3.")); err == nil && n <= newestClassified {
		return language + minor
	}
	return language + "3"
}

// licenceClassifiers are the classifiers of SPDX identifiers. Identifiers without one
// have none in the list either, or a less exact one.
var licenceClassifiers = map[string]string{
	"Apache-2.0":   "License :: OSI Approved :: Apache Software License",
	"BSD-3-Clause": "License :: OSI Approved :: BSD License",
	"MIT":          "License :: OSI Approved :: MIT License",
	"PSF-2.0":      "License :: OSI Approved :: Python Software Foundation License",
	"Zlib":         "License :: OSI Approved :: zlib/libpng License",
}

// classifiers returns those of all servers and more, sorted, with those of the licences.
// A licence expression replaces the latter (PEP 639).
func classifiers(d *pydist.Dist, more ...string) []string {
	all := append(slices.Clone(serverClassifiers), more...)
	for _, word := range strings.FieldsFunc(d.License, func(r rune) bool { return strings.ContainsRune(" ()", r) }) {
		if c := licenceClassifiers[word]; c != "" {
			all = append(all, c)
		}
	}
	slices.Sort(all)
	return slices.Compact(all)
}
