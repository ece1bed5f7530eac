package logwriter

import (
	"maps"
	"slices"
	"strconv"
	"time"
)

// intervals are the named intervals of rotation: each returns a number that differs
// between intervals, in local time.
var intervals = map[string]func(local time.Time, seconds int64) int64{
	"hourly": func(_ time.Time, s int64) int64 { return s / 3600 },
	"daily":  func(_ time.Time, s int64) int64 { return s / 86400 },
	"weekly": func(_ time.Time, s int64) int64 { return (s/86400 + 3) / 7 }, // from Monday
	"monthly": func(t time.Time, _ int64) int64 {
		return int64(t.Year())*12 + int64(t.Month())
	},
}

// Intervals returns the names of intervals.
func Intervals() []string { return slices.Sorted(maps.Keys(intervals)) }

// IsInterval reports whether a text is an interval: a name or a number of seconds.
func IsInterval(text string) bool {
	n, err := strconv.ParseInt(text, 10, 32)
	return intervals[text] != nil || err == nil && n > 0
}

// Seconds returns the length of an interval, roughly for a month; 0 for none.
func Seconds(every string) int {
	if n, err := strconv.Atoi(every); err == nil {
		return n
	}
	return map[string]int{"hourly": 3600, "daily": 86400, "weekly": 7 * 86400, "monthly": 30 * 86400}[every]
}

// interval returns the number of the interval that a time is in, 0 for no rotation.
func interval(every string, t time.Time) int64 {
	if every == "" {
		return 0
	}
	_, offset := t.Local().Zone()
	local := t.Unix() + int64(offset)
	if of := intervals[every]; of != nil {
		return of(t.Local(), local)
	}
	n, err := strconv.ParseInt(every, 10, 64)
	if err != nil || n < 1 {
		return 0
	}
	return local / n
}
