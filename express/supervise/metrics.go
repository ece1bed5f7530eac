package supervise

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"

	"modwsgi/express/host"
)

// metrics writes the report in Prometheus's text format, version 0.0.4
// (https://prometheus.io/docs/instrumenting/exposition_formats/).
func (r *Report) metrics(w io.Writer) {
	family := func(name, kind, help string) func(labels string, value any) {
		fmt.Fprintf(w, "# HELP mod_wsgi_%s %s\n# TYPE mod_wsgi_%s %s\n", name, help, name, kind)
		return func(labels string, value any) {
			if labels != "" {
				labels = "{" + labels + "}"
			}
			fmt.Fprintf(w, "mod_wsgi_%s%s %v\n", name, labels, value)
		}
	}
	one := func(name, kind, help string, value any) { family(name, kind, help)("", value) }
	state := family("state", "gauge", "1 for the state of the instance, 0 for the others.")
	for _, s := range []host.State{host.Starting, host.Ready, host.Draining, host.Failed} {
		is := 0
		if s.String() == r.State {
			is = 1
		}
		state(fmt.Sprintf("state=%q", s), is)
	}
	one("capacity_requests", "gauge", "Requests that can run at the same time.", r.Capacity)
	one("busy_requests", "gauge", "Requests that run.", r.Busy)
	one("queued_requests", "gauge", "Requests that wait for a daemon process.", r.Queued)
	one("open_connections", "gauge", "Open connections of clients, idle ones included.", r.Connections)
	one("limit_connections", "gauge", "Connections that can be open at the same time.", r.ConnectionsLimit)
	one("backlog_connections", "gauge", "Connections that httpd has not accepted yet.", r.Backlog)
	one("leaving_httpds", "gauge", "Replaced httpds that complete their last requests.", len(r.Leaving))
	one("processes", "gauge", "Processes that run the application.", len(r.Workers))
	busy := family("process_busy_requests", "gauge", "Requests that run in a process.")
	for _, p := range r.Workers {
		if p.Busy != nil {
			busy(fmt.Sprintf("pid=\"%d\"", p.PID), *p.Busy)
		}
	}
	for _, m := range []struct {
		name, kind, help string
		value            func(Process) any
	}{
		{"process_cpu_seconds_total", "counter", "CPU time of a process.", func(p Process) any { return p.CPU }},
		{"process_memory_bytes", "gauge", "Resident memory of a process, shared pages included.", func(p Process) any { return p.Memory }},
		{"process_start_time_seconds", "gauge", "When a process was started, since the epoch.", func(p Process) any { return p.Started.Unix() }},
	} {
		each := family(m.name, m.kind, m.help)
		for _, p := range r.Workers {
			each(fmt.Sprintf("pid=\"%d\"", p.PID), m.value(p))
		}
	}
	if c := r.Certificate; c != nil {
		issued, until := 0, int64(0)
		if c.Issued {
			issued, until = 1, c.NotAfter.Unix()
		}
		one("certificate_issued", "gauge", "1 if an authority has issued the certificate, 0 while none has.", issued)
		one("certificate_not_after_seconds", "gauge", "When the certificate expires, since the epoch; 0 while none is issued.", until)
		one("certificate_failures", "gauge", "Attempts to obtain or renew the certificate that failed since the last success.", c.Failures)
	}
	s := r.Supervised
	one("start_time_seconds", "gauge", "When the instance was started, since the epoch.", s.Since.Unix())
	one("connections_total", "counter", "Accepted connections.", s.Connections)
	requests := family("requests_total", "counter", "Completed requests by the class of their status.")
	for k, n := range s.counts.Status {
		requests(fmt.Sprintf("status=%q", statusClass(k)), n)
	}
	one("response_bytes_total", "counter", "Bytes of the bodies of responses.", s.Bytes)
	family("request_duration_seconds", "histogram", "Duration of completed requests, from their first line to the last byte of the response.")
	sum := uint64(0)
	for k, n := range s.counts.Slow {
		sum += n
		bound := "+Inf"
		if k < len(host.DurationBounds) {
			bound = fmt.Sprint(host.DurationBounds[k].Seconds())
		}
		fmt.Fprintf(w, "mod_wsgi_request_duration_seconds_bucket{le=%q} %d\n", bound, sum)
	}
	fmt.Fprintf(w, "mod_wsgi_request_duration_seconds_sum %v\nmod_wsgi_request_duration_seconds_count %d\n", s.Seconds, sum)
	if known := slices.DeleteFunc(slices.Clone(r.Certificates), func(c Certificate) bool { return c.Error != "" || c.File == "" }); len(known) > 0 {
		each := family("certificate_not_after_seconds", "gauge", "When a certificate of httpd ceases to be valid, since the epoch.")
		for _, c := range known {
			each(fmt.Sprintf("file=%s", labelValue(c.File)), c.NotAfter.Unix())
		}
	}
	one("reloads_total", "counter", "Reloads.", s.Reloads)
	one("reloads_refused_total", "counter", "Reloads that were refused.", s.Refused)
	ends := family("replaced_processes_total", "counter", "Processes of the application that were replaced, by reason.")
	for _, reason := range slices.Sorted(maps.Keys(s.EndCounts)) {
		ends(fmt.Sprintf("reason=%q", reason), s.EndCounts[reason])
	}
}

// labelValue quotes the value of a label.
func labelValue(v string) string {
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`, "\n", `\n`).Replace(strings.ToValidUTF8(v, "\ufffd")) + `"`
}
