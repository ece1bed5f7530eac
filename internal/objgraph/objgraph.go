// Package objgraph runs tasks in the order of their needs, on a limited number of
// processors that several graphs share: the heaviest task that may run is next, so
// that nothing long is left for the end. It is the only scheduler of tasks that
// need each other. It does not know what a task does.
package objgraph

import (
	"container/heap"
	"context"
	"fmt"
	"sync"
)

// Pool is a number of places for processes, shared by everything that runs at
// the same time. Of those that wait the heaviest gets the next free place.
type Pool struct {
	mu      sync.Mutex
	free    int
	waiting queue
	counter int
}

// NewPool returns a pool of n places, at least 1.
func NewPool(n int) *Pool { return &Pool{free: max(n, 1)} }

// Heavy is the weight of what everything else waits for.
const Heavy = int64(1) << 40

// Acquire waits for a place. What it returns gives the place back and must be
// called once where there was no error; an error is the context's. A nil pool has
// no limit.
func (p *Pool) Acquire(ctx context.Context, weight int64) (release func(), err error) {
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	if p == nil {
		return func() {}, nil
	}
	p.mu.Lock()
	w := &waiter{weight: weight, number: p.counter, turn: make(chan struct{})}
	p.counter++
	if p.free > 0 {
		p.free--
		p.mu.Unlock()
		return p.release, nil
	}
	heap.Push(&p.waiting, w)
	p.mu.Unlock()
	select {
	case <-w.turn:
		return p.release, nil
	case <-ctx.Done():
	}
	p.mu.Lock()
	gone := w.index >= 0
	if gone {
		heap.Remove(&p.waiting, w.index)
	}
	p.mu.Unlock()
	if !gone { // the turn came at the same moment
		p.release()
	}
	return nil, context.Cause(ctx)
}

func (p *Pool) release() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.waiting) == 0 {
		p.free++
		return
	}
	close(heap.Pop(&p.waiting).(*waiter).turn)
}

type waiter struct {
	weight int64
	number int // who came first
	index  int // in the queue, -1 where it is not there any more
	turn   chan struct{}
}

type queue []*waiter

func (q queue) Len() int { return len(q) }

func (q queue) Less(i, j int) bool {
	if q[i].weight != q[j].weight {
		return q[i].weight > q[j].weight
	}
	return q[i].number < q[j].number
}

func (q queue) Swap(i, j int) {
	q[i], q[j] = q[j], q[i]
	q[i].index, q[j].index = i, j
}

func (q *queue) Push(x any) {
	w := x.(*waiter)
	w.index = len(*q)
	*q = append(*q, w)
}

func (q *queue) Pop() any {
	last := (*q)[len(*q)-1]
	last.index = -1
	*q = (*q)[:len(*q)-1]
	return last
}

// Task is one piece of work.
type Task struct {
	Name   string   // unique
	Needs  []string // names of the tasks that must have ended well before
	Weight int64    // the heavier, the earlier
	Run    func(context.Context) error
}

// Run runs all tasks, each in a place of the pool. The first failure ends the
// context of those that still run and is what is returned.
func Run(ctx context.Context, pool *Pool, tasks []Task) error {
	if err := Check(tasks); err != nil {
		return err
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	done := map[string]chan struct{}{}
	for _, t := range tasks {
		done[t.Name] = make(chan struct{})
	}
	var wg sync.WaitGroup
	for _, t := range tasks {
		wg.Go(func() {
			for _, need := range t.Needs {
				select {
				case <-done[need]:
				case <-ctx.Done():
					return
				}
			}
			release, err := pool.Acquire(ctx, t.Weight)
			if err != nil {
				return
			}
			err = t.Run(ctx)
			release()
			if err != nil {
				cancel(err)
				return
			}
			close(done[t.Name])
		})
	}
	wg.Wait()
	return context.Cause(ctx)
}

// Check refuses what would hang: double names, needs that do not exist, cycles.
func Check(tasks []Task) error {
	index := map[string]int{}
	for i, t := range tasks {
		if _, twice := index[t.Name]; twice {
			return fmt.Errorf("task %q is there twice", t.Name)
		}
		index[t.Name] = i
	}
	waits := make([]int, len(tasks)) // for how many
	wanted := make([][]int, len(tasks))
	var ready []int
	for i, t := range tasks {
		for _, need := range t.Needs {
			n, ok := index[need]
			if !ok {
				return fmt.Errorf("task %q needs %q, which is not there", t.Name, need)
			}
			wanted[n] = append(wanted[n], i)
		}
		if waits[i] = len(t.Needs); waits[i] == 0 {
			ready = append(ready, i)
		}
	}
	for n := 0; n < len(ready); n++ {
		for _, i := range wanted[ready[n]] {
			if waits[i]--; waits[i] == 0 {
				ready = append(ready, i)
			}
		}
	}
	if len(ready) < len(tasks) {
		for i, t := range tasks {
			if waits[i] > 0 {
				return fmt.Errorf("task %q needs itself", t.Name)
			}
		}
	}
	return nil
}
