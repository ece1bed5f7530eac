package host

import (
	"bufio"
	"os"
	"strconv"
	"strings"
	"sync"
)

// handoverVariable is the environment variable by which mod_handover learns the
// descriptors that it inherits; -1 stands for one that does not exist.
func handoverVariable(fds []string) string { return "MOD_WSGI_HANDOVER=" + strings.Join(fds, " ") }

// readyVariable is the environment variable by which the launcher's Python part learns the
// descriptor for its reports.
const readyVariable = "MOD_WSGI_READY_FD"

// Handover connects the launcher with one httpd that has mod_handover. httpd sends its
// listening sockets through it, and the launcher tells httpd when its children may begin
// to accept connections, and when they must cease to.
type Handover struct {
	control *os.File // the launcher's end
	gate    *os.File // writing end; nil for an httpd that accepts connections at once
	leave   *os.File // writing end
	board   *Board
	reports *os.File // reading end; what the launcher's Python part reports

	theirs []*os.File // httpd's ends of the first three, and the board, until it has started
	tell   *os.File   // the writing end of reports, until then

	mu      sync.Mutex
	sockets []int // what httpd listens on
	told    int   // bytes in the pipe leave
	known   chan struct{}
	asks    chan struct{}
	once    sync.Once
}

// Inherit returns the variables for an httpd that also inherits these listening sockets,
// and all descriptors for it. The first of them gets the number first.
func (h *Handover) Inherit(first int, sockets []int) (variables []string, fds []int) {
	give := func(fd int) string {
		fds = append(fds, fd)
		return strconv.Itoa(first + len(fds) - 1)
	}
	words := make([]string, 0, len(h.theirs)+len(sockets))
	for _, f := range h.theirs {
		if f == nil {
			words = append(words, "-1")
			continue
		}
		words = append(words, give(int(f.Fd())))
	}
	for _, fd := range sockets {
		words = append(words, give(fd))
	}
	return []string{handoverVariable(words), readyVariable + "=" + give(int(h.tell.Fd()))}, fds
}

// Ours returns the launcher's ends, for another process of the launcher, until Started.
func (h *Handover) Ours() []*os.File {
	board := h.theirs[3]
	if board == nil {
		board = h.leave // which cannot be mapped
	}
	return []*os.File{h.control, h.leave, board, h.reports}
}

// Board returns the memory that httpd shares with the launcher.
func (h *Handover) Board() *Board {
	if h == nil {
		return nil
	}
	return h.board
}

// Reports calls each with every line that the launcher's Python part reports, until all
// processes of httpd have ended. Lines that are too long are left out.
func (h *Handover) Reports(each func(line string)) {
	lines := bufio.NewReaderSize(h.reports, 1024)
	long := false
	for {
		line, more, err := lines.ReadLine()
		if err != nil {
			return
		}
		if !more && !long {
			each(string(line))
		}
		long = more
	}
}

// Started closes the ends that httpd has inherited.
func (h *Handover) Started() {
	for _, f := range h.theirs {
		if f != nil {
			_ = f.Close()
		}
	}
	if h.tell != nil {
		_ = h.tell.Close()
	}
	h.theirs, h.tell = nil, nil
}

// Listens is closed when httpd has sent the sockets that it listens on.
func (h *Handover) Listens() <-chan struct{} { return h.known }

// Asks receives something when a signal has asked httpd to restart. The launcher replaces
// it instead.
func (h *Handover) Asks() <-chan struct{} {
	if h == nil {
		return nil
	}
	return h.asks
}

// Sockets returns what httpd listens on; nil if it has not sent that. The descriptors
// stay open until Close.
func (h *Handover) Sockets() []int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.sockets
}

func (h *Handover) received(sockets []int) {
	h.replace(sockets)
	h.once.Do(func() { close(h.known) })
}

// Detach ends the connection: from then on httpd restarts itself when a signal asks for it.
func (h *Handover) Detach() { _ = h.control.Close() }

// Forget closes the launcher's copies of the sockets: nobody can connect any more once
// httpd has closed its own.
func (h *Handover) Forget() { h.replace(nil) }

func (h *Handover) replace(sockets []int) {
	h.mu.Lock()
	defer h.mu.Unlock()
	closeAll(h.sockets)
	h.sockets = sockets
}

// Admit lets the children of httpd accept connections.
func (h *Handover) Admit() {
	if h.gate != nil {
		tell(h.gate, 1)
	}
}

// Finish has the children of httpd close each connection after its next response.
func (h *Handover) Finish() { h.tellLeave(1) }

// Leave does the same, and has them accept no more connections.
func (h *Handover) Leave() { h.tellLeave(2) }

// tellLeave makes the pipe have so many bytes.
func (h *Handover) tellLeave(bytes int) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.told < bytes {
		tell(h.leave, bytes-h.told)
		h.told = bytes
	}
}

// tell writes bytes that all who have the pipe see, because nobody reads them.
func tell(pipe *os.File, bytes int) { _, _ = pipe.Write(make([]byte, bytes)) }

// Close releases everything. An httpd that runs keeps its own descriptors.
func (h *Handover) Close() {
	h.Started()
	_ = h.control.Close()
	if h.gate != nil {
		_ = h.gate.Close()
	}
	_ = h.leave.Close()
	_ = h.reports.Close()
	h.board.close()
	h.Forget()
}
