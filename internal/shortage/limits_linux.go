package shortage

import "golang.org/x/sys/unix"

const processes = unix.RLIMIT_NPROC
