package supervise

import (
	"bufio"
	_ "embed" // of the page
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/netip"
	"net/textproto"
	"strconv"
	"strings"
	"sync"
	"time"

	"modwsgi/express/host"
	"modwsgi/express/instance"
	"modwsgi/internal/fault"
)

// Metrics and the dashboard are served by the process that supervises httpd, because they
// continue when httpd is replaced. It does not use net/http, which would slow down every
// start of the launcher and make it larger by half: requests have no bodies, and each
// connection is closed after its response.

const (
	mostScrapes = 16 // connections at the same time; others wait
	mostAsked   = 16 << 10
	scrapeLimit = 10 * time.Second
)

// dashboard is the page. It refers to nothing but status.json.
//
//go:embed dashboard.html
var dashboard string

// These are the hashes of the page's only script and style sheet (dashboard_test.go computes them).
const (
	scriptHash = "sha256-WJRxufT/x3YsjryzfNzgZcytd6LrdJ7P6B3vnP7WkTc="
	styleHash  = "sha256-xM+UU6FbrEkR/mDq29Z+/IOn+NlVknFypXTAXvE8hVw="
)

// pageHeaders keep the page from loading or running anything else, and other pages from
// showing or reading it.
const pageHeaders = "Content-Security-Policy: default-src 'none'; script-src '" + scriptHash + "'; style-src '" + styleHash + "'; connect-src 'self'; img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'\r\n" +
	"X-Frame-Options: DENY\r\n" +
	"Cross-Origin-Opener-Policy: same-origin\r\n"

// allHeaders are those of every response.
const allHeaders = "Cache-Control: no-store\r\n" +
	"X-Content-Type-Options: nosniff\r\n" +
	"Referrer-Policy: no-referrer\r\n" +
	"Cross-Origin-Resource-Policy: same-origin\r\n" +
	"Connection: close\r\n"

// pages are the addresses at which the process answers at present.
type pages struct {
	mu    sync.Mutex
	doors map[string]*pageDoor // by address
}

// pageDoor is one of them.
type pageDoor struct {
	net.Listener

	loopback           bool
	metrics, dashboard bool // what is served there
}

// CheckPages returns an error if metrics or the dashboard cannot be served at their
// addresses; "" stands for none.
func CheckPages(metrics, dashboard string) error {
	for _, p := range []struct{ address, option string }{{metrics, "--metrics-listen"}, {dashboard, "--dashboard"}} {
		name, port, err := net.SplitHostPort(p.address)
		if err != nil {
			continue // it is not served
		}
		number, err := strconv.Atoi(port)
		if err != nil {
			return fault.New(fault.Usage, "", "%q is not a port", port)
		}
		if err := host.CheckPort(name, number, p.option); err != nil {
			return err
		}
	}
	return nil
}

// servePages serves what a generation wants from now on. The next httpd may have other
// addresses.
func (s *succession) servePages(l *instance.Launch) {
	p := &s.pages
	p.mu.Lock()
	defer p.mu.Unlock()
	for address, door := range p.doors {
		if address != l.Metrics && address != l.Dashboard {
			_ = door.Close()
			delete(p.doors, address)
		}
	}
	for _, page := range []struct{ address, option string }{{l.Metrics, "--metrics-listen"}, {l.Dashboard, "--dashboard"}} {
		if page.address == "" {
			continue
		}
		door := p.doors[page.address]
		if door == nil {
			listener, err := net.Listen("tcp", page.address)
			if err != nil {
				s.console.Fail(fault.New(fault.Environment, "choose another address with "+page.option+", and reload", "option %s has no effect: %w", page.option, err))
				continue
			}
			door = &pageDoor{Listener: listener, loopback: isLoopback(listener.Addr())}
			if p.doors == nil {
				p.doors = map[string]*pageDoor{}
			}
			p.doors[page.address] = door
			go s.acceptScrapes(door)
		}
		door.metrics, door.dashboard = page.address == l.Metrics, page.address == l.Dashboard
	}
}

func isLoopback(a net.Addr) bool {
	tcp, ok := a.(*net.TCPAddr)
	return ok && tcp.IP.IsLoopback()
}

func (p *pages) close() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, door := range p.doors {
		_ = door.Close()
	}
	p.doors = nil
}

// serves returns what is served at an address.
func (p *pages) serves(door *pageDoor) (metrics, dashboard bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return door.metrics, door.dashboard
}

func (s *succession) acceptScrapes(door *pageDoor) {
	free := make(chan struct{}, mostScrapes)
	acceptAll(door.Accept, func(conn net.Conn) {
		free <- struct{}{}
		go func() {
			defer func() { <-free }()
			s.scrape(conn, door)
		}()
	})
}

// response is the answer to a request.
type response struct {
	status, kind, headers, body string
}

func plain(status, text string) response {
	return response{status, "text/plain; charset=utf-8", "", text + "\n"}
}

// scrape answers one request.
func (s *succession) scrape(conn net.Conn, door *pageDoor) {
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(scrapeLimit))
	from := textproto.NewReader(bufio.NewReader(io.LimitReader(conn, mostAsked)))
	line, err := from.ReadLine()
	var header textproto.MIMEHeader
	if err == nil {
		header, err = from.ReadMIMEHeader()
	}
	method, rest, _ := strings.Cut(line, " ")
	target, version, _ := strings.Cut(rest, " ")
	path, _, _ := strings.Cut(target, "?")
	var r response
	switch {
	case err != nil || !strings.HasPrefix(version, "HTTP/1."):
		r = plain("400 Bad Request", "this is no request of HTTP/1.1")
	case method != "GET" && method != "HEAD":
		r = plain("405 Method Not Allowed", "only GET is allowed")
		r.headers = "Allow: GET, HEAD\r\n"
	case door.loopback && !meansThisMachine(header.Values("Host")):
		r = plain("421 Misdirected Request", "ask for localhost or 127.0.0.1: pages of other sites are not answered")
	default:
		r = s.page(door, path, header.Get("Sec-Fetch-Site"))
	}
	fmt.Fprintf(conn, "HTTP/1.1 %s\r\nContent-Type: %s\r\nContent-Length: %d\r\n%s%s\r\n", r.status, r.kind, len(r.body), allHeaders, r.headers)
	if method != "HEAD" {
		_, _ = io.WriteString(conn, r.body)
	}
}

// page returns the answer for a path. Site is where a browser says that a request comes from.
func (s *succession) page(door *pageDoor, path, site string) response {
	metrics, page := s.pages.serves(door)
	switch {
	case path == "/metrics" && metrics:
		<-s.begun
		var b strings.Builder
		s.report().metrics(&b)
		return response{"200 OK", "text/plain; version=0.0.4; charset=utf-8", "", b.String()}
	case path == "/" && page:
		return response{"200 OK", "text/html; charset=utf-8", pageHeaders, dashboard}
	case path == "/status.json" && page:
		if site == "cross-site" || site == "same-site" {
			return plain("403 Forbidden", "pages of other sites are not answered")
		}
		<-s.begun
		body, err := json.Marshal(s.report())
		if err != nil {
			return plain("500 Internal Server Error", "no status")
		}
		return response{"200 OK", "application/json", "", string(body) + "\n"}
	case page:
		return plain("404 Not Found", "the dashboard is at /")
	}
	return plain("404 Not Found", "the metrics are at /metrics")
}

// meansThisMachine reports whether a request asks for an address of the loopback
// interface, or for localhost. A page of another site can have a browser ask for its own
// name, and let that name mean 127.0.0.1 (DNS rebinding). Programs may ask for no name.
func meansThisMachine(hosts []string) bool {
	if len(hosts) == 0 {
		return true
	}
	name := hosts[0]
	if h, _, err := net.SplitHostPort(name); err == nil {
		name = h
	}
	name = strings.TrimSuffix(strings.Trim(name, "[]"), ".")
	if strings.EqualFold(name, "localhost") {
		return len(hosts) == 1
	}
	a, err := netip.ParseAddr(name)
	return err == nil && a.IsLoopback() && len(hosts) == 1
}
