//go:build !linux

package cachedir

import "errors"

// volumeOf is unsupported here; the work fails if space runs out.
func volumeOf(string) (volume, error) { return volume{}, errors.ErrUnsupported }
