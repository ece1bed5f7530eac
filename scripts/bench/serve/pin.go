//go:build linux

package main

import (
	"fmt"
	"os"
	"strconv"
	"strings"
)

// choosePins divides the cores that this process may use.
func (o *options) choosePins() {
	if !o.pin {
		o.reason = "-pin=false"
		return
	}
	data, err := os.ReadFile("/proc/self/status")
	if err != nil {
		o.reason = err.Error()
		return
	}
	var list []string
	for line := range strings.Lines(string(data)) {
		if v, ok := strings.CutPrefix(line, "Cpus_allowed_list:"); ok {
			list = cores(strings.TrimSpace(v))
		}
	}
	if len(list) < 2 {
		o.reason = "this process may use only one core"
		return
	}
	o.serverCores, o.loadCores = strings.Join(list[:len(list)-1], ","), list[len(list)-1]
}

// cores expands a list such as 0-2,5.
func cores(list string) (out []string) {
	for part := range strings.SplitSeq(list, ",") {
		from, to, several := strings.Cut(part, "-")
		if !several {
			to = from
		}
		a, err1 := strconv.Atoi(from)
		b, err2 := strconv.Atoi(to)
		if err1 != nil || err2 != nil {
			return nil
		}
		for ; a <= b; a++ {
			out = append(out, strconv.Itoa(a))
		}
	}
	return out
}

func (o *options) pins() string {
	if o.loadCores == "" {
		return "not pinned: " + o.reason
	}
	return fmt.Sprintf("servers on core %s, load generator on core %s", o.serverCores, o.loadCores)
}

// on prefixes a command so that it runs on some cores.
func on(list string, argv []string) []string {
	if list == "" {
		return argv
	}
	return append([]string{"taskset", "-c", list}, argv...)
}

func (o *options) public() map[string]any {
	return map[string]any{
		"seconds": o.seconds, "rounds": o.rounds, "connections": o.connections, "processes": o.processes, "threads": o.threads,
	}
}
