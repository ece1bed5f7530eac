package express

import (
	"sync"

	"modwsgi/detect"
	"modwsgi/express/site"
)

// RememberPythons has an interpreter's files read only once, until the returned
// function is called: for tests in which these do not change.
func RememberPythons() (forget func()) {
	var known sync.Map
	before := site.IdentifyPython
	site.IdentifyPython = func(exe string) (*detect.Python, error) {
		if py, ok := known.Load(exe); ok {
			return py.(*detect.Python), nil
		}
		py, err := before(exe)
		if err == nil {
			known.Store(exe, py)
		}
		return py, err
	}
	return func() { site.IdentifyPython = before }
}
