package installer

import "modwsgi/internal/cachedir"

// Space that the parts of the work need, measured and rounded up. A build killed for lack
// of space has already taken minutes.
const (
	roomToBuildHTTPD  = 260 << 20 // sources, objects and the tree
	filesToBuildHTTPD = 9_000
	roomToBuildModule = 24 << 20
	roomOfTree        = 24 << 20 // an httpd with a module and the programs
	filesOfTree       = 700
)

// checkRoom refuses to begin without enough space. With fresh an httpd or a module is
// built, otherwise they come from a cache.
func (j *job) checkRoom(fresh bool) error {
	p, w := j.plan, j.space
	hint := cachedir.TempHint
	if w.Cached {
		hint = cachedir.CacheHint
	}
	all := []cachedir.Room{
		{Dir: p.Site, What: "the installed files", Hint: cachedir.SiteHint, Bytes: roomOfTree, Files: filesOfTree},
		{Dir: w.Dir, What: "the stage", Hint: hint, Bytes: roomOfTree, Files: filesOfTree},
	}
	if fresh && p.HTTPD.Action == BuildHTTPD {
		all = append(all, cachedir.Room{Dir: w.Dir, What: "sources and objects of httpd", Hint: hint, Bytes: roomToBuildHTTPD, Files: filesToBuildHTTPD})
	}
	if fresh && p.Module.Action == "build" {
		all = append(all, cachedir.Room{Dir: w.Dir, What: "those of mod_wsgi", Hint: hint, Bytes: roomToBuildModule, Files: 500})
	}
	return cachedir.CheckRoom(all)
}
