//go:build linux

// Serve compares servers for Python web applications: both launchers of mod_wsgi on the
// same httpd and module, and the servers that applications are usually run with.
//
// A round measures every server once for one kind of request, each alone and in an order
// that rotates. The results are ratios per round to upstream's launcher, so that a
// machine that slows down affects both figures of a ratio. It uses the loopback
// interface only, and installs nothing (scripts/serve-fixture).
//
//	go run ./scripts/bench/serve -upstream DIRECTORY [ENVIRONMENT]
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"slices"
	"strings"
	"syscall"
	"time"
)

type options struct {
	env, upstream, fixture         string
	rows, servers                  string
	seconds, warm                  int
	rounds, connections            int
	processes, threads             int
	pin, write, keep               bool
	json                           string
	serverCores, loadCores, reason string // for taskset, "" without pinning
}

func main() {
	o := options{}
	flag.StringVar(&o.upstream, "upstream", "", "unpacked source of mod_wsgi, from which upstream's launcher is built, or upstream's mod_wsgi-express with the same module; without it, ratios are to daemon mode of this project's launcher")
	flag.StringVar(&o.fixture, "fixture", "", "directory of the unpacked packages (default: serve in the tests' directory; scripts/serve-fixture fills it)")
	flag.StringVar(&o.rows, "rows", "", "comma-separated kinds of request (default all): "+rowNames())
	flag.StringVar(&o.servers, "servers", "", "comma-separated servers (default all): "+serverNames())
	flag.IntVar(&o.seconds, "seconds", 3, "duration of one measurement")
	flag.IntVar(&o.warm, "warm", 1, "seconds of the same load before each measurement")
	flag.IntVar(&o.rounds, "rounds", 5, "measurements of each server for each row")
	flag.IntVar(&o.connections, "connections", 16, "concurrent connections")
	flag.IntVar(&o.processes, "processes", 1, "processes of the application")
	flag.IntVar(&o.threads, "threads", 5, "threads per process of the application")
	flag.BoolVar(&o.pin, "pin", true, "run the load generator on the last core and the servers on the others")
	flag.BoolVar(&o.write, "write", false, "write the result into "+page)
	flag.BoolVar(&o.keep, "keep", false, "leave the working directory, with logs and configurations")
	flag.StringVar(&o.json, "json", "", "write all figures to `FILE`")
	flag.Usage = func() {
		fmt.Fprintln(flag.CommandLine.Output(), "Usage: go run ./scripts/bench/serve [OPTIONS] [ENVIRONMENT]\nENVIRONMENT is a Python environment in which modwsgi installed mod_wsgi (default: MODWSGI_TEST_ENV).")
		flag.PrintDefaults()
	}
	flag.Parse()
	o.env = os.Getenv("MODWSGI_TEST_ENV")
	if flag.NArg() > 0 {
		o.env = flag.Arg(0)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := bench(ctx, o); err != nil {
		fmt.Fprintln(os.Stderr, "serve:", err)
		stop()
		os.Exit(1)
	}
}

// row is one kind of request.
type row struct {
	name, about   string
	path          string
	size          int64
	tls, new, two bool // HTTPS, a connection per request, HTTP/2
}

const staticPath = "/static/file.bin"

var rows = []row{
	{name: "hello", about: "an application with a body of 6 bytes", path: "/hello", size: 6},
	{name: "sleep", about: "an application that waits for 20 ms", path: "/sleep", size: 6},
	{name: "big", about: "an application with a body of 1 MB", path: "/big", size: 1 << 20},
	{name: "static", about: "a file of 100 KB", path: staticPath, size: 100 << 10},
	{name: "https", about: "hello over HTTPS, connections are reused", path: "/hello", size: 6, tls: true},
	{name: "https-new", about: "hello over HTTPS, a connection per request", path: "/hello", size: 6, tls: true, new: true},
	{name: "http2", about: "hello over HTTP/2 with TLS, one stream per connection at a time", path: "/hello", size: 6, tls: true, two: true},
}

func rowNames() string {
	var all []string
	for _, r := range rows {
		all = append(all, r.name)
	}
	return strings.Join(all, ", ")
}

// choose returns the items whose names are in a comma-separated list, in their order.
func choose[T any](all []T, list, what string, name func(T) string) ([]T, error) {
	if list == "" {
		return all, nil
	}
	var chosen, known []string
	for _, a := range all {
		known = append(known, name(a))
	}
	for n := range strings.SplitSeq(list, ",") {
		if !slices.Contains(known, n) {
			return nil, fmt.Errorf("unknown %s %q: choose from %s", what, n, strings.Join(known, ", "))
		}
		chosen = append(chosen, n)
	}
	return slices.DeleteFunc(slices.Clone(all), func(a T) bool { return !slices.Contains(chosen, name(a)) }), nil
}

// omission is what was not measured, and why.
type omission struct{ Row, Server, Reason string }

func bench(ctx context.Context, o options) (err error) {
	if o.env == "" {
		return errors.New("pass an environment with mod_wsgi installed by modwsgi, or set MODWSGI_TEST_ENV")
	}
	if min(o.seconds, o.rounds, o.connections, o.processes, o.threads) < 1 || o.warm < 0 {
		return errors.New("-seconds, -rounds, -connections, -processes and -threads must be positive, and -warm not negative")
	}
	chosenRows, err := choose(rows, o.rows, "row", func(r row) string { return r.name })
	if err != nil {
		return err
	}
	chosen, err := choose(servers, o.servers, "server", func(s server) string { return s.name })
	if err != nil {
		return err
	}
	o.choosePins()
	w, err := newWorld(ctx, o)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, w.end()) }()

	res := &result{Options: o.public(), Pinned: o.pins(), Machine: w.machine(), Versions: w.versions(), Began: time.Now().UTC().Truncate(time.Second), Commands: map[string][]string{}}
	for _, r := range chosenRows {
		var able []server
		for _, s := range chosen {
			if reason := w.missing(s, r); reason != "" {
				res.Omitted = append(res.Omitted, omission{r.name, s.name, reason})
			} else {
				able = append(able, s)
			}
		}
		if reason := w.withoutRow(r); reason != "" {
			res.Omitted = append(slices.DeleteFunc(res.Omitted, func(a omission) bool { return a.Row == r.name }), omission{r.name, "", reason})
			continue
		}
		for round := range o.rounds {
			for i := range able {
				s := able[(i+round)%len(able)]
				cell := w.measure(r, s, round)
				if ctx.Err() != nil {
					return errors.New("interrupted; all processes have been ended")
				}
				fmt.Fprintln(os.Stderr, cell)
				res.Cells = append(res.Cells, cell)
				if _, there := res.Commands[s.name]; !there {
					res.Commands[s.name] = w.shown
				}
			}
		}
	}
	res.summarise(chosenRows, chosen)
	fmt.Print(res.text())
	if o.json != "" {
		err = res.writeJSON(o.json)
	}
	if o.write {
		err = errors.Join(err, res.writePage())
	}
	if bad := res.invalid(); bad > 0 {
		err = errors.Join(err, fmt.Errorf("%d measurements are invalid", bad))
	}
	return err
}
