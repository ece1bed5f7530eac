package installer

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
		all   []room
		words []string
	}{
		"fits":               {[]room{{"/big", "a", siteRoomHint, 1 << 30, 5000}, {"/endless", "b", siteRoomHint, 1, 1 << 40}, {"/nowhere", "c", siteRoomHint, 1 << 50, 0}}, nil},
		"just":               {[]room{{"/small", "a", siteRoomHint, 60 << 20, 1}, {"/small/too", "b", siteRoomHint, 40 << 20, 1}}, nil},
		"together too much":  {[]room{{"/small", "a", siteRoomHint, 60 << 20, 1}, {"/small/too", "b", cacheRoomHint, 41 << 20, 1}}, []string{"/small has 100 MiB free", "101 MiB", "a, b", "cache prune", "--cache-dir"}},
		"too many files":     {[]room{{"/many", "a", siteRoomHint, 1, 11}}, []string{"10 more files", "11 are needed"}},
		"two file systems":   {[]room{{"/small", "a", siteRoomHint, 1 << 30, 1}, {"/many", "b", tempRoomHint, 1, 11}}, []string{"/small", "/many", siteRoomHint + "; " + tempRoomHint}},
		"files and no bytes": {[]room{{"/small", "a", siteRoomHint, 0, 1001}}, []string{"inodes"}},
	} {
		t.Run(name, func(t *testing.T) {
			err := checkRoom(tt.all, look)
			if tt.words == nil {
				if err != nil {
					t.Error(err)
				}
				return
			}
			if strings.Contains(fault.HintOf(err), "cache") != slices.ContainsFunc(tt.all, func(r room) bool { return r.hint == cacheRoomHint }) {
				t.Errorf("the cache is not on a full file system, or it is: %s", fault.HintOf(err))
			}
			wantFault(t, err, fault.Environment, tt.words...)
		})
	}
	if v, err := volumeOf(os.TempDir()); err == nil && v.free <= 0 {
		t.Errorf("%+v", v)
	}
}
