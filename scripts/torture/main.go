//go:build linux

// Torture treats the programs as badly as it can and looks, after each round, whether
// what docs/concepts/reliability.md promises still holds: kills at any moment, disks that fill
// up, mirrors that misbehave, many runs at once, reloads and requests without end.
//
// It uses the loopback interface only, and what MODWSGI_TEST_BIN, _CACHE and _PYTHON
// name (scripts/run-tests makes them). Every part has a seed, which is printed, and a
// time after which no further round begins. It knows nothing of the programs' code:
// everything is done and seen from outside.
package main

import (
	"context"
	"flag"
	"fmt"
	"hash/fnv"
	"math/rand/v2"
	"os"
	"os/signal"
	"slices"
	"strings"
	"syscall"
	"text/tabwriter"
	"time"
)

// part is one kind of torture.
type part struct {
	name, about string
	share       float64 // of the whole time
	run         func(*torture)
}

var parts = []part{
	{"kill", "kill -9 at log-uniform moments over every command that changes something", 4, (*torture).kill},
	{"aimed", "kill -9 while files are being placed", 2, (*torture).aimed},
	{"disk", "the disk becomes full, or read-only, at log-uniform moments", 2, (*torture).disk},
	{"crowd", "concurrent runs with one cache, with prune and clear between them", 2, (*torture).crowd},
	{"mirror", "a mirror that misbehaves in every way known", 2, (*torture).mirror},
	{"reload", "reloads under requests", 1.5, (*torture).reload},
	{"requests", "requests, with flat memory and descriptors", 1.5, (*torture).requests},
}

// torture is the run of one part.
type torture struct {
	*world
	name     string
	ctx      context.Context
	rand     *rand.Rand
	short    bool
	until    time.Time
	rounds   int
	failures []string
	figures  []string // what was measured
	skipped  string   // why the part could not run
}

// fail notes a broken promise.
func (t *torture) fail(format string, args ...any) {
	if t.ctx.Err() != nil {
		return // the end of everything is not a failure
	}
	text := fmt.Sprintf(format, args...)
	fmt.Printf("%s: FAIL in round %d: %s\n", t.name, t.rounds, text)
	t.failures = append(t.failures, text)
}

func (t *torture) figure(format string, args ...any) {
	t.figures = append(t.figures, fmt.Sprintf(format, args...))
}

// more begins another round while there is time; the first always.
func (t *torture) more() bool {
	if t.ctx.Err() != nil || len(t.failures) >= 10 || t.rounds > 0 && time.Now().After(t.until) {
		return false
	}
	t.rounds++
	return true
}

func main() {
	if len(os.Args) > 1 && os.Args[1] == "serve" {
		os.Exit(serveCommand(os.Args[2:]))
	}
	seed := flag.Uint64("seed", uint64(time.Now().UnixNano()), "where chance begins; that of an earlier run repeats its choices")
	limit := flag.Duration("time", 30*time.Minute, "how long the whole may take; a round that has begun is finished")
	short := flag.Bool("short", false, "smaller numbers, for continuous integration")
	only := flag.String("parts", "", "comma-separated parts to run (default all): "+names())
	keep := flag.Bool("keep", false, "leave the working directory")
	flag.Parse()
	if *short && !given("time") {
		*limit = 40 * time.Second
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	ok, err := tortureAll(ctx, *seed, *limit, *short, *keep, *only)
	if err != nil {
		fmt.Fprintln(os.Stderr, "torture:", err)
		os.Exit(2)
	}
	if !ok {
		os.Exit(1)
	}
}

func given(name string) (found bool) {
	flag.Visit(func(f *flag.Flag) { found = found || f.Name == name })
	return found
}

func names() string {
	var all []string
	for _, p := range parts {
		all = append(all, p.name)
	}
	return strings.Join(all, ", ")
}

// chosen are the parts that were asked for.
func chosen(only string) ([]part, error) {
	if only == "" {
		return parts, nil
	}
	var all []part
	for _, name := range strings.Split(only, ",") {
		i := slices.IndexFunc(parts, func(p part) bool { return p.name == name })
		if i < 0 {
			return nil, fmt.Errorf("there is no part %q: %s", name, names())
		}
		all = append(all, parts[i])
	}
	return all, nil
}

// tortureAll runs the parts, one after the other, and prints what came of them.
func tortureAll(ctx context.Context, seed uint64, limit time.Duration, short, keep bool, only string) (bool, error) {
	list, err := chosen(only)
	if err != nil {
		return false, err
	}
	total := 0.0
	for _, p := range list {
		total += p.share
	}
	w := tabwriter.NewWriter(os.Stdout, 2, 0, 2, ' ', 0)
	fmt.Fprintf(w, "part\trounds\tfailures\ttime\tseed\tmeasured\n")
	good := true
	var shared *world
	for _, p := range list {
		t, began := &torture{name: p.name, ctx: ctx, short: short}, time.Now()
		// A part alone makes the same choices as among others.
		h := fnv.New64a()
		_, _ = h.Write([]byte(p.name))
		t.rand = rand.New(rand.NewPCG(seed, h.Sum64())) // #nosec G404 -- chance that can be repeated
		fmt.Printf("%s: %s; -seed %d -parts %s\n", p.name, p.about, seed, p.name)
		if shared == nil || !short { // making an environment is most of a short run
			if shared, err = newWorld(ctx, p.name); err != nil {
				return false, fmt.Errorf("%s: %w", p.name, err)
			}
		}
		t.world = shared
		t.until = time.Now().Add(time.Duration(float64(limit) * p.share / total))
		p.run(t)
		good = good && len(t.failures) == 0
		if !short {
			t.end(keep || len(t.failures) > 0)
		}
		measured := strings.Join(t.figures, ", ")
		if t.skipped != "" {
			measured = "SKIPPED: " + t.skipped
		}
		fmt.Fprintf(w, "%s\t%d\t%d\t%s\t%d\t%s\n", p.name, t.rounds, len(t.failures), time.Since(began).Round(time.Second), seed, measured)
		if ctx.Err() != nil {
			break
		}
	}
	if short && shared != nil {
		shared.end(keep || !good)
	}
	return good && ctx.Err() == nil, w.Flush()
}
