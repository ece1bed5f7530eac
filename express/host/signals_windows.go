package host

import (
	"os"
	"syscall"
)

// Signals returns the signals that the launcher must handle from the start. The runtime
// delivers SIGTERM when the console window is closed or the session ends.
func Signals() []os.Signal { return []os.Signal{os.Interrupt, syscall.SIGTERM} }

// SignalKind is an action of httpd that another process can request.
type SignalKind int

const (
	Graceful SignalKind = iota
	Restart             // the same as Graceful
	Drain               // httpd on Windows always completes running requests
	Terminate
	Kill
)
