package host

import (
	"math/bits"
	"math/rand/v2"
	"slices"
	"testing"
	"time"
)

// TestClasses: every duration is within the bounds of its class, and classes follow each
// other without gaps.
func TestClasses(t *testing.T) {
	for k := range classes - 1 {
		from, to := boundsOf(k)
		next, _ := boundsOf(k + 1)
		if classOf(from) != k || classOf(to-1) != k || next != to || k > 0 && float64(to-from) > float64(from)/4+1 {
			t.Errorf("class %d is from %d to %d, the next one from %d; their classes are %d and %d", k, from, to, next, classOf(from), classOf(to-1))
		}
	}
	for _, took := range []uint64{134217728, 1 << 40, 1<<64 - 1} {
		if got := classOf(took); got != classes-1 {
			t.Errorf("%d is in class %d", took, got)
		}
	}
}

// TestPercentiles: estimates are close to what sorting finds.
func TestPercentiles(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	var times Times
	var all []float64
	for range 20000 {
		took := random.ExpFloat64() * 20000
		all = append(all, took)
		times[classOf(uint64(took))]++
	}
	slices.Sort(all)
	for _, share := range []float64{0.1, 0.5, 0.9, 0.99, 0.999, 1} {
		want := all[int(share*float64(len(all)))-1]
		got := float64(times.Percentile(share).Microseconds())
		if got < 0.8*want || got > 1.25*want {
			t.Errorf("%v: %v, sorted %v", share, got, want)
		}
	}
	if times.Requests() != 20000 {
		t.Errorf("%d requests", times.Requests())
	}
	var none Times
	if none.Percentile(0.5) != 0 {
		t.Error("a percentile of nothing")
	}
}

// TestLastMinute: periods that are over a minute old do not count, whichever place they have,
// and those of several httpds are added.
func TestLastMinute(t *testing.T) {
	now := time.Unix(1_000_000_002, 0)
	present := uint64(now.Unix()) / period
	period := func(number uint64) Period {
		p := Period{Number: number, Failed: 1}
		p.Times[3] = 2
		return p
	}
	var a, b Counts
	for k := range uint64(periods) {
		number := present - k
		a.Periods[number%periods] = period(number)
	}
	times, failed, length := a.LastMinute(now)
	if n := times.Requests(); n != 2*(periods-1) || failed != periods-1 || length < 55*time.Second || length > time.Minute {
		t.Errorf("%d requests, %d failed in %v", n, failed, length)
	}
	b.Periods[present%periods] = period(present)
	b.Periods[(present-1)%periods] = period(present - 1 - periods) // of the minute before
	a.Add(b)
	if times, _, _ := a.LastMinute(now); times.Requests() != 2*periods {
		t.Errorf("%d requests of both", times.Requests())
	}
	if times, _, _ := a.LastMinute(now.Add(2 * time.Minute)); times.Requests() != 0 {
		t.Errorf("%d requests two minutes later", times.Requests())
	}
}

// TestSlowestRequests: one for each path, the slowest first, without those that are old or
// cannot be.
func TestSlowestRequests(t *testing.T) {
	now := time.Unix(1_000_000_000, 0)
	c := Counts{Slowest: []SlowRequest{
		{Time: now, Duration: time.Second, Text: "GET /a"},
		{Time: now.Add(-time.Minute), Duration: 2 * time.Second, Text: "GET /a"},
		{Time: now.Add(-6 * time.Minute), Duration: 9 * time.Second, Text: "GET /old"},
		{Time: now.Add(time.Hour), Duration: 9 * time.Second, Text: "GET /later"},
		{Time: now, Duration: 3 * time.Second, Text: "GET /b"},
		{Time: now, Duration: -1, Text: "GET /negative"},
		{},
	}}
	var texts []string
	for _, r := range c.SlowestRequests(now) {
		texts = append(texts, r.Text+" "+r.Duration.String())
	}
	if want := []string{"GET /b 3s", "GET /a 2s"}; !slices.Equal(texts, want) {
		t.Errorf("%q, want %q", texts, want)
	}
}

// classOf is the class of a duration in microseconds, as mod_handover computes it.
func classOf(took uint64) int {
	if took < 1<<firstPower {
		return 0
	}
	power := bits.Len64(took) - 1
	return min(1+(power-firstPower)*4+int(took>>(power-2)&3), classes-1)
}
