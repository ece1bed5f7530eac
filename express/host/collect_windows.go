package host

import (
	"context"
	"errors"
)

// Collect does not run anything: no process supervises httpd on Windows.
func Collect(context.Context, string, []string, []string) (Exit, string, error) {
	return Exit{}, "", errors.ErrUnsupported
}
