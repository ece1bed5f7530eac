package cachedir

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"

	"modwsgi/internal/fault"
	"modwsgi/internal/filetree"
	"modwsgi/internal/run"
)

// DefaultLimit is the default size limit of the cache directory, in bytes.
const DefaultLimit = 5 << 30

// Limit reads MODWSGI_CACHE_LIMIT: a size such as "2G", "none" for no
// limit.
func Limit(env []string) (int64, error) {
	v := run.Getenv(env, "MODWSGI_CACHE_LIMIT")
	switch v {
	case "":
		return DefaultLimit, nil
	case "none":
		return -1, nil
	}
	n, err := ParseSize(v)
	if err != nil {
		return 0, fault.New(fault.Usage, "set MODWSGI_CACHE_LIMIT to a size such as 500M or 5G, or to none", "MODWSGI_CACHE_LIMIT: %w", err)
	}
	return n, nil
}

// ParseSize reads a size in bytes: a number, optionally followed by K, M, G or T (powers
// of 1024).
func ParseSize(text string) (int64, error) {
	s := strings.TrimSuffix(strings.TrimSuffix(strings.ToUpper(strings.TrimSpace(text)), "B"), "I")
	factor := 1.0
	if i := strings.IndexAny("KMGT", s[max(0, len(s)-1):]); s != "" && i >= 0 {
		factor, s = math.Pow(1024, float64(i+1)), strings.TrimSpace(s[:len(s)-1])
	}
	n, err := strconv.ParseFloat(s, 64)
	if err != nil || math.IsNaN(n) || n < 0 || n*factor > 1<<62 || strings.ContainsAny(s, "xXpPiI_eE+") {
		return 0, fmt.Errorf("%q is not a size", text)
	}
	return int64(n * factor), nil
}

// ParseAge reads a duration: in Go's syntax ("36h"), or in days or weeks ("30d", "2w").
func ParseAge(text string) (time.Duration, error) {
	s := strings.TrimSpace(text)
	for unit, hours := range map[string]float64{"d": 24, "w": 7 * 24} {
		if number, ok := strings.CutSuffix(s, unit); ok {
			n, err := strconv.ParseFloat(number, 64)
			if err != nil || math.IsNaN(n) || n < 0 || n > 36500 {
				return 0, fmt.Errorf("%q is not an age", text)
			}
			return time.Duration(n * hours * float64(time.Hour)), nil
		}
	}
	d, err := time.ParseDuration(s)
	if err != nil || d < 0 {
		return 0, fmt.Errorf("%q is not an age", text)
	}
	return d, nil
}

// Downloaded returns the size of the downloads in a cache directory, in bytes.
func Downloaded(path string) int64 {
	store, err := Open(path, false)
	if err != nil {
		return 0
	}
	defer func() { _ = store.Close() }()
	dir, err := store.Sub(Downloads)
	if err != nil {
		return 0
	}
	defer func() { _ = dir.Close() }()
	return filetree.Size(dir.Root().FS())
}
