package linkage

import "modwsgi/packaging"

// Find returns the path of a library on the host for a CPU (as uname -m says it)
// and a word size (32 or 64), without symbolic links; "" where there is none.
func (h Host) Find(soname, machine string, class int) string { return h.find(soname, machine, class) }

// Describe says what a library of the host is: whose, of which version, under
// which licence, as far as the package manager knows it.
func (h Host) Describe(path, soname, sum string) packaging.Component {
	return h.describe(path, soname, sum)
}
