//go:build linux

package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// load is what a load generator has counted.
type load struct {
	requests, errors int64
	seconds          float64
	p50, p99         float64 // milliseconds
	detail           string  // of the errors
}

// wrkReport makes wrk print its figures for programs.
const wrkReport = `done = function(summary, latency, requests)
  local e = summary.errors
  io.write(string.format("figures %d %d connect=%d read=%d write=%d status=%d timeout=%d %d %d\n", summary.requests,
    summary.duration, e.connect, e.read, e.write, e.status, e.timeout, latency:percentile(50), latency:percentile(99)))
end
`

func parseWrk(out string) (l load, err error) {
	for line := range strings.Lines(out) {
		f := strings.Fields(line)
		if len(f) != 10 || f[0] != "figures" {
			continue
		}
		number := func(s string) int64 {
			n, err2 := strconv.ParseInt(s[strings.IndexByte(s, '=')+1:], 10, 64)
			err = errors.Join(err, err2)
			return n
		}
		l.requests, l.seconds = number(f[1]), float64(number(f[2]))/1e6
		for _, s := range f[3:8] {
			if n := number(s); n > 0 {
				l.errors += n
				l.detail = strings.TrimSpace(l.detail + " " + s)
			}
		}
		l.p50, l.p99 = float64(number(f[8]))/1e3, float64(number(f[9]))/1e3
		return l, err
	}
	return l, fmt.Errorf("wrk printed no figures: %q", out)
}

var (
	h2Requests = regexp.MustCompile(`(?m)^requests: .* (\d+) done, (\d+) succeeded, (\d+) failed, (\d+) errored, (\d+) timeout`)
	h2Codes    = regexp.MustCompile(`(?m)^status codes: (\d+) 2xx, (\d+) 3xx, (\d+) 4xx, (\d+) 5xx`)
	h2Finished = regexp.MustCompile(`(?m)^finished in ([0-9.]+)(us|ms|s)`)
	h2Protocol = regexp.MustCompile(`(?m)^Application protocol: (\S+)`)
)

// parseH2load reads the output of h2load and its log, which has a line per request:
// start, status and duration in microseconds.
func parseH2load(out string, log io.Reader) (l load, err error) {
	req, codes, fin := h2Requests.FindStringSubmatch(out), h2Codes.FindStringSubmatch(out), h2Finished.FindStringSubmatch(out)
	if req == nil || codes == nil || fin == nil {
		return l, fmt.Errorf("h2load printed no figures: %q", out)
	}
	if p := h2Protocol.FindStringSubmatch(out); p == nil || p[1] != "h2" {
		return l, fmt.Errorf("the server did not choose HTTP/2: %q", out)
	}
	number := func(s string) int64 { n, _ := strconv.ParseInt(s, 10, 64); return n }
	good := number(codes[1])
	l.requests = number(req[1])
	if l.errors = number(req[3]) + number(codes[2]); l.errors > 0 || good == 0 {
		l.detail = req[0] + "; " + codes[0]
	}
	d, err := time.ParseDuration(fin[1] + fin[2])
	if err != nil {
		return l, err
	}
	l.seconds = d.Seconds()
	var took []float64
	for s := bufio.NewScanner(log); s.Scan(); {
		if f := strings.Fields(s.Text()); len(f) == 3 {
			us, err := strconv.ParseFloat(f[2], 64)
			if err != nil {
				return l, err
			}
			took = append(took, us/1e3)
		}
	}
	if len(took) == 0 {
		return l, errors.New("h2load logged no request")
	}
	slices.Sort(took)
	l.p50, l.p99 = took[len(took)/2], took[len(took)*99/100]
	return l, nil
}

// generate sends requests for a time.
func (w *world) generate(ctx context.Context, r row, dir, url string, seconds int) (load, error) {
	limit, cancel := context.WithTimeout(ctx, time.Duration(seconds)*time.Second+30*time.Second)
	defer cancel()
	n, d := strconv.Itoa(w.connections), strconv.Itoa(seconds)
	if r.two {
		log := filepath.Join(dir, "h2load.log")
		_ = os.Remove(log)
		out, err := w.output(limit, w.program("h2load"), "-c", n, "-m", "1", "-t", "1", "-D", d, "--log-file="+log, url)
		if err != nil {
			return load{}, err
		}
		f, err := os.Open(log)
		if err != nil {
			return load{}, err
		}
		defer func() { _ = f.Close() }()
		return parseH2load(out, f)
	}
	script := filepath.Join(w.base, "report.lua")
	argv := []string{w.program("wrk"), "-t", "1", "-c", n, "-d", d + "s", "--timeout", "10s", "-s", script}
	if r.new {
		argv = append(argv, "-H", "Connection: close")
	}
	out, err := w.output(limit, append(argv, url)...)
	if err != nil {
		return load{}, err
	}
	return parseWrk(out)
}

// output runs a load generator to its end.
func (w *world) output(ctx context.Context, argv ...string) (string, error) {
	argv = on(w.loadCores, argv)
	c := exec.CommandContext(ctx, argv[0], argv[1:]...)
	c.Env = append(w.environ(), marker+"="+w.id+"-load")
	c.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	var out, bad bytes.Buffer
	c.Stdout, c.Stderr = &out, &bad
	if err := c.Run(); err != nil {
		return "", fmt.Errorf("%s: %w: %s%s", argv[0], err, out.String(), bad.String())
	}
	return out.String(), nil
}
