//go:build linux

package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"maps"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"text/tabwriter"
	"time"
)

// torture serve measures how many accepted requests are lost when something happens to
// a server: ours, and upstream's launcher with the same httpd and the same module. A row
// is an event with a number of connections, which ask all the time.

// serving is a run of it.
type serving struct {
	t      *torture
	ours   []*side // in the foreground, in the background
	theirs *side   // upstream's, nil without it
	chosen []event
	conns  []int
	keeps  []bool
	rounds int
	rate   float64
	mode   string
	cells  []*figures
}

// figures are what was measured for a row on one side.
type figures struct {
	Event     string       `json:"event"`
	Side      string       `json:"side"`
	Conns     int          `json:"connections"`
	KeepAlive bool         `json:"keep_alive"`
	Rounds    int          `json:"rounds"`
	Sent      int          `json:"sent"`
	Lost      int          `json:"lost"`             // without closed
	Closed    int          `json:"closed"`           // connections that had been used before and ended without a response
	Queued    int          `json:"queued,omitempty"` // connections that a stopping server has never accepted
	Kinds     map[kind]int `json:"kinds,omitempty"`
	Longest   int64        `json:"longest_ms"`
	Old       int64        `json:"old_ms"`
	OldCount  int          `json:"old_responses"`
	Bound     *int         `json:"bound,omitempty"` // of what may be lost
	Problems  []string     `json:"problems,omitempty"`

	Examples map[kind]string `json:"examples,omitempty"`
}

// holds reports whether the promise was kept.
func (f *figures) holds() bool {
	bound := 0
	if f.Bound != nil {
		bound = *f.Bound
	}
	return f.Sent > 0 && f.Lost+f.Closed <= bound && len(f.Problems) == 0
}

func eventNames() (all []string) {
	for _, e := range events {
		all = append(all, e.name)
	}
	return all
}

// serveCommand is torture serve, and returns the exit code.
func serveCommand(args []string) int {
	flags := flag.NewFlagSet("torture serve", flag.ExitOnError)
	rounds := flags.Int("rounds", 5, "how often each event happens")
	short := flags.Bool("short", false, "one round and 16 connections, for continuous integration")
	only := flags.String("events", "", "comma-separated events (default all): "+strings.Join(eventNames(), ", "))
	mode := flags.String("mode", "", "foreground or background: how our server runs (default both where it matters, else background)")
	conns := flags.String("conns", "16,32,256", "comma-separated numbers of connections")
	keep := flags.String("keepalive", "yes,no", "with keep-alive, without, or both")
	rate := flags.Float64("rate", 300, "the most requests in a second, over all connections")
	upstream := flags.String("upstream", os.Getenv("MODWSGI_TEST_UPSTREAM"), "directory with the unpacked source of upstream's mod_wsgi, to measure its launcher, too")
	file := flags.String("json", "", "also write the figures to this file")
	keepDir := flags.Bool("keep", false, "leave the working directory")
	_ = flags.Parse(args)
	s := &serving{rounds: *rounds, rate: *rate, mode: *mode}
	if *short {
		s.rounds, *conns = 1, "16"
	}
	if err := s.choose(*only, *conns, *keep); err != nil {
		fmt.Fprintln(os.Stderr, "torture serve:", err)
		return 2
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := s.measure(ctx, *upstream, *file, *keepDir); err != nil {
		fmt.Fprintln(os.Stderr, "torture serve:", err)
		return 2
	}
	code := 0
	for _, f := range s.cells {
		if f.Side != "upstream" && !f.holds() {
			fmt.Printf("NOT KEPT: %s: %s\n", f.name(), f.why())
			code = 1
		}
	}
	return code
}

// choose reads which rows are asked for.
func (s *serving) choose(only, conns, keep string) error {
	s.chosen = events
	if only != "" {
		s.chosen = nil
		for _, name := range strings.Split(only, ",") {
			i := slices.IndexFunc(events, func(e event) bool { return e.name == name })
			if i < 0 {
				return fmt.Errorf("there is no event %q: %s", name, strings.Join(eventNames(), ", "))
			}
			s.chosen = append(s.chosen, events[i])
		}
	}
	for _, text := range strings.Split(conns, ",") {
		n, err := strconv.Atoi(text)
		if err != nil || n < 1 || n > 1000 {
			return fmt.Errorf("-conns: %q is not a number from 1 to 1000", text)
		}
		s.conns = append(s.conns, n)
	}
	for _, text := range strings.Split(keep, ",") {
		if text != "yes" && text != "no" {
			return fmt.Errorf("-keepalive: %q is not yes or no", text)
		}
		s.keeps = append(s.keeps, text == "yes")
	}
	if s.rounds < 1 || s.rate <= 0 || s.mode != "" && s.mode != "foreground" && s.mode != "background" {
		return errors.New("-rounds and -rate must be positive, -mode foreground or background")
	}
	return nil
}

// measure installs, measures every row and prints the table.
func (s *serving) measure(ctx context.Context, upstream, file string, keep bool) error {
	w, err := newWorld(ctx, "serve")
	if err != nil {
		return err
	}
	s.t = &torture{name: "serve", ctx: ctx, world: w}
	defer func() { w.end(keep) }()
	if err := s.install(upstream); err != nil {
		return err
	}
	fmt.Printf("at most %g requests a second of 20 ms, %d processes of %d threads, rounds: %d\n", s.rate, processes, threads, s.rounds)
	err = s.all()
	s.table() // what was measured before an error or the end, too
	if file == "" {
		return err
	}
	data, jerr := json.MarshalIndent(s.cells, "", "  ")
	if jerr == nil {
		jerr = os.WriteFile(file, append(data, '\n'), 0o644)
	}
	return errors.Join(err, jerr)
}

// all measures every row.
func (s *serving) all() error {
	for _, e := range s.chosen {
		fmt.Printf("%s: %s\n", e.name, e.about)
		for _, side := range s.sides(e) {
			if err := s.row(e, side); err != nil {
				return err
			}
		}
	}
	return nil
}

func (s *serving) install(upstream string) error {
	env, err := s.t.venv(s.t.ctx, "env")
	if err == nil {
		err = installed(s.t, env)
	}
	if err != nil {
		return err
	}
	launcher := filepath.Join(env, "bin/mod_wsgi-express")
	s.ours = []*side{{launcher: launcher, foreground: true}, {launcher: launcher}}
	if upstream == "" {
		fmt.Println("upstream's launcher is left out: name the directory of its source with -upstream")
		return nil
	}
	s.theirs, err = upstreams(s.t, env, upstream)
	return err
}

// sides are those on which an event is measured.
func (s *serving) sides(e event) (all []*side) {
	for _, side := range s.ours {
		if s.mode == side.String() || s.mode == "" && (e.both || !side.foreground) {
			all = append(all, side)
		}
	}
	if s.theirs != nil {
		all = append(all, s.theirs)
	}
	return all
}

// row measures an event on one side, with each kind of load.
func (s *serving) row(e event, on *side) error {
	i, err := newInstance(s.t, on, e.name+"-"+on.String(), e.secure, e.options)
	if err != nil {
		return err
	}
	var last *figures
	for _, conns := range s.conns {
		for _, keep := range s.keeps {
			last = &figures{Event: e.name, Side: on.String(), Conns: conns, KeepAlive: keep}
			if s.cell(e, i, last); s.t.ctx.Err() != nil {
				return s.t.ctx.Err() // half a measurement is none
			}
			s.cells = append(s.cells, last)
			fmt.Printf("%s: %d sent, %s\n", last.name(), last.Sent, last.why())
		}
	}
	if i.running {
		if err := errors.Join(i.stop(), i.gone()); err != nil {
			fmt.Println(err)
			last.Problems = append(last.Problems, err.Error())
		}
	}
	return nil
}

// cell measures an event with one kind of load.
func (s *serving) cell(e event, i *instance, f *figures) {
	x := &trial{instance: i, meter: newMeter()}
	for f.Rounds < s.rounds && s.t.ctx.Err() == nil && len(x.problems) == 0 {
		if !i.running {
			if err := i.start(); err != nil {
				x.problem("%v", err)
				break
			}
		}
		if x.load == nil {
			x.load = &load{meter: x.meter, conns: f.Conns, keep: f.KeepAlive, rate: s.rate, client: i.client}
			x.load.begin(s.t.ctx)
			x.sleep(time.Second)
		}
		f.Rounds++
		if err := e.run(x); err != nil {
			x.problem("%v", err)
		}
		if e.ends {
			x.load = nil
			continue
		}
		x.settle()
	}
	if x.load != nil {
		x.load.end()
	}
	f.take(x, e.bounded)
}

func (f *figures) take(x *trial, bounded bool) {
	m := x.meter
	f.Sent, f.Closed, f.Kinds, f.Examples, f.Problems = m.sent, m.lost[closed], m.lost, m.examples, x.problems
	for k, n := range m.lost {
		if k != closed {
			f.Lost += n
		}
	}
	f.Queued = m.queued
	f.Longest, f.Old, f.OldCount = m.longest.Milliseconds(), m.old.Milliseconds(), m.oldCount
	if bounded {
		f.Bound = &x.bound
	}
}

func yes(b bool) string {
	if b {
		return "yes"
	}
	return "no"
}

// lostText is a number, with the kinds in brackets.
func (f *figures) lostText() string {
	var parts []string
	for _, k := range slices.Sorted(maps.Keys(f.Kinds)) {
		if k != closed {
			parts = append(parts, fmt.Sprintf("%s: %d", k, f.Kinds[k]))
		}
	}
	text := strconv.Itoa(f.Lost)
	if len(parts) > 0 {
		text += " (" + strings.Join(parts, ", ") + ")"
	}
	if f.Bound != nil {
		text += fmt.Sprintf(" of %d allowed", *f.Bound)
	}
	if f.Queued > 0 {
		text += fmt.Sprintf(", queued: %d", f.Queued)
	}
	return text
}

func (f *figures) why() string {
	text := fmt.Sprintf("lost %s, closed %d, longest %d ms, old %d ms", f.lostText(), f.Closed, f.Longest, f.Old)
	if len(f.Problems) > 0 {
		text += "; " + strings.Join(f.Problems, "; ")
	}
	return text
}

func (f *figures) name() string {
	return fmt.Sprintf("%s, %s, %d connections, keep-alive %s", f.Event, f.Side, f.Conns, yes(f.KeepAlive))
}

// table prints ours beside upstream's.
func (s *serving) table() {
	w := tabwriter.NewWriter(os.Stdout, 2, 0, 2, ' ', 0)
	defer func() { _ = w.Flush() }()
	fmt.Fprintln(w, "\nevent\tours\tconns\tkeep-alive\tsent\tlost\tclosed\tlongest ms\told ms\t|\tupstream: sent\tlost\tclosed\tlongest ms\told ms")
	for _, f := range s.cells {
		if f.Side == "upstream" {
			continue
		}
		fmt.Fprintf(w, "%s\t%s\t%d\t%s\t%s\t|\t%s\n", f.Event, f.Side, f.Conns, yes(f.KeepAlive), f.columns(), s.beside(f).columns())
	}
}

// beside is what upstream's launcher did in the same row, nil without it.
func (s *serving) beside(f *figures) *figures {
	k := slices.IndexFunc(s.cells, func(g *figures) bool {
		return g.Side == "upstream" && g.Event == f.Event && g.Conns == f.Conns && g.KeepAlive == f.KeepAlive
	})
	if k < 0 {
		return nil
	}
	return s.cells[k]
}

func (f *figures) columns() string {
	switch {
	case f == nil:
		return "-\t\t\t\t"
	case len(f.Problems) > 0:
		return fmt.Sprintf("%d\t%s, failed\t%d\t%d\t%d", f.Sent, f.lostText(), f.Closed, f.Longest, f.Old)
	}
	return fmt.Sprintf("%d\t%s\t%d\t%d\t%d", f.Sent, f.lostText(), f.Closed, f.Longest, f.Old)
}
