//go:build unix

package place_test

import (
	"path/filepath"
	"sync"
	"testing"
	"time"

	"modwsgi/installer/place"
)

// TestWritableWhileOthersRecover: an installer that checks whether it may write, and one
// that tidies up what killed runs left, do not disturb each other. The check needs no lock.
func TestWritableWhileOthersRecover(t *testing.T) {
	w := newWorld(t, t.TempDir())
	l, err := place.Lock(t.Context(), w.site, time.Minute, nil)
	must(t, err)
	defer func() { must(t, l.Unlock()) }()
	end := time.Now().Add(time.Second)
	var group sync.WaitGroup
	for range 4 {
		group.Go(func() {
			for time.Now().Before(end) {
				if err := place.Writable(w.site, filepath.Join(w.bin, "prog")); err != nil {
					t.Errorf("the check: %v", err)
					return
				}
			}
		})
	}
	group.Go(func() {
		for time.Now().Before(end) {
			if out, err := l.Recover(w.prefix); err != nil || len(out.Left) > 0 {
				t.Errorf("the recovery: %+v %v", out, err)
				return
			}
		}
	})
	group.Wait()
}
