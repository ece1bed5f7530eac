package installer

import (
	"fmt"
	"strings"

	"modwsgi/internal/fault"
)

// room is what one part of the work needs on the disk.
type room struct {
	dir   string // an existing directory on the file system
	what  string // for people
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
			continue
		}
		need[v.id] = &r
		order = append(order, v)
	}
	var short []string
	for _, v := range order {
		n := need[v.id]
		if v.free >= 0 && v.free < n.bytes {
			short = append(short, fmt.Sprintf("%s has %s free, and %s are needed for %s", n.dir, mib(v.free), mib(n.bytes), n.what))
		}
		if v.files >= 0 && v.files < n.files {
			short = append(short, fmt.Sprintf("%s has room for %d more files (inodes), and %d are needed for %s", n.dir, v.files, n.files, n.what))
		}
	}
	if len(short) == 0 {
		return nil
	}
	return fault.New(fault.Environment, "free some space there (modwsgi cache prune --older-than 7d), or work elsewhere with --cache-dir",
		"there is not enough room: the file system of %s", strings.Join(short, "; the file system of "))
}

func mib(n int64) string { return fmt.Sprintf("%d MiB", n>>20) }

// checkRoom is checkRoom for a plan. With fresh an httpd or a module is built,
// else they come from a cache.
func (p *Plan) checkRoom(w *workspace, fresh bool) error {
	all := []room{
		{p.Site, "the installed files", roomOfTree, filesOfTree},
		{w.dir, "the stage", roomOfTree, filesOfTree},
	}
	if fresh && p.HTTPD.Action == BuildHTTPD {
		all = append(all, room{w.dir, "sources and objects of httpd", roomToBuildHTTPD, filesToBuildHTTPD})
	}
	if fresh && p.Module.Action == "build" {
		all = append(all, room{w.dir, "those of mod_wsgi", roomToBuildModule, 500})
	}
	return checkRoom(all, volumeOf)
}
