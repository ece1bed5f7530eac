package owned

import (
	"path/filepath"
	"strings"
)

// TrustedVariable is the environment variable with directories that the user vouches for,
// separated as in PATH. A container in which nobody else runs anything often has a
// workspace that belongs to another user or that everybody may write to. Nothing on the
// machine itself shows that this is harmless.
const TrustedVariable = "MODWSGI_TRUSTED_DIRECTORIES"

// vouched are the resolved directories of [Vouch].
var vouched []string

// Vouch declares the directories of a list, separated as in PATH, and everything on the
// way to them as trusted. Entries below them are judged as usual. It is called once,
// before anything else in this package. It returns relative paths and paths that do not
// exist.
func Vouch(list string) (ignored []string) {
	vouched = nil
	for _, dir := range filepath.SplitList(list) {
		if dir == "" {
			continue
		}
		real, err := filepath.EvalSymlinks(dir)
		if err != nil || !filepath.IsAbs(dir) {
			ignored = append(ignored, dir)
			continue
		}
		vouched = append(vouched, filepath.Clean(real))
	}
	return ignored
}

// trustedByUser reports whether a directory is one of those of Vouch or is on the way to
// one.
func trustedByUser(dir string) bool {
	for _, v := range vouched {
		if v == dir || dir == "/" || strings.HasPrefix(v, dir+string(filepath.Separator)) {
			return true
		}
	}
	return false
}
