package produce

// Jobs run concurrently, and each writes to a private output directory: a
// packaging.Dist in the scratch directory of the run. The reasons:
//
//  - A job that fails leaves nothing. With --keep-going its half-written artifacts
//    must not be published, and formats do not clean up after themselves.
//  - The result does not depend on which job ends first. The output of the jobs is
//    moved in their order, so that JSON, summaries and errors are the same every time.
//  - Two jobs may make files of the same name, for instance a wheel of the httpd for
//    each Python. If the contents are equal, one of them is kept. If they differ, the
//    error names both jobs, because pip or apt would take either for the other.
//
// Moving is a rename if nobody else can write to the directories.

import (
	"context"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"slices"

	"golang.org/x/sync/errgroup"

	"modwsgi/internal/fault"
	"modwsgi/packaging"
)

// job makes the artifacts of one part of an order.
type job struct {
	part     string  // for messages: "wheel for Python 3.11, httpd default, linux/amd64"
	step     string  // of the progress; "" if all jobs share one step
	compiled bool    // something was compiled for it
	trees    []*Tree // from which it is made
	write    func(ctx context.Context, d *packaging.Dist) ([]string, error)
}

// write runs the jobs concurrently, each in a private output directory, and moves the
// output of the completed ones, in their order.
func (l *line) write(ctx context.Context, o order) error {
	jobs, err := o.jobs(l)
	if err != nil {
		return err
	}
	if o.step() == "" {
		return l.writeJobs(ctx, o, jobs)
	}
	return l.events().Step(o.step(), func() error { return l.writeJobs(ctx, o, jobs) })
}

func (l *line) writeJobs(ctx context.Context, o order, jobs []job) error {
	scratch, err := l.dist.Scratch()
	if err != nil {
		return err
	}
	done := make([]*packaging.Dist, len(jobs))
	defer func() {
		for _, d := range done {
			if d != nil {
				d.Abort()
			}
		}
	}()
	warnings := make([][]string, len(jobs))
	group, gctx := errgroup.WithContext(ctx)
	group.SetLimit(max(1, min(8, l.jobs())))
	for k, j := range jobs {
		group.Go(func() error {
			if err := gctx.Err(); err != nil { // another one failed
				return err
			}
			d, err := packaging.Open(filepath.Join(scratch, fmt.Sprint(k)), false)
			if err == nil {
				if warnings[k], err = l.writeJob(gctx, j, d); err == nil {
					err = l.writeDebug(d, j.trees)
				}
				if err == nil {
					describe(d, j.trees, l.at)
					err = l.trace(d, j.trees)
				}
				if err == nil {
					done[k] = d
					return nil
				}
				d.Abort()
			}
			return o.fail(gctx, j.part, err)
		})
	}
	if err := group.Wait(); err != nil {
		return err
	}
	if o.step() != "" {
		l.warn(warnings)
	}
	for k, j := range jobs {
		if done[k] != nil {
			if err := l.take(ctx, o, j, done[k]); err != nil {
				return err
			}
		}
	}
	return nil
}

// writeJob runs one job. A job with its own step shows its warnings in it.
func (l *line) writeJob(ctx context.Context, j job, d *packaging.Dist) (warnings []string, err error) {
	if j.step == "" {
		return j.write(ctx, d)
	}
	return nil, l.events().Step(j.step, func() error {
		warnings, err := j.write(ctx, d)
		for _, w := range warnings {
			l.events().Warn(w)
		}
		return err
	})
}

// warn shows each warning once, sorted over all jobs.
func (l *line) warn(byJob [][]string) {
	all := slices.Concat(byJob...)
	if len(byJob) > 1 {
		slices.Sort(all)
	}
	for k, w := range all {
		if !slices.Contains(all[:k], w) {
			l.events().Warn(w)
		}
	}
}

// take moves the output of a job into the output directory.
func (l *line) take(ctx context.Context, o order, j job, from *packaging.Dist) error {
	for _, art := range from.Added() {
		if other := slices.IndexFunc(l.made, func(m Made) bool { return m.Name == art.Name }); other >= 0 {
			if l.made[other].SHA256 == art.SHA256 {
				continue
			}
			err := fault.New(fault.Usage, "name the httpds, leave one out with [[exclude]], or make two releases",
				"%s is made twice, with different contents: %s, and %s", art.Name, l.made[other].Cell, j.part)
			if err := o.fail(ctx, j.part, err); err != nil {
				return err
			}
			continue
		}
		if err := l.dist.Take(from, art.Name); err != nil {
			return err
		}
		took := art.Took
		if err := l.dist.Add(&art); err != nil {
			return err
		}
		l.made = append(l.made, Made{art, j.part, took, j.compiled})
	}
	for _, name := range from.Metas() {
		if slices.Contains(l.dist.Metas(), name) {
			continue
		}
		data, err := readFrom(from, name)
		if err == nil {
			err = l.dist.Meta(name, data)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func readFrom(d *packaging.Dist, name string) ([]byte, error) {
	f, err := d.Open(name)
	if err != nil {
		return nil, err
	}
	data, err := io.ReadAll(f)
	return data, errors.Join(err, f.Close())
}
