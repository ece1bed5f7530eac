package fetch

import (
	"net/url"
	"path"
	"slices"
	"strings"

	"modwsgi/internal/recipe"
)

// spellings returns the usual file names of an archive: the recipe's, Debian's,
// upstream's in the address, and the variants of the package index (PEP 625 normalizes
// "mod-wsgi" to "mod_wsgi", older files are not normalized).
func spellings(a recipe.Archive) []string {
	names := []string{a.File}
	if a.Debian != nil {
		names = append(names, a.Debian.File)
	}
	for _, raw := range a.URLs {
		if u, err := url.Parse(raw); err == nil {
			// "5.0.2.tar.gz" could be any project's.
			if name := path.Base(u.Path); recipe.FileName(name) && !startsWithDigit(name) {
				names = append(names, name)
			}
		}
	}
	ext := extension(a.File)
	for _, component := range []string{a.Component, strings.ReplaceAll(a.Component, "_", "-"), strings.ReplaceAll(a.Component, "-", "_")} {
		names = append(names, component+"-"+a.Version+ext, component+"_"+a.Version+".orig"+ext)
	}
	var out []string
	for _, n := range names {
		if !slices.Contains(out, n) {
			out = append(out, n)
		}
	}
	return out
}

func startsWithDigit(s string) bool { return s != "" && s[0] >= '0' && s[0] <= '9' }

func extension(file string) string {
	for _, ext := range []string{".tar.gz", ".tar.bz2", ".tar.xz", ".tgz", ".zip"} {
		if strings.HasSuffix(file, ext) {
			return ext
		}
	}
	return path.Ext(file)
}

// addresses returns where the archive may be: on the user's mirrors, flat or by
// component, then at the recipe's own addresses.
func (f *Fetcher) addresses(a recipe.Archive) []*url.URL {
	var out []*url.URL
	for _, m := range f.mirrors {
		out = append(out, m.JoinPath(a.File), m.JoinPath(a.Component, a.File))
	}
	for _, raw := range a.URLs {
		if u, err := url.Parse(raw); err == nil {
			out = append(out, u)
		}
	}
	return out
}
