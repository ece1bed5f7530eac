package cachedir

import (
	"fmt"
	"slices"
	"strings"

	"modwsgi/internal/fault"
	"modwsgi/internal/shortage"
)

// Room is the disk space that one part of the work needs.
type Room struct {
	Dir   string // an existing directory on the file system
	What  string // for people
	Hint  string // what to do if there is too little
	Bytes int64
	Files int64
}

// volume is a file system.
type volume struct {
	id          uint64
	free, files int64 // available bytes and inodes; negative if unknown
}

// CheckRoom checks that the file systems have room for the work ahead. Needs on the same
// file system are added up. A file system that does not report its size counts as large
// enough.
func CheckRoom(all []Room) error { return checkRoom(all, volumeOf) }

func checkRoom(all []Room, look func(dir string) (volume, error)) error {
	need := map[uint64]*Room{}
	var order []volume
	for _, r := range all {
		v, err := look(r.Dir)
		if err != nil {
			continue
		}
		if n := need[v.id]; n != nil {
			n.Bytes, n.Files, n.What = n.Bytes+r.Bytes, n.Files+r.Files, n.What+", "+r.What
			if r.Hint == CacheHint { // needs on the cache's file system have this hint as well
				n.Hint = r.Hint
			}
			continue
		}
		need[v.id] = &r
		order = append(order, v)
	}
	var short, hints []string
	for _, v := range order {
		n, before := need[v.id], len(short)
		if v.free >= 0 && v.free < n.Bytes {
			short = append(short, fmt.Sprintf("%s has %s free, and %s are needed for %s", n.Dir, mib(v.free), mib(n.Bytes), n.What))
		}
		if v.files >= 0 && v.files < n.Files {
			short = append(short, fmt.Sprintf("%s has room for %d more files (inodes), and %d are needed for %s", n.Dir, v.files, n.Files, n.What))
		}
		if len(short) > before && !slices.Contains(hints, n.Hint) {
			hints = append(hints, n.Hint)
		}
	}
	if len(short) == 0 {
		return nil
	}
	return fault.New(fault.Environment, strings.Join(hints, "; "),
		"not enough room: the file system of %s", strings.Join(short, "; the file system of "))
}

// The hints for the file systems: of the cache, of the directory for temporary files if
// work is done there instead, and of the environment.
const (
	CacheHint = "free some space there (" + shortage.PruneCommand + "), or work elsewhere with --cache-dir"
	TempHint  = "free some space there, or set TMPDIR to another directory"
	SiteHint  = "free some space there, or install into an environment on another file system"
)

func mib(n int64) string { return fmt.Sprintf("%d MiB", n>>20) }
