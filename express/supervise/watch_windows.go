package supervise

import "modwsgi/express/instance"

// WatchVerb is a verb that does nothing here: httpd's own first process watches the
// one that serves.
const WatchVerb = "watch-httpd"

// StartWatch does nothing.
func StartWatch(*instance.Launch, string, []string) error { return nil }

// Watch does nothing.
func Watch(*instance.Launch, []string) (int, error) { return 0, nil }
