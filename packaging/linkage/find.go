package linkage

import "modwsgi/packaging"

// Find returns the path of a library on the host for a CPU (as uname -m prints it) and
// a word size (32 or 64), with symbolic links resolved, or "" if it is not found.
func (h Host) Find(soname, machine string, class int) string { return h.find(soname, machine, class) }

// Describe reports the package, version and licence of a host library, as far as the
// package manager knows them.
func (h Host) Describe(path, soname, sum string) packaging.Component {
	return h.describe(path, soname, sum)
}
