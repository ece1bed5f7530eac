//go:build unix

package run

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"
)

// A killed process (SIGKILL, the kernel's out-of-memory killer) has no time to end its
// tools, and the kernel ends only direct children (Pdeathsig): the driver of a compiler
// ends, but the compiler proper continues. So another process watches, the guard. It is
// this program once more, in a separate session, where no terminal and no kill of a
// process group reaches it. It reads from a pipe which process groups exist. The end of
// the pipe means that the watched process has ended, for whatever reason. The guard then
// sends the groups SIGTERM, on which compilers remove their temporary files and httpd its
// sockets, and SIGKILL a little later. None of this needs rights, control groups or an
// init that reaps.
//
// A tool that leaves its process group on purpose, as the server of sccache does,
// survives on purpose.

// guardName is the name of the guard in a list of processes, by which it also recognizes
// itself.
const guardName = "modwsgi-guard"

// Guard must be the first call in main. In the guard process it does the guard's work and
// never returns. In any other process it has the first tool start a guard. stop ends the
// guard and must be called at the end of the process: without an init that reaps, nothing
// else would. Without Guard, tools are not guarded.
func Guard() (stop func()) {
	if len(os.Args) > 0 && os.Args[0] == guardName {
		watch(os.Stdin, killDelay)
		os.Exit(0)
	}
	guard.mu.Lock()
	guard.wanted = true
	guard.mu.Unlock()
	return guard.stop
}

// guard is the guard of this process.
var guard guardian

type guardian struct {
	mu     sync.Mutex
	wanted bool
	failed int // how often one could not be reached
	groups map[int]bool
	cmd    *exec.Cmd
	pipe   *os.File
}

// guardTries is how many guards are started in all. If none can run (a limit on processes
// or memory) the work continues without one.
const guardTries = 2

// ready makes sure that a guard is running before a tool starts.
func (g *guardian) ready() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.start()
}

func (g *guardian) start() {
	if !g.wanted || g.pipe != nil || g.failed >= guardTries {
		return
	}
	self, err := os.Executable()
	if runtime.GOOS == "linux" {
		self, err = "/proc/self/exe", nil // also after the file was removed
	}
	if err != nil {
		g.failed = guardTries
		return
	}
	r, w, err := os.Pipe()
	if err != nil {
		g.failed++
		return
	}
	cmd := &exec.Cmd{
		Path: self, Args: []string{guardName, "of", strconv.Itoa(os.Getpid())}, Env: []string{}, Dir: "/",
		Stdin: r, SysProcAttr: &syscall.SysProcAttr{Setsid: true},
	}
	err = cmd.Start()
	_ = r.Close()
	if err != nil {
		g.failed++
		_ = w.Close()
		return
	}
	g.cmd, g.pipe = cmd, w
	for id := range g.groups {
		g.send('+', id)
	}
}

// began and ended inform the guard about a process group.
func (g *guardian) began(id int) { g.change('+', id) }

func (g *guardian) ended(id int) { g.change('-', id) }

func (g *guardian) change(sign byte, id int) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if !g.wanted {
		return
	}
	if g.groups == nil {
		g.groups = map[int]bool{}
	}
	if sign == '+' {
		g.groups[id] = true
	} else {
		delete(g.groups, id)
	}
	if g.send(sign, id); g.pipe == nil {
		g.start() // it was killed: start another one
	}
}

// send writes to the guard. It drops a guard that does not read: it may have been
// stopped, and this process must not stop with it.
func (g *guardian) send(sign byte, id int) {
	if g.pipe == nil {
		return
	}
	_ = g.pipe.SetWriteDeadline(time.Now().Add(time.Second))
	if _, err := fmt.Fprintf(g.pipe, "%c%d\n", sign, id); err != nil {
		g.failed++
		g.drop()
	}
}

// drop drops the guard, and waits for it if it has ended.
func (g *guardian) drop() {
	_ = g.pipe.Close()
	go func(c *exec.Cmd) { _ = c.Wait() }(g.cmd)
	g.pipe, g.cmd = nil, nil
}

func (g *guardian) stop() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.wanted = false
	if g.pipe == nil {
		return
	}
	_ = g.pipe.Close()
	_ = g.cmd.Wait()
	g.pipe, g.cmd = nil, nil
}

// watch waits for the end of the process and ends the rest of its groups.
func watch(from io.Reader, delay time.Duration) {
	signal.Ignore(syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP, syscall.SIGQUIT, syscall.SIGUSR1, syscall.SIGUSR2)
	endGroups(readGroups(from), delay)
}

// readGroups reads which groups exist until the end, and returns the remaining ones.
func readGroups(from io.Reader) map[int]bool {
	groups := map[int]bool{}
	for lines := bufio.NewScanner(from); lines.Scan(); {
		began, isBegin := strings.CutPrefix(lines.Text(), "+")
		ended, isEnd := strings.CutPrefix(lines.Text(), "-")
		if id, err := strconv.Atoi(began); isBegin && err == nil && id > 1 {
			groups[id] = true
		}
		if id, err := strconv.Atoi(ended); isEnd && err == nil {
			delete(groups, id)
		}
	}
	return groups
}

// endGroups ends process groups, by force if they do not react to a request.
func endGroups(groups map[int]bool, delay time.Duration) {
	for id := range groups {
		_ = syscall.Kill(-id, syscall.SIGTERM)
		_ = syscall.Kill(-id, syscall.SIGCONT) // a stopped process reacts to nothing else
	}
	for deadline := time.Now().Add(delay); len(groups) > 0 && time.Now().Before(deadline); time.Sleep(20 * time.Millisecond) {
		for id := range groups {
			if syscall.Kill(-id, 0) == syscall.ESRCH {
				delete(groups, id)
			}
		}
	}
	for id := range groups {
		_ = syscall.Kill(-id, syscall.SIGKILL)
	}
}
