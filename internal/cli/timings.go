package cli

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime"

	"modwsgi/installer"
	"modwsgi/internal/atomicfile"
	"modwsgi/internal/cgroup"
	"modwsgi/internal/fault"
	"modwsgi/internal/timeline"
	"modwsgi/internal/version"
)

// timings records the run if the user named a file, and returns a function that writes
// the file at the end, whether or not the run succeeded. A file that cannot be written
// is an error before the run and a warning after it.
func (a *app) timings(name string, q *installer.Request) (show func(*installer.Report, error), err error) {
	if name == "" {
		return func(*installer.Report, error) {}, nil
	}
	if !filepath.IsAbs(name) {
		name = filepath.Join(a.Dir, name)
	}
	if info, err := os.Stat(filepath.Dir(name)); err != nil || !info.IsDir() {
		return nil, fault.New(fault.Usage, "name a file in a directory that exists", "--timings: directory %s does not exist", filepath.Dir(name))
	}
	if info, err := os.Stat(name); err == nil && info.IsDir() {
		return nil, fault.New(fault.Usage, "name a file, as in timings.html", "--timings: %s is a directory", name)
	} else if err == nil && !info.Mode().IsRegular() { // it would be replaced; as root, even /dev/null
		return nil, fault.New(fault.Usage, "name a file, as in timings.html", "--timings: %s is not a regular file", name)
	}
	probe, err := atomicfile.Create(name, 0o600)
	if err != nil {
		return nil, fault.New(fault.Usage, fault.HintOr(err, "name a file in a directory that you can write to"), "--timings: %s cannot be written: %w", name, err)
	}
	probe.Abort()
	q.Timeline = timeline.New()
	return func(r *installer.Report, failed error) {
		title := "modwsgi install"
		facts := []timeline.Fact{{Name: "modwsgi", Value: version.String()}}
		if r != nil {
			for _, d := range r.Installed {
				title += " " + d.Name + " " + d.Version
			}
			if r.Python != nil {
				facts = append(facts, timeline.Fact{Name: "Python", Value: r.Python.Version + " in " + r.Python.Prefix})
			}
		}
		if failed != nil {
			facts = append(facts, timeline.Fact{Name: "failed", Value: failed.Error()})
		}
		cores := q.Jobs
		if cores == 0 {
			cores, _ = cgroup.Read().Jobs()
		}
		cores = min(cores, runtime.NumCPU())
		facts = append(facts, timeline.Fact{Name: "jobs", Value: fmt.Sprint(cores)})
		data, err := q.Timeline.Report(title, cores, facts...).Encode(name)
		if err == nil {
			err = atomicfile.Write(name, data, 0o644)
		}
		if err != nil {
			q.Events.Warn("could not write the timings: " + err.Error())
			return
		}
		q.Events.Note("timings written to " + name)
	}, nil
}
