package logwriter

import "golang.org/x/sys/unix"

// growPipe enlarges the pipe, so that writers do not wait while this program does.
func growPipe(fd, size int) { _, _ = unix.FcntlInt(uintptr(fd), unix.F_SETPIPE_SZ, size) }
