package installer

import (
	"fmt"
	"slices"
	"strings"

	"modwsgi/internal/fault"
	"modwsgi/internal/shortage"
)

// room is what one part of the work needs on the disk.
type room struct {
	dir   string // an existing directory on the file system
	what  string // for people
	hint  string // what to do where there is too little
	bytes int64
	files int64
}

// What the parts of the work need, measured and rounded up. A build that is
// killed for want of space has taken minutes by then.
const (
	roomToBuildHTTPD  = 260 << 20 // sources, objects and the tree
	filesToBuildHTTPD = 9_000
	roomToBuildModule = 24 << 20
	roomOfTree        = 24 << 20 // an httpd with a module and the programs
	filesOfTree       = 700
)

// volume is a file system.
type volume struct {
	id          uint64
	free, files int64 // bytes and inodes that we may still take; negative where not known
}

// checkRoom looks whether the file systems have room for what is to come. What
// lies on the same one is added up. One that does not tell counts as large.
func checkRoom(all []room, look func(dir string) (volume, error)) error {
	need := map[uint64]*room{}
	var order []volume
	for _, r := range all {
		v, err := look(r.dir)
		if err != nil {
			continue
		}
		if n := need[v.id]; n != nil {
			n.bytes, n.files, n.what = n.bytes+r.bytes, n.files+r.files, n.what+", "+r.what
			if r.hint == cacheRoomHint { // what is on the cache's file system has this way out as well
				n.hint = r.hint
			}
			continue
		}
		need[v.id] = &r
		order = append(order, v)
	}
	var short, hints []string
	for _, v := range order {
		n, before := need[v.id], len(short)
		if v.free >= 0 && v.free < n.bytes {
			short = append(short, fmt.Sprintf("%s has %s free, and %s are needed for %s", n.dir, mib(v.free), mib(n.bytes), n.what))
		}
		if v.files >= 0 && v.files < n.files {
			short = append(short, fmt.Sprintf("%s has room for %d more files (inodes), and %d are needed for %s", n.dir, v.files, n.files, n.what))
		}
		if len(short) > before && !slices.Contains(hints, n.hint) {
			hints = append(hints, n.hint)
		}
	}
	if len(short) == 0 {
		return nil
	}
	return fault.New(fault.Environment, strings.Join(hints, "; "),
		"there is not enough room: the file system of %s", strings.Join(short, "; the file system of "))
}

// The hints for the file systems: of the cache, of the directory for temporary files
// where work is done there instead, and of the environment.
const (
	cacheRoomHint = "free some space there (" + shortage.PruneCommand + "), or work elsewhere with --cache-dir"
	tempRoomHint  = "free some space there, or set TMPDIR to another directory"
	siteRoomHint  = "free some space there, or install into an environment on another file system"
)

func mib(n int64) string { return fmt.Sprintf("%d MiB", n>>20) }

// checkRoom is checkRoom for a plan. With fresh an httpd or a module is built,
// else they come from a cache.
func (p *Plan) checkRoom(w *workspace, fresh bool) error {
	hint := tempRoomHint
	if w.cached {
		hint = cacheRoomHint
	}
	all := []room{
		{p.Site, "the installed files", siteRoomHint, roomOfTree, filesOfTree},
		{w.dir, "the stage", hint, roomOfTree, filesOfTree},
	}
	if fresh && p.HTTPD.Action == BuildHTTPD {
		all = append(all, room{w.dir, "sources and objects of httpd", hint, roomToBuildHTTPD, filesToBuildHTTPD})
	}
	if fresh && p.Module.Action == "build" {
		all = append(all, room{w.dir, "those of mod_wsgi", hint, roomToBuildModule, 500})
	}
	return checkRoom(all, volumeOf)
}
