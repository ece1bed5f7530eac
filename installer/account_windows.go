package installer

import (
	"modwsgi/detect"
	"modwsgi/internal/event"
)

// ServingUser is "" on Windows, where a server runs as the user who starts it.
func ServingUser() string { return "" }

// warnOfClosed does nothing.
func warnOfClosed(*detect.Python, event.Sink) {}

// warnOfOwner does nothing.
func warnOfOwner(*detect.Python, string, event.Sink) {}

// openUp does nothing: access lists are inherited.
func openUp(string) error { return nil }
