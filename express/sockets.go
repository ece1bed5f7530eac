package express

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"modwsgi/express/config"
	"modwsgi/express/host"
	"modwsgi/internal/fault"
	"modwsgi/internal/run"
)

// With socket activation, systemd opens the listening sockets and keeps them while the
// service is restarted (systemd.socket(5)). The first httpd adopts them (mod_handover),
// as the next one does at a reload.
//
// An option that is not given is taken from the sockets: --https-port from a socket
// named https, --port from the only other one, and --host from the address that all of
// them have. Then every socket must be one that httpd would listen on: systemd would
// accept connections on any other, and nobody would answer them.

// httpsName is the FileDescriptorName= of sockets for --https-port.
const httpsName = "https"

// giveSockets sets the options that are not given.
func giveSockets(s *Server, sockets []host.Passed) {
	if len(sockets) == 0 {
		return
	}
	first := sockets[0].Address.Addr()
	same := func(p host.Passed) bool { return p.Address.Addr() == first && !p.All() }
	if !s.Given(config.Host) && !slices.ContainsFunc(sockets, func(p host.Passed) bool { return !same(p) }) {
		config.Host.Give(s, first.String())
	}
	var plain, secure []int
	for _, p := range sockets {
		if port := int(p.Address.Port()); p.Name == httpsName {
			secure = append(secure, port)
		} else {
			plain = append(plain, port)
		}
	}
	if !s.Given(config.Port) && len(plain) == 1 {
		config.Port.Give(s, plain[0])
	}
	if !s.Given(config.HTTPSPort) && len(secure) == 1 {
		config.HTTPSPort.Give(s, secure[0])
	}
}

// endpoint is an address and port of a Listen directive, as httpd resolves it.
type endpoint struct {
	addresses []netip.Addr // none is every address
	port      int
}

// endpointOf resolves a host, "" for every address.
func endpointOf(ctx context.Context, name string, port int) endpoint {
	e := endpoint{port: port}
	if name == "" {
		return e
	}
	name = config.Unbracket(name)
	if a, err := netip.ParseAddr(name); err == nil {
		e.addresses = []netip.Addr{a}
		return e
	}
	found, _ := net.DefaultResolver.LookupNetIP(ctx, "ip", name) // what is unknown fits no socket
	for _, a := range found {
		e.addresses = append(e.addresses, a.Unmap())
	}
	if len(found) == 0 {
		e.port = 0
	}
	return e
}

// fitting returns those of the sockets that httpd adopts for an endpoint. For every
// address it needs a socket of both protocols, or one of each: it would try to open what
// is missing.
func (e endpoint) fitting(sockets []host.Passed) (fitting []host.Passed) {
	four, six := false, false
	for _, p := range sockets {
		a := p.Address.Addr()
		switch {
		case int(p.Address.Port()) != e.port:
			continue
		case len(e.addresses) == 0 && !a.IsUnspecified(), len(e.addresses) > 0 && !slices.Contains(e.addresses, a):
			continue
		}
		four, six = four || a.Is4() || p.All(), six || a.Is6()
		fitting = append(fitting, p)
	}
	if len(e.addresses) == 0 && !(four && six) {
		return nil
	}
	return fitting
}

// checkPorts refuses a port that is in use, or that only root may listen on, unless a
// socket has it. Whether that socket fits is checked later.
func checkPorts(s *Server, sockets []host.Passed) error {
	for _, o := range servedPorts(s) {
		if slices.ContainsFunc(sockets, func(p host.Passed) bool { return int(p.Address.Port()) == o.port }) {
			continue
		}
		if err := host.CheckPort(config.Host.In(s), o.port, o.flag); err != nil {
			return err
		}
	}
	return nil
}

// servedPort is a port that an option sets.
type servedPort struct {
	port int
	flag string
}

func servedPorts(s *Server) []servedPort {
	ports := []servedPort{{config.Port.In(s), config.Port.Flag()}}
	if s.Given(config.HTTPSPort) {
		ports = append(ports, servedPort{config.HTTPSPort.In(s), config.HTTPSPort.Flag()})
	}
	return ports
}

// checkSockets refuses sockets that httpd would not adopt.
func (d *deployment) checkSockets(ctx context.Context, sockets []host.Passed) error {
	if len(sockets) == 0 {
		return nil
	}
	const text = "this program was started with sockets (%s), which this httpd cannot take: %s"
	switch {
	case config.DebugMode.In(d):
		return fault.New(fault.Environment, "start it without --debug-mode and the options that imply it, or without the socket unit", text, list(sockets), "in debug mode it is a single process")
	case d.python.Handover() == "":
		return fault.New(fault.Environment, "build mod_wsgi again: modwsgi install --reinstall --python "+run.Quote(d.python.Home)+"; or start it without the socket unit", text, list(sockets), d.python.Home+" has no mod_handover")
	}
	fits := map[int]bool{}
	for _, e := range d.endpoints(ctx) {
		for _, p := range e.fitting(sockets) {
			fits[p.FD] = true
		}
	}
	for _, p := range sockets {
		if !fits[p.FD] {
			return d.misfit(ctx, p, sockets)
		}
	}
	return nil
}

// endpoints returns everything that httpd listens on.
func (d *deployment) endpoints(ctx context.Context) (all []endpoint) {
	for _, o := range servedPorts(d.Server) {
		all = append(all, endpointOf(ctx, config.Host.In(d), o.port))
	}
	for _, name := range config.IncludeFile.In(d) {
		for _, at := range config.IncludedListens(d.Root, config.Included(d.FromLaunch(name))) {
			name, port := "", at
			if k := strings.LastIndexByte(at, ':'); k >= 0 {
				name, port = strings.TrimPrefix(at[:k], "*"), at[k+1:]
			}
			if n, err := strconv.Atoi(port); err == nil {
				all = append(all, endpointOf(ctx, name, n))
			}
		}
	}
	return all
}

// misfit is the error for a socket that httpd would not adopt. Its hint names the options
// with which it would.
func (d *deployment) misfit(ctx context.Context, p host.Passed, sockets []host.Passed) error {
	port, options := int(p.Address.Port()), ""
	name := config.Unbracket(config.Host.In(d))
	switch address := p.Address.Addr(); {
	case p.All() && name != "":
		options = " without --host"
	case !p.All() && !slices.Contains(endpointOf(ctx, name, port).addresses, address):
		options = " with --host " + address.String()
	}
	if !slices.ContainsFunc(servedPorts(d.Server), func(o servedPort) bool { return o.port == port }) {
		if options == "" {
			options = " with"
		} else {
			options += " and"
		}
		if plain := fmt.Sprintf(" --port %d", port); p.Name != httpsName {
			options += plain + ", or for HTTPS"
		}
		options += fmt.Sprintf(" --https-port %d", port)
	}
	var listens []string
	for _, o := range servedPorts(d.Server) {
		listens = append(listens, config.ListenAddress(name, o.port))
	}
	what := p.String()
	if p.Name != "" {
		what += " (" + p.Name + ")"
	}
	return fault.New(fault.Environment, "start it"+options+", or change ListenStream= in the socket unit",
		"httpd does not listen on the socket %s, one of those that this program was started with (%s): it listens on %s", what, list(sockets), strings.Join(listens, " and "))
}

// addresses returns the addresses of sockets.
func addresses(sockets []host.Passed) (all []string) {
	for _, p := range sockets {
		all = append(all, p.String())
	}
	return all
}

// list returns them for a message.
func list(sockets []host.Passed) string { return strings.Join(addresses(sockets), ", ") }
