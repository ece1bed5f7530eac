//go:build unix && !linux

package shortage

const processes = -1
