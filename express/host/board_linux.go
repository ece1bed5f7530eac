package host

import (
	"bytes"
	"errors"
	"os"
	"sync"
	"sync/atomic"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

const (
	bounds       = 16
	healthLength = 256
)

// shared is the memory that an httpd with mod_handover and the launcher share: board_t of
// modulebuild/handover/mod_handover.c.
type shared struct {
	state                     uintptr
	bounds                    [bounds]uintptr
	patience                  uintptr
	connections, begun, ended uintptr
	status                    [6]uintptr
	bytes, duration           uintptr
	slow                      [bounds + 1]uintptr
	health                    [healthLength]byte
	times                     [classes]uintptr
	periods                   [periods]struct {
		number, failed uintptr
		times          [classes]uintptr
	}
	spans [spans]struct {
		number uintptr
		list   [slowest]sharedSlow
	}
}

// sharedSlow is slow_t there. Its serial number is odd while it is written.
type sharedSlow struct {
	serial, at, took, status uintptr
	text                     [slowText / unsafe.Sizeof(uintptr(0))]uintptr
}

// Board is that memory. httpd runs with fewer rights than the launcher, and can write
// anything there, so its numbers are only for display.
type Board struct {
	data []byte

	mu sync.RWMutex
	at *shared // nil once it is closed
}

// newBoard makes the memory, and a file by which another process can map it. Its size
// cannot be changed any more: access to memory that does not exist ends a process.
func newBoard() (*Board, *os.File, error) {
	fd, err := unix.MemfdCreate("mod_handover", unix.MFD_CLOEXEC|unix.MFD_ALLOW_SEALING|unix.MFD_NOEXEC_SEAL)
	if errors.Is(err, unix.EINVAL) { // before Linux 6.3
		fd, err = unix.MemfdCreate("mod_handover", unix.MFD_CLOEXEC|unix.MFD_ALLOW_SEALING)
	}
	if err != nil {
		return nil, nil, os.NewSyscallError("memfd_create", err)
	}
	file := os.NewFile(uintptr(fd), "mod_handover")
	if err := file.Truncate(int64(unsafe.Sizeof(shared{}))); err != nil {
		_ = file.Close()
		return nil, nil, err
	}
	if _, err := unix.FcntlInt(file.Fd(), unix.F_ADD_SEALS, unix.F_SEAL_SHRINK|unix.F_SEAL_GROW|unix.F_SEAL_SEAL); err != nil {
		_ = file.Close()
		return nil, nil, os.NewSyscallError("fcntl", err)
	}
	b, err := mapBoard(file)
	if err != nil {
		_ = file.Close()
		return nil, nil, err
	}
	for k, bound := range DurationBounds {
		b.at.bounds[k] = uintptr(bound / time.Microsecond)
	}
	return b, file, nil
}

// mapBoard maps memory that newBoard has made, perhaps in another process.
func mapBoard(file *os.File) (*Board, error) {
	data, err := unix.Mmap(int(file.Fd()), 0, int(unsafe.Sizeof(shared{})), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	if err != nil {
		return nil, os.NewSyscallError("mmap", err)
	}
	return &Board{at: (*shared)(unsafe.Pointer(&data[0])), data: data}, nil
}

// SetHealth sets the path whose requests httpd answers itself, before httpd starts. A path
// that is too long is left out.
func (b *Board) SetHealth(path string) {
	b.with(func(at *shared) {
		if len(path) < healthLength {
			copy(at.health[:], path)
		}
	})
}

// SetPatience sets how long a client may take for the head of a request without a thread;
// 0 is no limit.
func (b *Board) SetPatience(limit time.Duration) {
	b.with(func(at *shared) { at.patience = uintptr(limit / time.Microsecond) })
}

// Set sets the state of the instance.
func (b *Board) Set(s State) {
	b.with(func(at *shared) { atomic.StoreUintptr(&at.state, uintptr(s)) })
}

// Counts reads what httpd has counted.
func (b *Board) Counts() (c Counts) {
	read := func(n *uintptr) uint64 { return uint64(atomic.LoadUintptr(n)) }
	b.with(func(at *shared) {
		c.Connections, c.Bytes, c.Duration = read(&at.connections), read(&at.bytes), time.Duration(read(&at.duration))*time.Microsecond
		c.Running = max(0, int64(read(&at.begun)-read(&at.ended)))
		for k := range at.status {
			c.Status[k] = read(&at.status[k])
		}
		for k := range c.Slow {
			c.Slow[k] = read(&at.slow[k])
		}
		for k := range c.Times {
			c.Times[k] = read(&at.times[k])
		}
		for k := range c.Periods {
			from, to := &at.periods[k], &c.Periods[k]
			to.Number, to.Failed = read(&from.number), read(&from.failed)
			for j := range to.Times {
				to.Times[j] = read(&from.times[j])
			}
		}
		for k := range at.spans {
			for j := range at.spans[k].list {
				if one, ok := at.spans[k].list[j].read(); ok {
					c.Slowest = append(c.Slowest, one)
				}
			}
		}
	})
	return c
}

// read returns the request, unless the entry is empty or a process of httpd writes it.
func (s *sharedSlow) read() (r SlowRequest, ok bool) {
	serial := atomic.LoadUintptr(&s.serial)
	if serial == 0 || serial&1 != 0 {
		return r, false
	}
	r.Time = time.Unix(int64(atomic.LoadUintptr(&s.at)), 0).UTC()
	r.Duration = time.Duration(atomic.LoadUintptr(&s.took)) * time.Microsecond
	r.Status = int(atomic.LoadUintptr(&s.status) % 1000)
	var words [len(s.text)]uintptr
	for k := range words { // each of them atomically, which keeps their order
		words[k] = atomic.LoadUintptr(&s.text[k])
	}
	text := unsafe.Slice((*byte)(unsafe.Pointer(&words)), slowText)
	length := bytes.IndexByte(text, 0)
	if length < 0 {
		length = len(text)
	}
	r.Text, r.Cut = string(text[:length]), length >= slowText-1
	return r, atomic.LoadUintptr(&s.serial) == serial
}

func (b *Board) with(f func(*shared)) {
	if b == nil {
		return
	}
	b.mu.RLock()
	defer b.mu.RUnlock()
	if b.at != nil {
		f(b.at)
	}
}

func (b *Board) close() {
	if b == nil {
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.at != nil {
		b.at = nil
		_ = unix.Munmap(b.data)
	}
}
