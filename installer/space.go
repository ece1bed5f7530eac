package installer

// Workspace is scratch space for a build that is not part of an install, by the
// same rules: below the cache directory, or where others may write to that in a
// temporary directory.
type Workspace struct {
	Dir       string // new, private; removed by Close, except with KeepBuild
	Logs      string // new, private; stays unless it is empty
	Downloads string // the download cache
	Hold      string // where this run has what it fetches, see fetch.Options

	close func()
}

// OpenWorkspace makes scratch space for a request, of which only the places and
// KeepBuild count.
func OpenWorkspace(q Request) (*Workspace, error) {
	if err := q.findCache(); err != nil {
		return nil, err
	}
	w, err := makeWorkspace(&q)
	if err != nil {
		return nil, err
	}
	return &Workspace{Dir: w.dir, Logs: w.logs, Downloads: q.downloads, Hold: q.hold, close: w.close}, nil
}

// Close removes the scratch space, but for the logs.
func (w *Workspace) Close() { w.close() }
