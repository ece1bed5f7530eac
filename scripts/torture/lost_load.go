//go:build linux

package main

import (
	"context"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// meter counts what becomes of the requests of a row.
type meter struct {
	mu       sync.Mutex
	sent     int
	queued   int          // connections that a stopping server has never accepted
	accepted map[int]bool // the clients' ports of those that it has
	lost     map[kind]int
	examples map[kind]string
	longest  time.Duration
	expect   stamp     // what responses should carry
	since    time.Time // since when
	lastOld  time.Time // when the last request was sent that the old version answered
	old      time.Duration
	oldCount int
	pids     map[int]time.Time // when a process of the application answered last
	current  int               // responses of the expected version since then

	stopping atomic.Bool // the server was told to stop: refused connections are in order
}

// stamp is what a response tells about its age.
type stamp struct {
	version, config int
	serial          int64
}

func newMeter() *meter {
	return &meter{lost: map[kind]int{}, examples: map[kind]string{}, pids: map[int]time.Time{}, accepted: map[int]bool{}}
}

// from now on, responses should be of that age.
func (m *meter) from(expect stamp) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.expect, m.since, m.lastOld, m.current = expect, time.Now(), time.Time{}, 0
}

// add counts a response. Those that were meant to take long do not count as longest.
func (m *meter) add(r request, resp response) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.stopping.Load() {
		switch resp.kind {
		case refused:
			return
		case reset:
			if resp.aborted && !m.accepted[resp.port] {
				m.queued++
				return
			}
		}
	}
	m.sent++
	if resp.kind != answered {
		m.lost[resp.kind]++
		if m.examples[resp.kind] == "" {
			m.examples[resp.kind] = fmt.Sprintf("%s, after %d ms", resp.detail, resp.took.Milliseconds())
		}
		return
	}
	if r.seconds < 1 && r.slowly == 0 {
		m.longest = max(m.longest, resp.took)
	}
	m.pids[resp.pid] = time.Now()
	if m.since.IsZero() || resp.sent.Before(m.since) {
		return
	}
	// A connection keeps its certificate.
	if resp.version < m.expect.version || resp.config < m.expect.config || resp.opened && resp.serial != 0 && resp.serial < m.expect.serial {
		m.oldCount++
		m.lastOld = resp.sent
		m.old = max(m.old, resp.sent.Sub(m.since))
		return
	}
	m.current++
}

// watch notes which connections a server accepts, until they are over. In the kernel's
// queue, a connection has no inode yet.
func (m *meter) watch(ctx context.Context, over <-chan struct{}, ports ...int) {
	m.mu.Lock()
	clear(m.accepted) // the ports of an earlier round mean nothing
	m.mu.Unlock()
	for ctx.Err() == nil {
		select {
		case <-over:
			return
		case <-time.After(3 * time.Millisecond):
		}
		all, err := connections(ports...)
		if err != nil {
			return
		}
		m.mu.Lock()
		for _, c := range all {
			if c.inode != "0" {
				m.accepted[c.client] = true
			}
		}
		m.mu.Unlock()
	}
}

// fresh reports whether the expected version, and no older one, has answered lately.
func (m *meter) fresh(lately time.Duration) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.current > 0 && time.Since(m.lastOld) > lately
}

// daemons are the processes of the application that have answered lately, the one that
// answered last first.
func (m *meter) daemons(lately time.Duration) []int {
	m.mu.Lock()
	defer m.mu.Unlock()
	all := maps.Clone(m.pids)
	maps.DeleteFunc(all, func(_ int, at time.Time) bool { return time.Since(at) > lately })
	return slices.SortedFunc(maps.Keys(all), func(a, b int) int { return all[b].Compare(all[a]) })
}

// load is a number of connections that ask until they are stopped.
type load struct {
	meter  *meter
	conns  int
	keep   bool
	rate   float64 // requests in a second, over all connections
	client func(keep bool) *client

	stop chan struct{}
	wait sync.WaitGroup
	next atomic.Int64
}

const requestLimit = 40 * time.Second

func (l *load) begin(ctx context.Context) {
	l.stop = make(chan struct{})
	for k := range l.conns {
		l.wait.Go(func() { l.connection(ctx, k) })
	}
}

// end stops all connections, and waits for the requests that are running.
func (l *load) end() {
	close(l.stop)
	l.wait.Wait()
}

// exhausted is closed when no connection can be made any more.
func (l *load) exhausted() <-chan struct{} {
	done := make(chan struct{})
	go func() { l.wait.Wait(); close(done) }()
	return done
}

func (l *load) number() string { return fmt.Sprint(l.next.Add(1)) }

// connection asks again and again, in its share of the rate.
func (l *load) connection(ctx context.Context, k int) {
	c := l.client(l.keep)
	defer c.close()
	every := time.Duration(float64(time.Second) * float64(l.conns) / l.rate)
	pause := time.NewTimer(every * time.Duration(k) / time.Duration(l.conns))
	defer pause.Stop()
	for {
		select {
		case <-pause.C:
		case <-l.stop:
			return
		case <-ctx.Done():
			return
		}
		began := time.Now()
		r := request{number: l.number(), seconds: 0.02, size: 200, limit: requestLimit}
		if rand.IntN(4) == 0 { // #nosec G404 -- which requests are sent
			r.body = 100
		}
		resp := l.ask(ctx, c, r)
		if resp.kind == refused && l.meter.stopping.Load() {
			return
		}
		// Chance keeps connections from marching in step.
		rest := every - time.Since(began)
		pause.Reset(max(0, rest) + time.Duration(rand.Int64N(int64(every)/8+1))) // #nosec G404 -- a pause
	}
}

// ask sends one request and counts it.
func (l *load) ask(ctx context.Context, c *client, r request) response {
	resp := c.do(r)
	if ctx.Err() == nil {
		l.meter.add(r, resp)
	}
	return resp
}
