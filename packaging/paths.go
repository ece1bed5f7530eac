package packaging

import "strings"

// WithPaths returns an error whose message has other paths, in pairs of old and new:
// formats work on copies, and the user knows the originals. Class, hint and cause of
// the error stay.
func WithPaths(err error, oldnew ...string) error {
	text := strings.NewReplacer(oldnew...).Replace(err.Error())
	if text == err.Error() {
		return err
	}
	return &renamed{text, err}
}

// renamed is an error with another message.
type renamed struct {
	text string
	err  error
}

func (r *renamed) Error() string { return r.text }
func (r *renamed) Unwrap() error { return r.err }
