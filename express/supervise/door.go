package supervise

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"strings"
	"time"

	"modwsgi/express/host"
	"modwsgi/express/instance"
	"modwsgi/internal/fault"
	"modwsgi/internal/owned"
)

// A process that supervises the httpds of an instance listens on a socket in the server
// root, where only its own account and root may ask it: for a reload, whose result it
// returns, or to let httpd be as it is, because it is about to be stopped. The connection
// of the latter ends with the supervising process.

// doorFile is the name of that socket.
const doorFile = "control.sock"

// request is what another process asks for. It gets the result, nil for success.
type request struct {
	kind   string
	result chan<- error
}

// pauseAfterError is the pause after a connection could not be accepted.
const pauseAfterError = 100 * time.Millisecond

const (
	wantReload = "reload"
	wantHold   = "hold"    // httpd is not replaced
	wantGo     = "release" // whoever held it has ended
	wantStatus = "status"  // the answer is a Report
)

// doorPath returns a path of the socket that is short enough for an address, whatever
// the path of the server root is. It is valid until the file is closed.
func doorPath(dir *owned.Dir) (string, *os.File, error) {
	f, err := dir.Root().Open(".")
	if err != nil {
		return "", nil, err
	}
	return fmt.Sprintf("/proc/self/fd/%d/%s", f.Fd(), doorFile), f, nil
}

// listen accepts requests until it is closed.
func (s *succession) listen(ctx context.Context, l *instance.Launch) (<-chan request, func()) {
	if l.Handle == nil {
		return nil, func() {}
	}
	closed := func(err error) (<-chan request, func()) {
		s.console.Warn("reload can only restart httpd: " + err.Error())
		if l.ACME != nil {
			s.tell(true, "no certificate is obtained or renewed (--https-auto): "+err.Error())
		}
		return nil, func() {}
	}
	path, dir, err := doorPath(l.Handle)
	if err != nil {
		return closed(err)
	}
	_ = l.Handle.Remove(doorFile) // left by one that was killed
	door, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	if err == nil {
		err = l.Handle.Root().Chmod(doorFile, 0o600)
	}
	if err != nil {
		_ = dir.Close()
		return closed(err)
	}
	asked := make(chan request)
	done := make(chan struct{})
	go acceptAll(door.AcceptUnix, func(conn *net.UnixConn) { go s.receive(conn, asked, done) })
	s.certificates.asked = asked
	s.keepCertificate(ctx)
	return asked, func() {
		close(done)
		s.certificates.end()
		_ = door.Close() // removes the file
		_ = dir.Close()
	}
}

// acceptAll passes connections on until the listener is closed.
func acceptAll[Conn any](accept func() (Conn, error), each func(Conn)) {
	for {
		conn, err := accept()
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil { // for example too many open files
			time.Sleep(pauseAfterError)
			continue
		}
		each(conn)
	}
}

// receive serves one request.
func (s *succession) receive(conn *net.UnixConn, asked chan<- request, done <-chan struct{}) {
	defer conn.Close()
	_ = conn.SetReadDeadline(time.Now().Add(10 * time.Second))
	from := bufio.NewReader(conn)
	line, err := from.ReadString('\n')
	if err != nil || !host.MayControl(conn) {
		return
	}
	kind := strings.TrimSuffix(line, "\n")
	if kind == wantStatus {
		select {
		case <-s.begun:
		case <-done:
			return
		}
		_ = json.NewEncoder(conn).Encode(s.report())
		return
	}
	if kind != wantReload && kind != wantHold {
		fmt.Fprintf(conn, "error \nunknown request %q\n", kind)
		return
	}
	result := make(chan error, 1)
	send := func(kind string) bool {
		select {
		case asked <- request{kind, result}:
			return true
		case <-done:
			return false
		}
	}
	if !send(kind) {
		return
	}
	select {
	case err = <-result:
	case <-done:
		return
	}
	switch {
	case errors.Is(err, errNotLinked):
		fmt.Fprint(conn, "restart\n")
	case err != nil:
		fmt.Fprintf(conn, "error %s\n%s\n", fault.HintOf(err), err)
	default:
		fmt.Fprint(conn, "ok\n")
	}
	if kind == wantHold {
		ended := make(chan struct{})
		go func() {
			_ = conn.SetReadDeadline(time.Time{})
			_, _ = from.ReadByte()
			close(ended)
		}()
		select {
		case <-ended:
			send(wantGo)
		case <-done:
		}
	}
}

// serve carries out a request; reload begins a reload.
func (s *succession) serve(r request, reload func(chan<- error)) {
	switch r.kind {
	case wantHold:
		s.held++
		s.stop(errStopped)
		s.drain(true)
		if link := s.present().link; link != nil {
			link.Finish()
			link.Forget()
		}
		r.result <- nil
	case wantGo:
		s.held--
		s.drain(s.held > 0)
	case wantReload:
		if s.held > 0 {
			r.result <- errStopped
			return
		}
		reload(r.result)
	}
}

// knock asks the process that supervises an instance for something; nil if none answers.
// The caller reads the answer, and closes the connection.
func knock(ctx context.Context, l *instance.Launch, kind string) net.Conn {
	conn := reach(ctx, l)
	if conn == nil {
		return nil
	}
	if _, err := conn.Write([]byte(kind + "\n")); err != nil { // it has just ended
		_ = conn.Close()
		return nil
	}
	return conn
}

// reach connects with the process that supervises an instance; nil if it does not exist.
func reach(ctx context.Context, l *instance.Launch) net.Conn {
	if !hands(l) || l.Handle == nil {
		return nil
	}
	path, dir, err := doorPath(l.Handle)
	if err != nil {
		return nil
	}
	defer dir.Close()
	var d net.Dialer
	conn, err := d.DialContext(ctx, "unix", path)
	if err != nil {
		return nil
	}
	return conn
}

// isSupervised reports whether such a process exists.
func isSupervised(ctx context.Context, l *instance.Launch) bool {
	conn := reach(ctx, l)
	if conn == nil {
		return false
	}
	_ = conn.Close()
	return true
}

// hold keeps httpd from being replaced until release is called. wait waits until the
// process that supervises an instance has ended, because then nothing of the instance
// runs any more.
func hold(ctx context.Context, l *instance.Launch) (wait func(limit time.Duration), release func()) {
	conn := knock(ctx, l, wantHold)
	if conn == nil {
		return func(time.Duration) {}, func() {}
	}
	stop := context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Now()) })
	from := bufio.NewReader(conn)
	_ = conn.SetReadDeadline(time.Now().Add(30 * time.Second))
	_, err := from.ReadString('\n')
	if err == nil {
		select {
		case <-time.After(lastRequests):
		case <-ctx.Done():
		}
	}
	return func(limit time.Duration) {
			if err == nil {
				_ = conn.SetReadDeadline(time.Now().Add(limit))
				_, _ = from.ReadByte()
			}
		}, func() {
			stop()
			_ = conn.Close()
		}
}

// ask asks the process that supervises an instance for a reload, and waits for the
// result. there is false if no such process answers, or it cannot replace httpd.
func ask(ctx context.Context, l *instance.Launch) (there bool, err error) {
	conn := knock(ctx, l, wantReload)
	if conn == nil {
		return false, nil
	}
	defer conn.Close()
	stop := context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Now()) })
	defer stop()
	var answer strings.Builder
	if _, err := bufio.NewReader(conn).WriteTo(&answer); err != nil {
		return true, errors.Join(ctx.Err(), err)
	}
	word, rest, _ := strings.Cut(strings.TrimSuffix(answer.String(), "\n"), " ")
	switch {
	case word == "ok":
		return true, nil
	case word == "restart":
		return false, nil
	case word == "error":
		hint, text, _ := strings.Cut(rest, "\n")
		return true, fault.New(fault.Environment, hint, "%s", text)
	}
	return true, fault.New(fault.Environment, "see its error log", "httpd of %s ended during the reload", l.Root)
}
