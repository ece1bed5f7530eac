// Package objgraph runs tasks in dependency order, in a limited number of slots that
// several graphs share. Of the tasks that are ready, the heaviest runs next, so that no
// long task is left for the end. It is the only scheduler of tasks with dependencies. It
// does not know what a task does.
package objgraph

import (
	"container/heap"
	"context"
	"fmt"
	"sync"
)

// Pool is a number of slots for processes, shared by everything that runs concurrently.
// The heaviest waiting task gets the next free slot.
type Pool struct {
	mu      sync.Mutex
	free    int
	waiting queue
	counter int
}

// NewPool returns a pool of n slots, at least 1.
func NewPool(n int) *Pool { return &Pool{free: max(n, 1)} }

// Heavy is the weight of tasks that everything else waits for.
const Heavy = int64(1) << 40

// Acquire waits for a slot. Unless there is an error, the returned function releases the
// slot and must be called once. The error is the context's. A nil pool has no limit.
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
	if !gone { // the slot was granted at the same moment
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
	number int // order of arrival
	index  int // position in the queue; -1 if it is no longer waiting
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
	Needs  []string // names of the tasks that must have succeeded before
	Weight int64    // heavier tasks run first
	Run    func(context.Context) error
}

// Run runs all tasks, each in a slot of the pool. The first failure ends the context of
// the running ones and is returned.
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

// Check rejects graphs that would hang: duplicate names, missing dependencies, cycles.
func Check(tasks []Task) error {
	index := map[string]int{}
	for i, t := range tasks {
		if _, twice := index[t.Name]; twice {
			return fmt.Errorf("duplicate task %q", t.Name)
		}
		index[t.Name] = i
	}
	waits := make([]int, len(tasks)) // number of dependents
	wanted := make([][]int, len(tasks))
	var ready []int
	for i, t := range tasks {
		for _, need := range t.Needs {
			n, ok := index[need]
			if !ok {
				return fmt.Errorf("task %q needs %q, which does not exist", t.Name, need)
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
