package fetch

import (
	"context"
	"time"

	"modwsgi/internal/flock"
)

// lockPoll is how often a directory that somebody else has is tried again.
const lockPoll = 50 * time.Millisecond

// lockDir locks a directory against other processes and goroutines, and waits
// for its turn, which it tells once.
func lockDir(ctx context.Context, dir string, waiting func()) (release func(), err error) {
	for told := false; ; told = true {
		release, ok, err := flock.Try(dir)
		if err != nil || ok {
			return release, err
		}
		if !told {
			waiting()
		}
		if err := sleep(ctx, lockPoll); err != nil {
			return nil, err
		}
	}
}
