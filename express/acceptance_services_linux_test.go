//go:build acceptance

package express_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestServiceThatEnds: a script runs as __main__. If it ends at once, the log reports
// how, how often, and the pause before its restart. A stop of the server is not
// reported as such an end.
func TestServiceThatEnds(t *testing.T) {
	testEnv(t)
	dir := workDir(t, "")
	app := write(t, filepath.Join(dir, "app.py"), echoApp)
	args := []string{app}
	for name, text := range map[string]string{
		"main":   "import sys\nif __name__ == '__main__':\n    print('as main', sys.argv, __file__, flush=True)\n",
		"exits":  "import sys\nsys.exit(3)\n",
		"fails":  "raise ValueError('it failed')\n",
		"leaves": "import os\nos._exit(4)\n",
		"stays":  "import time\nprint('it stays', flush=True)\nwhile True:\n    time.sleep(0.2)\n",
		"own":    "import signal, sys, time\nsignal.signal(signal.SIGTERM, lambda n, f: sys.exit(0))\nprint('own handler', flush=True)\nwhile True:\n    time.sleep(0.2)\n",
	} {
		args = append(args, "--service-script", name, write(t, filepath.Join(dir, name+".py"), text))
	}
	s := start(t, dir, args...)
	s.eventually("the log does not say how services end", func() bool {
		for _, want := range []string{
			"as main ['" + filepath.Join(dir, "main.py") + "'] " + filepath.Join(dir, "main.py"),
			"it finished; end 1 in a row; restarting in 1 s", "it finished; end 2 in a row; restarting in 2 s",
			"end 3 in a row; restarting in 4 s", "exit 3; end 2 in a row", "ValueError: it failed; end 2 in a row",
			"its process was killed, crashed or called os._exit; end 2 in a row", "it stays", "own handler",
		} {
			if !strings.Contains(s.log(), want) {
				return false
			}
		}
		return true
	})
	s.environ("/")
	s.stop()
	for _, name := range []string{"stays", "own"} {
		if strings.Contains(s.log(), "service "+name+" ") {
			t.Errorf("a stop is reported as an end of %s:\n%s", name, s.log())
		}
	}
}

// TestServiceOfAnotherUserThatEnds: the same if the count of ends cannot be stored.
func TestServiceOfAnotherUserThatEnds(t *testing.T) {
	testEnv(t)
	if os.Geteuid() != 0 {
		t.Skip("only root can run a service as another user")
	}
	dir := workDir(t, "")
	app := write(t, filepath.Join(dir, "app.py"), echoApp)
	script := write(t, filepath.Join(dir, "ends.py"), "import os\nprint('ran as', __name__, os.getuid(), flush=True)\n")
	s := start(t, dir, app, "--service-script", "ends", script, "--service-user", "ends", "nobody", "--service-group", "ends", "nogroup")
	s.eventually("the log does not say how the service ends", func() bool {
		return strings.Contains(s.log(), "ran as __main__ 65534") && strings.Contains(s.log(), "it finished; restarting in 5 s")
	})
}
