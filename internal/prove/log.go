package prove

import (
	"crypto/rand"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"modwsgi/internal/owned"
	"modwsgi/internal/run"
)

// maxOutput is how much output of a throwaway server is kept.
const maxOutput = 1 << 20

// boundedText keeps the beginning of what several goroutines write.
type boundedText struct {
	mu sync.Mutex
	b  strings.Builder
}

func (l *boundedText) Write(data []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.b.Write(data[:min(len(data), maxOutput-l.b.Len())])
	return len(data), nil
}

func (l *boundedText) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// errorLog is the error log of a throwaway server: a named pipe that is created and held
// open here. So the server's account cannot redirect a file name, and nothing needs to be
// polled.
//
// A pipe is read in the order of its writes. The server does not know the mark, because
// only this process can read the pipe. So once the reader sees the mark, it has read
// everything before it.
type errorLog struct {
	boundedText
	pipe    *os.File // for both directions
	mark    string
	marked  chan struct{}
	closing atomic.Bool
	ended   chan struct{} // nil before follow
}

// fatal are texts in the error log after which no answer comes: a client would wait for
// the daemon process until it times out.
var fatal = []string{":alert]", ":emerg]", "exit signal", "Fatal Python error", "has died, deregister"}

// follow reads what the server writes, and calls trouble if no answer will come.
func (l *errorLog) follow(trouble func()) {
	l.mark, l.marked, l.ended = "\n"+rand.Text()+"\n", make(chan struct{}, 1), make(chan struct{})
	go func() {
		defer close(l.ended)
		var last string // end of the previous read: a text may span both
		for buf := make([]byte, 8<<10); ; {
			n, err := l.pipe.Read(buf)
			_, _ = l.Write(buf[:n])
			last += string(buf[:n])
			for _, text := range fatal {
				if strings.Contains(last, text) {
					trouble()
				}
			}
			if strings.Contains(last, l.mark) {
				select {
				case l.marked <- struct{}{}:
				default:
				}
				last = ""
			}
			if err != nil || l.closing.Load() {
				return
			}
			last = last[max(0, len(last)-64):]
		}
	}()
}

// settle waits until everything is read that the server writes within a moment, or wrote
// before its end. It is called once.
func (l *errorLog) settle(server *run.Process) {
	select {
	case <-server.Done():
	case <-time.After(100 * time.Millisecond):
	}
	if _, err := l.pipe.WriteString(l.mark); err != nil {
		return
	}
	select {
	case <-l.marked:
	case <-l.ended:
	case <-time.After(time.Second):
	}
}

// text returns what the server wrote.
func (l *errorLog) text() string { return strings.ReplaceAll(l.String(), l.mark, "") }

func (l *errorLog) close() {
	l.closing.Store(true)
	if l.ended != nil {
		_, _ = l.pipe.WriteString(l.mark) // wakes the reader
		<-l.ended
	}
	_ = l.pipe.Close()
}

// hint derives a hint from the output of httpd.
func hint(said, prefix string, account *run.Account) string {
	if dir := owned.ClosedTo(prefix); account != nil && !account.ReadAll && dir != "" {
		return "the directory " + dir + " is closed to the user that serves (even root cannot): use an environment in /srv or /opt, or open it (chmod o+x " + run.Quote(dir) + ")"
	}
	switch {
	case strings.Contains(said, "cannot open shared object file"):
		return "a library that the module or httpd needs was not found: was Python or a system library removed?"
	case strings.Contains(said, "undefined symbol"):
		return "the module does not match the httpd or the Python: run modwsgi install --reinstall --python " + run.Quote(prefix)
	case strings.Contains(said, "Permission denied"), strings.Contains(said, "Operation not permitted"):
		return "the server cannot read the Python environment or its own directory: check their permissions"
	case strings.Contains(said, "could not bind"):
		return "another process took the port: try again"
	}
	return "look for the first line above that mentions wsgi, Python or an error"
}

// outputBlock shows the end of httpd's output, "" if it has none.
func outputBlock(said string) string {
	if strings.TrimSpace(said) == "" {
		return ""
	}
	return "\nhttpd output:\n" + indent(relevantLines(said, 20))
}

// relevantLines picks the lines of a log to show: those that report trouble, otherwise the last
// ones.
func relevantLines(said string, most int) string {
	all := strings.Split(strings.TrimRight(said, "\n"), "\n")
	var out []string
	for _, line := range all {
		if !strings.Contains(line, ":info]") && !strings.Contains(line, ":notice]") && !strings.Contains(line, ":debug]") {
			out = append(out, line)
		}
	}
	if len(out) == 0 {
		out = all
	}
	return strings.Join(out[max(0, len(out)-most):], "\n")
}

// keepLog writes the log of a failed server to the directory of logs, and returns a line
// that names the file.
func keepLog(dir, said string) string {
	if dir == "" || said == "" {
		return ""
	}
	d, err := owned.OpenDir(dir)
	if err != nil {
		return ""
	}
	defer func() { _ = d.Close() }()
	if err := d.WriteFile("verify.log", []byte(said), 0o600); err != nil {
		return ""
	}
	return "\nthe whole log: " + filepath.Join(dir, "verify.log")
}

func indent(s string) string {
	return "  " + strings.ReplaceAll(strings.TrimRight(s, "\n"), "\n", "\n  ")
}
