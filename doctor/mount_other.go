//go:build !linux

package doctor

func mountOf(string) (mountPoint, bool) { return mountPoint{}, false }
