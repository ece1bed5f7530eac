package owned

// OpenTemp opens a directory for temporary files: as OpenDir, but it may be
// sticky, as /tmp is. Other users then have entries of their own in it; Sub and
// Open accept none of those.
func OpenTemp(path string) (*Dir, error) {
	h, err := walk(path, final{dir: true, sticky: true})
	if err != nil {
		return nil, err
	}
	return h.open()
}
