package httpdbuild

import (
	"path/filepath"
	"sync"
	"sync/atomic"

	"modwsgi/internal/configcache"
	"modwsgi/internal/objgraph"
	"modwsgi/internal/steps"
)

// builder runs one build.
type builder struct {
	Request
	stage string // the tree in progress
	pool  *objgraph.Pool
	needs map[string][]string // of the steps
	// What the native driver links once the libraries of other parts exist.
	aprUtil, httpd *plan
	answers        answers
	headers        chan struct{} // closed when they are staged
	unpacked       sync.Map      // component -> SHA-256 of what it was unpacked from
}

// dir is the directory of a component's sources.
func (b *builder) dir(name string) string { return filepath.Join(b.Work, name) }

// deps is the directory of headers and libraries that httpd is built against and that
// are not copied into the tree unchanged.
func (b *builder) deps() string { return filepath.Join(b.Work, "deps") }

// first gives priority to unpacking and configuring the part on the critical path. All
// scripts are read before the first one runs, so the largest archive is unpacked first.
var first = map[string]int64{crypt: 7, "openssl": 6, "httpd": 5, "apr": 4, "expat": 3, "apr-util": 2, "pcre2": 1}

// plan collects the tasks of one step of the native driver: the objects, libraries and
// programs of one component, from its makefiles.
type plan struct {
	b       *builder
	log     *steps.Log
	tasks   []objgraph.Task
	known   map[string]bool // names of the tasks
	total   int             // objects
	started atomic.Int64
	// libs maps libtool's libraries (absolute paths) to the file to link, and the
	// libraries that are linked with it.
	libs  map[string]library
	made  map[string]bool   // files made by other steps
	spans map[string]string // the name of a task in the timeline
	// generated maps the names of included headers to the tasks that generate them.
	generated map[string]string
}

type library struct {
	file string
	more []string
}

// answers are the results that the configure scripts of this build can share.
type answers struct {
	questions map[string]configcache.Questions // component -> tests of its script
	mu        sync.Mutex
	asked     map[string]string // from the compiler
	common    map[string]string // from APR's script
}
