package host

import (
	"os"
	"syscall"
)

// Signals lists what the launcher has to be told about from its first moment on.
func Signals() []os.Signal { return []os.Signal{os.Interrupt, syscall.SIGTERM} } // the second one: the window is closed, the session ends

// SignalKind is what httpd is asked to do.
type SignalKind int

const (
	Graceful SignalKind = iota
	Restart             // it is the same
	Drain               // httpd on Windows always completes what runs
	Terminate
	Kill
)
