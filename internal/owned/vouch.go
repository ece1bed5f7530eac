package owned

import (
	"path/filepath"
	"strings"
)

// TrustedVariable is the environment variable with directories that the user
// vouches for, separated as in PATH. A container in which nobody else runs
// anything often has a workspace that belongs to somebody else or that everybody may
// write to; nothing on the machine itself shows that this does no harm.
const TrustedVariable = "MODWSGI_TRUSTED_DIRECTORIES"

// vouched are the resolved directories of [Vouch].
var vouched []string

// Vouch takes the directories of a list, separated as in PATH, and everything on the
// way to them for trusted. What lies below them is judged as ever. It is called once,
// before anything else of this package; relative paths and paths that do not exist
// are returned.
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

// trustedByUser reports whether a directory is one of those of Vouch or lies on the
// way to one.
func trustedByUser(dir string) bool {
	for _, v := range vouched {
		if v == dir || dir == "/" || strings.HasPrefix(v, dir+string(filepath.Separator)) {
			return true
		}
	}
	return false
}
