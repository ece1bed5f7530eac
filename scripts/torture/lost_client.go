//go:build linux

package main

import (
	"bufio"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"time"
)

// The client writes requests to a socket by itself. net/http would send a request again
// without a word if the server closes a connection that was used before, and that is one
// of the losses that are counted here. Only the parser of responses is net/http's.

// kind is what became of a request.
type kind string

const (
	answered kind = ""
	refused  kind = "refused" // no connection
	reset    kind = "reset"   // a new connection ended without a response
	closed   kind = "closed"  // a connection that had been used before did
	cut      kind = "cut"     // the response is incomplete or not the one for this request
	timeout  kind = "timeout"
	odd      kind = "odd" // a status that no part of the test asks for
)

// kindOf is that of a status: 500, 502, 503 and 504 are kinds of their own.
func kindOf(status int) kind {
	switch status {
	case http.StatusOK:
		return answered
	case 500, 502, 503, 504:
		return kind(strconv.Itoa(status))
	}
	return odd
}

// request is what is asked for.
type request struct {
	number  string        // comes back in the response
	seconds float64       // that the application sleeps
	size    int           // of the response, without its first line
	body    int           // bytes that are sent with POST, 0 for GET
	slowly  int           // bytes that are read in a second, 0 for no limit
	limit   time.Duration // for the whole
	begun   bool          // the application notes that it has begun with it
}

// response is what came.
type response struct {
	kind    kind
	detail  string
	sent    time.Time
	took    time.Duration
	version int   // of the application's code
	config  int   // of the configuration
	serial  int64 // of the certificate
	pid     int   // of the process that ran the application
	opened  bool  // the connection was opened for this request
	aborted bool  // the server's kernel ended it without a farewell
	port    int   // of the client
}

// dials counts the connections of clients.
type dials struct {
	begun atomic.Int64 // that are being made
	made  atomic.Int64
}

// client is one connection after the other.
type client struct {
	dials         *dials
	address, host string
	tls           *tls.Config // nil for HTTP
	keep          bool        // keep-alive
	conn          net.Conn
	raw           *net.TCPConn
	in            *bufio.Reader
}

func (c *client) close() {
	if c.conn != nil {
		_ = c.raw.Close() // without a farewell that could block
		c.conn = nil
	}
}

// stale reports whether the server has closed an idle connection already, as every
// client checks before it uses one again. With TLS, what came meanwhile is the server's
// notice that it closes. What came without TLS is kept: it is part of no response.
func (c *client) stale() bool {
	raw, err := c.raw.SyscallConn()
	if err != nil {
		return true
	}
	gone := false
	err = raw.Read(func(fd uintptr) bool {
		n, _, err := syscall.Recvfrom(int(fd), make([]byte, 1), syscall.MSG_PEEK|syscall.MSG_DONTWAIT)
		gone = err == nil && (n == 0 || c.tls != nil) || err != nil && !errors.Is(err, syscall.EAGAIN)
		return true
	})
	return gone || err != nil
}

// open opens a connection, unless the one of the last request can be used again.
func (c *client) open(limit time.Duration) (opened bool, k kind, err error) {
	if c.conn != nil && c.in.Buffered() == 0 && !c.stale() {
		return false, answered, nil
	}
	c.close()
	c.dials.begun.Add(1)
	conn, err := (&net.Dialer{Timeout: min(limit, 10*time.Second)}).Dial("tcp", c.address)
	c.dials.made.Add(1) // before it is taken from those that are being made: none is missed
	c.dials.begun.Add(-1)
	if err != nil {
		return true, refused, err
	}
	c.raw = conn.(*net.TCPConn)
	_ = c.raw.SetLinger(0) // thousands of connections leave no ports that wait
	c.conn = conn
	if c.tls != nil {
		secure := tls.Client(conn, c.tls)
		_ = conn.SetDeadline(time.Now().Add(limit))
		if err := secure.Handshake(); err != nil {
			c.close()
			return true, reset, fmt.Errorf("TLS handshake: %w", err)
		}
		c.conn = secure
	}
	c.in = bufio.NewReader(c.conn)
	return true, answered, nil
}

// do sends a request and reads the response.
func (c *client) do(r request) (resp response) {
	resp.sent = time.Now()
	defer func() { resp.took = time.Since(resp.sent) }()
	fail := func(k kind, err error) response {
		c.close()
		resp.kind, resp.detail, resp.aborted = k, err.Error(), errors.Is(err, syscall.ECONNRESET)
		if errors.Is(err, os.ErrDeadlineExceeded) {
			resp.kind = timeout
		}
		return resp
	}
	opened, k, err := c.open(r.limit)
	resp.opened = opened
	if err != nil {
		return fail(k, err)
	}
	resp.port = c.raw.LocalAddr().(*net.TCPAddr).Port
	resp.sent = time.Now()
	_ = c.conn.SetDeadline(resp.sent.Add(r.limit))
	_, werr := io.WriteString(c.conn, c.head(r))
	// A server that closes may have answered before.
	if _, err := c.in.Peek(1); err != nil {
		if werr != nil {
			err = errors.Join(werr, err)
		}
		if opened {
			return fail(reset, err)
		}
		return fail(closed, err)
	}
	if err := c.read(r, &resp); err != nil {
		return fail(cut, err)
	}
	return resp
}

func (c *client) head(r request) string {
	var b strings.Builder
	method := "GET"
	if r.body > 0 {
		method = "POST"
	}
	begun := ""
	if r.begun {
		begun = "&begun=yes"
	}
	fmt.Fprintf(&b, "%s /?number=%s&seconds=%g&size=%d%s HTTP/1.1\r\nHost: %s\r\n", method, r.number, r.seconds, r.size, begun, c.host)
	if !c.keep {
		b.WriteString("Connection: close\r\n")
	}
	if r.body > 0 {
		fmt.Fprintf(&b, "Content-Type: text/plain\r\nContent-Length: %d\r\n", r.body)
	}
	b.WriteString("\r\n")
	b.WriteString(strings.Repeat("b", r.body))
	return b.String()
}

// read reads a response whose first byte is there.
func (c *client) read(r request, resp *response) error {
	got, err := http.ReadResponse(c.in, nil)
	if err != nil {
		return err
	}
	defer func() { _ = got.Body.Close() }()
	var from io.Reader = got.Body
	if r.slowly > 0 {
		from = &slowReader{from: from, bytes: r.slowly}
	}
	data, err := io.ReadAll(from)
	if err != nil {
		return fmt.Errorf("after %d bytes: %w", len(data), err)
	}
	if secure, ok := c.conn.(*tls.Conn); ok {
		resp.serial = secure.ConnectionState().PeerCertificates[0].SerialNumber.Int64()
	}
	if got.Close || !c.keep {
		c.close()
	}
	if resp.kind = kindOf(got.StatusCode); resp.kind != answered {
		resp.detail = got.Status
		return nil
	}
	line, rest, _ := strings.Cut(string(data), "\n")
	var number string
	var body int
	if n, err := fmt.Sscanf(line, "number=%s version=%d config=%d pid=%d body=%d", &number, &resp.version, &resp.config, &resp.pid, &body); n != 5 {
		return fmt.Errorf("%.200q: %w", line, err)
	}
	if number != r.number || body != r.body || len(rest) != r.size || strings.Trim(rest, "x") != "" {
		return fmt.Errorf("asked for number %s, body %d, size %d: %.200q and %d bytes", r.number, r.body, r.size, line, len(rest))
	}
	return nil
}

// slowReader reads so many bytes in a second.
type slowReader struct {
	from  io.Reader
	bytes int
}

func (s *slowReader) Read(p []byte) (int, error) {
	const pauses = 10
	time.Sleep(time.Second / pauses) // a slow client
	return s.from.Read(p[:min(len(p), max(1, s.bytes/pauses))])
}
