//go:build linux

package main

import (
	"fmt"
	"strings"
	"sync"
)

// crowd runs installs into as many prefixes, all with one cache, and prunes, clears
// and lists it meanwhile, until the last install has ended.
func (t *torture) crowd() {
	number := 12
	if t.short {
		number = 3
	}
	envs := make([]string, number)
	for i := range envs {
		var err error
		if envs[i], err = t.venv(t.ctx, fmt.Sprintf("env-%d", i)); err != nil {
			t.fail("%v", err)
			return
		}
	}
	between := 0
	for t.more() {
		if t.rounds > 1 {
			t.restore()
			for _, env := range envs {
				if err := removed(t, env); err != nil {
					t.fail("%v", err)
				}
			}
		}
		between += t.together(envs)
		for _, env := range envs {
			t.whole("after the crowd", env)
		}
		t.clean("after the crowd", envs...)
	}
	if t.short {
		t.restore() // for the parts after this one
	}
	t.figure("%d runs at once, %d commands on the cache between them", number, between)
}

// together is one round; it returns how many commands on the cache there were.
func (t *torture) together(envs []string) int {
	var wait sync.WaitGroup
	results := make([]result, len(envs))
	for i, env := range envs {
		wait.Go(func() { results[i] = t.do(t.ctx, t.install(env)...) })
	}
	ended, commands := make(chan struct{}), 0
	go func() { wait.Wait(); close(ended) }()
	words := [][]string{{"prune", "--older-than", "1h"}, {"list"}, {"prune", "--max-size", "1G"}, {"verify"}}
	// What removes the builds has every run compile, which takes minutes.
	switch {
	case t.short:
	case t.rounds%3 == 2:
		words = append(words, []string{"prune", "--max-size", "30M"})
	case t.rounds%3 == 0:
		words = append(words, []string{"clear"})
	}
	for {
		select {
		case <-ended:
			for _, r := range results {
				if r.code != 0 {
					t.fail("in the crowd: %v", r)
				}
			}
			return commands
		default:
		}
		w := words[commands%len(words)]
		if commands%len(words) == 4 { // once a round
			words = words[:4]
		}
		r := t.do(t.ctx, t.modwsgi(append(append([]string{"cache"}, w...), "--cache-dir", t.cache)...)...)
		if r.code != 0 && !(w[0] == "verify" && !strings.Contains(r.output, "internal")) {
			t.fail("in the crowd: %v", r)
		}
		commands++
	}
}
