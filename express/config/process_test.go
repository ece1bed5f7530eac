package config

import (
	"strconv"
	"testing"
)

func TestSizes(t *testing.T) {
	for _, c := range []struct {
		processes, threads, most int
		prefork, worker          Sizes
	}{
		{1, 5, 0, Sizes{20, 0, 0, 1, 20, 1, 2}, Sizes{2, 10, 10, 1, 20, 10, 20}},
		{2, 5, 0, Sizes{25, 0, 0, 1, 25, 1, 2}, Sizes{3, 12, 12, 1, 36, 12, 24}},
		{4, 10, 0, Sizes{70, 0, 0, 3, 70, 3, 7}, Sizes{5, 17, 17, 1, 85, 17, 51}},
		{8, 25, 0, Sizes{310, 0, 0, 15, 310, 15, 31}, Sizes{17, 19, 19, 3, 323, 57, 190}},
		{2, 5, 100, Sizes{100, 0, 0, 5, 100, 5, 10}, Sizes{7, 16, 16, 1, 112, 16, 64}},
	} {
		line := []string{"--processes", strconv.Itoa(c.processes), "--threads", strconv.Itoa(c.threads)}
		if c.most > 0 {
			line = append(line, "--max-clients", strconv.Itoa(c.most))
		}
		s, err := parseLine(line...)
		if err != nil {
			t.Fatal(err)
		}
		if got := (&Instance{Server: s, MPM: "prefork"}).Sizes(); got != c.prefork {
			t.Errorf("prefork %d*%d: %+v, want %+v", c.processes, c.threads, got, c.prefork)
		}
		if got := (&Instance{Server: s, MPM: "event"}).Sizes(); got != c.worker {
			t.Errorf("event %d*%d: %+v, want %+v", c.processes, c.threads, got, c.worker)
		}
	}
}
