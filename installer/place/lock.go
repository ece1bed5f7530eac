package place

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"modwsgi/internal/fault"
)

// lockPoll is the time between two attempts to get a lock.
const lockPoll = 50 * time.Millisecond

// Lock waits until nobody else changes the environment with this anchor, its
// site-packages directory, and then keeps others away until Unlock or the end
// of the process. Whoever has to wait gets one call of waiting (nil: none)
// with the process id of the holder, 0 where that is not known; the end of ctx
// ends the wait with an error of the class fault.Busy.
//
// The lock is on the directory itself (flock), so that no lock file is left in
// it; where directories cannot be locked (NFS, Windows) a file
// ".modwsgi.lock" in it is used, which Unlock removes.
func Lock(ctx context.Context, anchor string, waiting func(holder int)) (*Locked, error) {
	if waiting == nil {
		waiting = func(int) {}
	}
	real, err := filepath.EvalSymlinks(anchor)
	if err != nil {
		return nil, changeError("lock", anchor, err)
	}
	if real, err = filepath.Abs(real); err != nil {
		return nil, changeError("lock", anchor, err)
	}
	if info, err := os.Stat(real); err != nil || !info.IsDir() {
		return nil, fault.New(fault.Place, "", "lock %s: it is not a directory", anchor)
	}
	for told := false; ; {
		lock, holder, err := tryLock(real)
		if err != nil {
			return nil, changeError("lock", real, err)
		}
		if lock != nil {
			return &Locked{anchor: real, lock: lock}, nil
		}
		if !told {
			told = true
			waiting(holder)
		}
		select {
		case <-ctx.Done():
			who := "another process"
			if holder != 0 {
				who = fmt.Sprintf("process %d", holder)
			}
			return nil, fault.New(fault.Busy, "wait for it to end, or end it", "lock %s: %s changes it: %w", real, who, context.Cause(ctx))
		case <-time.After(lockPoll):
		}
	}
}

// Unlock lets others change the environment. A transaction that has been
// neither committed nor rolled back counts as made: the next Recover completes
// it.
func (l *Locked) Unlock() error {
	if l.lock == nil {
		return nil
	}
	lock := l.lock
	l.lock = nil
	if err := lock.release(); err != nil {
		return changeError("unlock", l.anchor, err)
	}
	return nil
}

// lockName is the file that stands for a directory which cannot be locked.
const lockName = ".modwsgi.lock"

// lockFile is a held lock: on the directory, or on a file in it.
type lockFile struct {
	f    *os.File
	file bool
}

// same says whether the open file is still what its name leads to: somebody
// may have removed or moved it between our open and our lock.
func same(f *os.File, name string) bool {
	a, err := f.Stat()
	if err != nil {
		return false
	}
	b, err := os.Stat(name)
	return err == nil && os.SameFile(a, b)
}
