package place

import (
	"errors"
	"io/fs"
)

// changeHint returns what to do about a path that could not be changed.
func changeHint(path string, err error) string {
	if errors.Is(err, fs.ErrPermission) {
		return "end the programs that use " + path + ", or install into an environment that you own"
	}
	return ""
}
