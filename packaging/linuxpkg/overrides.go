package linuxpkg

// overrides tell lintian which findings are intended: a package that does not belong
// to the distribution goes into /opt (FHS 3.13), and a Go program is one file.
func (w *work) overrides() []byte {
	name := w.pkg.Name
	text := "# Made for a site, not for the distribution.\n" + name + ": initial-upload-closes-no-bugs *\n"
	if !w.bundled() {
		// a2enmod accepts names with a dash, unlike lintian.
		return []byte(text + name + ": apache2-unparsable-dependency *\n")
	}
	for _, tag := range []string{"dir-or-file-in-opt", "statically-linked-binary", "hardening-no-pie", "hardening-no-relro"} {
		text += name + ": " + tag + " *\n"
	}
	return []byte(text)
}
