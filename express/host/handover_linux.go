package host

import (
	"errors"
	"os"
	"strconv"

	"golang.org/x/sys/unix"
)

// HandsOver reports whether an httpd can hand its listening sockets over to the next one.
const HandsOver = true

// NewHandover makes the connection with an httpd that is about to be started. With gate,
// its children wait for Admit.
func NewHandover(gate bool) (h *Handover, err error) {
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, os.NewSyscallError("socketpair", err)
	}
	if err := unix.SetNonblock(pair[0], true); err != nil {
		closeAll(pair[:])
		return nil, os.NewSyscallError("fcntl", err)
	}
	h = &Handover{control: os.NewFile(uintptr(pair[0]), "handover"), known: make(chan struct{}), asks: make(chan struct{}, 1)}
	h.theirs = []*os.File{os.NewFile(uintptr(pair[1]), "handover"), nil, nil, nil}
	if gate {
		if h.theirs[1], h.gate, err = os.Pipe(); err != nil {
			h.release()
			return nil, err
		}
	}
	if h.theirs[2], h.leave, err = os.Pipe(); err != nil {
		h.release()
		return nil, err
	}
	if h.reports, h.tell, err = os.Pipe(); err != nil {
		h.release()
		return nil, err
	}
	// Without the memory, nothing is counted.
	h.board, h.theirs[3], _ = newBoard()
	go h.receive(h.control)
	return h, nil
}

// Keep is for a process that becomes httpd itself: it makes copies of httpd's ends that
// stay open then. It returns the variables for that httpd.
func (h *Handover) Keep() (variables []string, err error) {
	words := make([]string, 0, len(h.theirs))
	keep := func(f *os.File) (string, error) {
		fd, err := unix.Dup(int(f.Fd()))
		return strconv.Itoa(fd), os.NewSyscallError("dup", err)
	}
	for _, f := range h.theirs {
		word := "-1"
		if f != nil {
			if word, err = keep(f); err != nil {
				return nil, err
			}
		}
		words = append(words, word)
	}
	tell, err := keep(h.tell)
	if err != nil {
		return nil, err
	}
	return []string{handoverVariable(words), readyVariable + "=" + tell}, nil
}

// InheritedHandover is the connection that a process has got from another one of the
// launcher (Ours), as descriptors from first on.
func InheritedHandover(first int) (*Handover, error) {
	for fd := first; fd < first+4; fd++ {
		unix.CloseOnExec(fd)
	}
	for _, fd := range []int{first, first + 3} {
		if err := unix.SetNonblock(fd, true); err != nil {
			return nil, os.NewSyscallError("fcntl", err)
		}
	}
	file := func(k int) *os.File { return os.NewFile(uintptr(first+k), "handover") }
	shared := file(2)
	board, _ := mapBoard(shared)
	_ = shared.Close()
	h := &Handover{control: file(0), leave: file(1), board: board, reports: file(3), known: make(chan struct{}), asks: make(chan struct{}, 1)}
	go h.receive(h.control)
	return h, nil
}

// release closes what an unfinished connection has.
func (h *Handover) release() {
	h.Started()
	_ = h.control.Close()
	for _, f := range []*os.File{h.gate, h.leave, h.reports} {
		if f != nil {
			_ = f.Close()
		}
	}
	h.board.close()
}

// receive reads the messages of httpd until the connection is closed.
func (h *Handover) receive(control *os.File) {
	raw, err := control.SyscallConn()
	if err != nil {
		return
	}
	for {
		var text [1]byte
		var n, oobn int
		var failed error
		oob := make([]byte, unix.CmsgSpace(4*253)) // SCM_MAX_FD of Linux
		err := raw.Read(func(fd uintptr) bool {
			n, oobn, _, _, failed = unix.Recvmsg(int(fd), text[:], oob, unix.MSG_CMSG_CLOEXEC)
			return !errors.Is(failed, unix.EAGAIN)
		})
		if err != nil || failed != nil || n == 0 {
			return
		}
		if sockets := passed(oob[:oobn]); len(sockets) > 0 {
			h.received(sockets)
		}
		if text[0] == 'R' {
			select {
			case h.asks <- struct{}{}:
			default: // the launcher knows already
			}
		}
	}
}

// passed returns the descriptors of a message.
func passed(oob []byte) (fds []int) {
	messages, err := unix.ParseSocketControlMessage(oob)
	if err != nil {
		return nil
	}
	for k := range messages {
		got, err := unix.ParseUnixRights(&messages[k])
		if err == nil {
			fds = append(fds, got...)
		}
	}
	return fds
}

func closeAll(fds []int) {
	for _, fd := range fds {
		_ = unix.Close(fd)
	}
}
