package owned

// OpenTemp opens a directory for temporary files. It is OpenDir, but the directory may be
// sticky, as /tmp is. Other users then have entries in it, which Sub and Open do not
// accept.
func OpenTemp(path string) (*Dir, error) {
	h, err := walk(path, final{dir: true, sticky: true})
	if err != nil {
		return nil, err
	}
	return h.open()
}
