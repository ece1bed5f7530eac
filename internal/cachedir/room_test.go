package cachedir

import (
	"errors"
	"os"
	"slices"
	"strings"
	"testing"

	"modwsgi/internal/fault"
)

func TestCheckRoom(t *testing.T) {
	look := func(dir string) (volume, error) {
		switch dir {
		case "/big":
			return volume{1, 1 << 40, 1 << 20}, nil
		case "/small", "/small/too":
			return volume{2, 100 << 20, 1000}, nil
		case "/many":
			return volume{3, 1 << 40, 10}, nil
		case "/endless":
			return volume{4, 1 << 40, -1}, nil
		}
		return volume{}, errors.New("unknown")
	}
	for name, tt := range map[string]struct {
		all   []Room
		words []string
	}{
		"fits":               {[]Room{{"/big", "a", SiteHint, 1 << 30, 5000}, {"/endless", "b", SiteHint, 1, 1 << 40}, {"/nowhere", "c", SiteHint, 1 << 50, 0}}, nil},
		"just":               {[]Room{{"/small", "a", SiteHint, 60 << 20, 1}, {"/small/too", "b", SiteHint, 40 << 20, 1}}, nil},
		"together too much":  {[]Room{{"/small", "a", SiteHint, 60 << 20, 1}, {"/small/too", "b", CacheHint, 41 << 20, 1}}, []string{"/small has 100 MiB free", "101 MiB", "a, b", "cache prune", "--cache-dir"}},
		"too many files":     {[]Room{{"/many", "a", SiteHint, 1, 11}}, []string{"10 more files", "11 are needed"}},
		"two file systems":   {[]Room{{"/small", "a", SiteHint, 1 << 30, 1}, {"/many", "b", TempHint, 1, 11}}, []string{"/small", "/many", SiteHint + "; " + TempHint}},
		"files and no bytes": {[]Room{{"/small", "a", SiteHint, 0, 1001}}, []string{"inodes"}},
	} {
		t.Run(name, func(t *testing.T) {
			err := checkRoom(tt.all, look)
			if tt.words == nil {
				if err != nil {
					t.Error(err)
				}
				return
			}
			if strings.Contains(fault.HintOf(err), "cache") != slices.ContainsFunc(tt.all, func(r Room) bool { return r.Hint == CacheHint }) {
				t.Errorf("the cache is not on a full file system, or it is: %s", fault.HintOf(err))
			}
			text := err.Error() + "\n" + fault.HintOf(err)
			for _, w := range tt.words {
				if fault.ClassOf(err) != fault.Environment || !strings.Contains(text, w) {
					t.Errorf("lacks %q: %s", w, text)
				}
			}
		})
	}
	if v, err := volumeOf(os.TempDir()); err == nil && v.free <= 0 {
		t.Errorf("%+v", v)
	}
}
