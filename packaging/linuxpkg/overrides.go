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
	text += name + ": dir-or-file-in-opt *\n"
	for _, program := range []string{"mod_wsgi-express", "mod_wsgi-apxs"} { // of Go
		text += name + ": statically-linked-binary *bin/" + program + "*\n"
	}
	return []byte(text)
}
