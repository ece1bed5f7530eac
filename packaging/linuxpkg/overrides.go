package linuxpkg

// overrides tell lintian what is so on purpose: a package that is no part of the
// distribution belongs into /opt (FHS 3.13), and a program of Go is one file.
func (w *work) overrides() []byte {
	name := w.pkg.Name
	text := "# Made for a site, and no part of the distribution.\n" + name + ": initial-upload-closes-no-bugs *\n"
	if !w.bundled() {
		// a2enmod reads names with a dash in them, other than lintian.
		return []byte(text + name + ": apache2-unparsable-dependency *\n")
	}
	for _, tag := range []string{"dir-or-file-in-opt", "statically-linked-binary", "hardening-no-pie", "hardening-no-relro"} {
		text += name + ": " + tag + " *\n"
	}
	return []byte(text)
}
