package installer

import (
	"modwsgi/detect"
	"modwsgi/internal/event"
)

// ServingUser is "" on Windows, where a server runs as the one who starts it.
func ServingUser() string { return "" }

// warnOfClosed has nothing to tell.
func warnOfClosed(*detect.Python, event.Sink) {}

// warnOfOwner has nothing to tell.
func warnOfOwner(*detect.Python, string, event.Sink) {}

// openUp has nothing to do: access lists are inherited.
func openUp(string) error { return nil }
