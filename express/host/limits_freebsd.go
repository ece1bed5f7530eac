package host

import "syscall"

func setCur(l *syscall.Rlimit, n uint64) { l.Cur = int64(n) }
