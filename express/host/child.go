package host

import (
	"os"
	"runtime"
)

// How httpd behaves on this system.
const (
	// Detaches reports whether httpd goes into the background unless it is started with
	// -DFOREGROUND.
	Detaches = runtime.GOOS != "windows"

	// OrphansServe reports whether the children of httpd continue to serve after its
	// first process was killed.
	OrphansServe = runtime.GOOS != "windows"

	// StopsInTime reports whether httpd can be stopped without completing the requests
	// that are running.
	StopsInTime = runtime.GOOS != "windows"
)

// Request is what a signal asks the launcher for.
type Request int

const (
	Nothing   Request = iota
	Stop              // complete running requests, then end
	Interrupt         // end now, as a key on the terminal asks
	Hangup            // restart, or the terminal was closed
	Reload            // read the configuration again, gracefully
	Resized           // the terminal changed its size, or a container runtime asks for a graceful stop
)

// Exit is how a child ended.
type Exit struct {
	Code   int   // its exit code, 128 plus the number of the signal that ended it
	Killed bool  // by a signal
	Err    error // it could not be waited for
}

// IsTerminal reports whether one of the files is a terminal.
func IsTerminal(files ...*os.File) bool {
	for _, f := range files {
		if f != nil && isTerminal(f) {
			return true
		}
	}
	return false
}
