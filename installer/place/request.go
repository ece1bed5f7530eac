package place

// Item is a staged file, symbolic link or directory, on any file system, and the absolute
// path of its target. Modes (without set-id bits), times and links are kept. The source
// is not changed.
type Item struct{ Source, Target string }

// Request is one change of an environment.
type Request struct {
	Items []Item
	// Remove lists absolute paths to remove: files, links, or directories with everything
	// in them. The path from a root to them must be free of links. Paths that do not exist
	// are skipped. The byte-compiled files of a .py file are removed with it, and so are
	// directories below the anchor that become empty; files that are not listed stay. A
	// target that exists must be listed here, or contain only listed paths.
	Remove []string
	// Beside lists further site-packages directories below a root from which something is
	// removed. As below the anchor, directories that become empty are removed too.
	Beside []string
	// Roots are directories that must contain all targets and removals, symbolic links
	// resolved. The anchor is always one of them. The directory of programs must be named,
	// and may be a link to somewhere else.
	Roots []string
	// Label names the changed distribution in messages: "mod_wsgi 5.0.2".
	Label string
	// Spent means that nobody needs the sources after the change, nor writes to them
	// during it. If they are on the target's file system, they are hard-linked instead of
	// copied.
	Spent bool
	// Ready is called once, after everything is copied and before anything visible
	// changes. An error from it ends the change. nil is always ready.
	Ready func() error
}
