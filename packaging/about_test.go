package packaging

import (
	"slices"
	"strings"
	"testing"

	"modwsgi/internal/pydist"
)

func TestDescribed(t *testing.T) {
	module := func(license, expression, system, python string) *pydist.Dist {
		d := &pydist.Dist{License: license, LicenseExpression: expression}
		DescribeModule(d, system, python)
		return d
	}
	d := module("Apache-2.0 AND BSD-3-Clause AND (MIT OR X)", "", OnWindows, "3.11")
	for _, want := range []string{
		"License :: OSI Approved :: Apache Software License", "License :: OSI Approved :: BSD License", "License :: OSI Approved :: MIT License",
		"Operating System :: Microsoft :: Windows", "Programming Language :: Python :: 3.11", "Topic :: Internet :: WWW/HTTP :: WSGI :: Server",
	} {
		if !slices.Contains(d.Classifiers, want) {
			t.Errorf("%q is missing in %q", want, d.Classifiers)
		}
	}
	if !slices.IsSorted(d.Classifiers) || len(slices.Compact(slices.Clone(d.Classifiers))) != len(d.Classifiers) || d.Author == "" || len(d.URLs) != 3 {
		t.Errorf("%+v", d)
	}
	for python, want := range map[string]string{"3.9": "3.9", "3.15": "3.15", "3.16": "3", "": "3", "x": "3"} {
		if d := module("MIT", "", OnLinux, python); !slices.Contains(d.Classifiers, "Programming Language :: Python :: "+want) {
			t.Errorf("Python %q: %q", python, d.Classifiers)
		}
	}
	if d := module("", "Apache-2.0", OnLinux, "3.11"); slices.ContainsFunc(d.Classifiers, func(c string) bool { return strings.HasPrefix(c, "License ::") }) {
		t.Errorf("classifiers of licences next to a licence expression: %q", d.Classifiers)
	}
	tools := func(repository string) *pydist.Dist {
		d := &pydist.Dist{License: "Apache-2.0"}
		DescribeTools(d, repository)
		return d
	}
	if d := tools("https://example.org/modwsgi"); d.HomePage != "https://example.org/modwsgi" || !slices.Contains(d.URLs, [2]string{"Source", "https://example.org/modwsgi"}) {
		t.Errorf("%+v", d)
	}
	for _, unknown := range []string{"", "git@example.org:modwsgi", "file:///srv/modwsgi"} { // not an address for the readers of an index
		if d := tools(unknown); d.HomePage != "" || len(d.URLs) > 0 || len(d.Classifiers) == 0 {
			t.Errorf("%q: %+v", unknown, d)
		}
	}
}
