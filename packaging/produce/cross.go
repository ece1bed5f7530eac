package produce

import (
	"context"
	"errors"
	"io/fs"
	"maps"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"

	"modwsgi/installer"
	"modwsgi/internal/fault"
	"modwsgi/internal/recipe"
	"modwsgi/internal/run"
	"modwsgi/internal/sysroot"
	"modwsgi/internal/target"
	"modwsgi/internal/toolchain"
	"modwsgi/packaging"
)

// Targets are settings for builds for other systems. Paths are absolute.
type Targets struct {
	Sysroots map[string]string // directories of headers and libraries, by target; that of "" is for every other target
	SDKs     map[string]string // trees or archives of Pythons, by version, or by TARGET:VERSION for one system
	Programs map[string]string // directories of modwsgi's programs, by OS/ARCH or "" as above
	Packages []string          // further packages of Debian in sysroots that are made, such as libssl-dev
}

// sdks returns the SDKs for one system, by version.
func (t Targets) sdks(system string, pythons []string) map[string]string {
	out := map[string]string{}
	for _, p := range pythons {
		if sdk := orText(t.SDKs[system+":"+p], t.SDKs[p]); sdk != "" {
			out[p] = sdk
		}
	}
	return out
}

// TargetName is the complete name of a system, as the keys of Targets have it. The error
// is of class Usage.
func TargetName(name string) (string, error) {
	here, err := target.Host()
	if err != nil {
		return "", err
	}
	t, err := target.Parse(name, here)
	return t.String(), err
}

func choose(all map[string]string, key string) string {
	if dir, ok := all[key]; ok {
		return dir
	}
	return all[""]
}

// CrossBuild names what to build for other systems.
type CrossBuild struct {
	Pythons []string // versions: "3.11", "3.13t"
	Targets []string // as target.Parse reads them
}

// crossPython is the version of a Python, as builds for other systems name it.
var crossPython = regexp.MustCompile(`^3\.[0-9]+t?$`)

// parseTargets parses names of systems. One that is this machine is the empty target. The
// error is of class Usage.
func parseTargets(names []string) ([]target.Target, error) {
	if len(names) == 0 {
		return nil, nil
	}
	here, err := target.Host()
	if err != nil {
		return nil, err
	}
	var all []target.Target
	for _, name := range names {
		t, err := target.Parse(name, here)
		if err != nil {
			return nil, err
		}
		if t == here {
			t = target.Target{}
		}
		if slices.Contains(all, t) {
			return nil, fault.New(fault.Usage, "name each system once", "--target %s: the same system is named twice", name)
		}
		all = append(all, t)
	}
	return all, nil
}

// checkCrossPythons refuses Pythons that are not named by their version.
func checkCrossPythons(pythons []string, where string) error {
	if len(pythons) == 0 {
		return fault.New(fault.Usage, "name at least one by its version, as in --python 3.11", "--python is missing: %s has no Python to detect", where)
	}
	for _, p := range pythons {
		if !crossPython.MatchString(p) {
			return fault.New(fault.Usage, "write --python 3.11, and name its headers and library with --python-sdk 3.11=PATH if they are not Debian's",
				"a Python for %s is named by its version, not as %q: a Python of this machine cannot be used there", where, p)
		}
	}
	return nil
}

// cross makes the sysroot of a target and finds everything else that builds for it need.
// interpreters adds everything that its Pythons need to run, even if nothing here runs them.
// The caller closes it.
func (s *Settings) cross(ctx context.Context, t target.Target, pythons []string, interpreters bool) (_ *installer.Cross, err error) {
	q := s.Build
	_, absent := run.LookPath(t.QEMU(), q.Env)
	want := sysroot.Request{Target: t, Pythons: slices.Clone(pythons), Dir: choose(s.Targets.Sysroots, t.String()), Interpreters: interpreters || absent == nil || installer.Runs(t)}
	if want.Dir == "" {
		want.Extra = s.Targets.Packages
	}
	slices.Sort(want.Pythons)
	want.Pythons = slices.Compact(want.Pythons)
	want.SDKs = s.Targets.sdks(t.String(), want.Pythons)
	if want.Dir == "" {
		if want.Lock, err = s.lockedSysroot(t); err != nil {
			return nil, err
		}
	}
	space, fetcher, err := openWorkspace(&q, false, s.LockLimit)
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			space.Close()
		}
	}()
	made, err := sysroot.Make(ctx, want, sysroot.Means{Fetcher: fetcher, Work: space.Dir, Events: q.Events})
	if err != nil {
		return nil, err
	}
	if err := s.recordSysroot(made); err != nil {
		return nil, err
	}
	programs, err := s.programs(t)
	if err != nil {
		return nil, err
	}
	return &installer.Cross{Sysroot: made, Work: space.Dir, Programs: programs, Done: space.Close}, nil
}

// programs is the directory of modwsgi's programs for a target.
func (s *Settings) programs(t target.Target) (string, error) {
	return installer.FindPrograms(t, choose(s.Targets.Programs, t.OS+"/"+t.Arch), s.Build.ToolsDir)
}

// crossable refuses what can be seen to be wrong before a sysroot is made, for which many
// packages are fetched: the versions, modwsgi's programs for the target, and the compiler.
func (s *Settings) crossable(ctx context.Context, t target.Target) error {
	if err := s.Build.Check(); err != nil {
		return err
	}
	if choose(s.Targets.Sysroots, t.String()) != "" {
		return nil // a directory is read in a moment, and what it lacks comes first
	}
	if _, err := s.programs(t); err != nil {
		return err
	}
	return toolchain.LookFor(ctx, s.Build.Runner, s.Build.Env, t)
}

// part is a format to make for another system, with its options.
type part struct {
	Format
	values Values
}

// crossFor is [Settings.cross] for what is to be made there: it also refuses a sysroot that
// some of it cannot be made from.
func (s *Settings) crossFor(ctx context.Context, t target.Target, pythons []string, parts []part) (*installer.Cross, error) {
	runs := slices.ContainsFunc(parts, func(p part) bool { return p.Runs != nil && p.Runs(p.values) })
	c, err := s.cross(ctx, t, pythons, runs)
	if err != nil {
		return nil, err
	}
	for _, p := range parts {
		if p.Fits == nil {
			continue
		}
		warnings, err := p.Fits(s, c, p.values)
		if err != nil {
			c.Close()
			return nil, err
		}
		for _, w := range warnings {
			s.events().Warn(w)
		}
	}
	return c, nil
}

// pythonRoot is the directory that is "/" to the Python of a tree for another system.
func (t *Tree) pythonRoot() string {
	for _, p := range t.For.Sysroot.Pythons {
		if t.Python != nil && p.Facts.Executable == t.Python.Executable {
			return p.Root
		}
	}
	return ""
}

// lockFile is the path of the lock file.
func (s *Settings) lockFile() string {
	name := orText(s.Build.LockFile, "modwsgi.lock")
	if filepath.IsAbs(name) {
		return name
	}
	return filepath.Join(s.Build.Dir, name)
}

// lockedSysroot returns what the lock file records of a target's sysroot, if --locked asks
// for exactly that.
func (s *Settings) lockedSysroot(t target.Target) (*sysroot.Lock, error) {
	if !s.Build.Locked {
		return nil, nil
	}
	file := s.lockFile()
	lock, err := recipe.ReadLock(file)
	if err != nil {
		return nil, fault.New(fault.Usage, "run once without --locked to write it", "--locked: %w", err)
	}
	found, ok := lock.FindSysroot(t.String())
	if !ok {
		return nil, fault.New(fault.Usage, "run once without --locked to record it", "--locked: %s has no sysroot for %s", file, t)
	}
	out := &sysroot.Lock{Target: found.Target}
	for _, p := range found.Packages {
		out.Packages = append(out.Packages, sysroot.Package(p))
	}
	for _, sdk := range found.SDKs {
		out.SDKs = append(out.SDKs, sysroot.SDK(sdk))
	}
	return out, nil
}

// recordSysroot writes a sysroot into the lock file. With --locked it compares instead.
func (s *Settings) recordSysroot(made *sysroot.Sysroot) error {
	file := s.lockFile()
	lock, err := recipe.ReadLock(file)
	if errors.Is(err, fs.ErrNotExist) && !s.Build.Locked {
		lock, err = &recipe.Lock{}, nil
	}
	if err != nil {
		return err
	}
	if s.Build.Locked {
		if was, ok := lock.FindSysroot(made.Target.String()); !ok || was.SHA256 != made.Digest {
			return fault.New(fault.Source, "use the sysroot that was recorded, or run without --locked",
				"--locked: the sysroot for %s (%s) has the hash %s, but %s records %s", made.Target, made.Source, made.Digest, file, orText(was.SHA256, "none"))
		}
		return nil
	}
	entry := recipe.LockedSysroot{Target: made.Target.String(), SHA256: made.Digest, Source: made.Source}
	if made.Lock != nil {
		for _, p := range made.Lock.Packages {
			entry.Packages = append(entry.Packages, recipe.LockedPackage(p))
		}
		for _, sdk := range made.Lock.SDKs {
			entry.SDKs = append(entry.SDKs, recipe.LockedSDK(sdk))
		}
	}
	lock.PutSysroot(entry)
	if _, err := lock.Write(file); err != nil {
		s.events().Warn("the sysroot was not recorded: " + err.Error())
	}
	return nil
}

// limit is the C library of a target, as packaging/linkage writes it.
func limit(t target.Target) string { return strings.TrimSpace(t.Libc + " " + t.LibcVersion) }

// unprovenWindows is why artifacts for Windows are unproven.
const unprovenWindows = "programs for Windows do not run on this machine"

// describe records in the artifacts of a job by what and for what their trees were built,
// and whether they were tried: nothing that depends on what else the run makes. What is
// made of several trees is unproven if one of them is.
func describe(d *packaging.Dist, trees []*Tree, at time.Time) {
	var others []*Tree
	for _, t := range trees {
		if t.For != nil || t.Cross {
			others = append(others, t)
		}
	}
	for _, art := range d.Added() {
		art.Environment, art.Parameters = maps.Clone(art.Environment), maps.Clone(art.Parameters)
		if art.Environment == nil {
			art.Environment = map[string]string{}
		}
		maps.Copy(art.Environment, environment(trees, at))
		if len(others) > 0 {
			describeOthers(&art, others, len(trees) > 1)
		}
		d.Update(art)
	}
}

// describeOthers records the trees for other systems. If there are several trees, each
// record names the system.
func describeOthers(art *packaging.Artifact, others []*Tree, several bool) {
	var targets, unproven []string
	for _, t := range others {
		targets = append(targets, t.Target)
		end, reason := "", t.Unproven
		if several {
			end, reason = " of "+t.Target, t.Target+": "+t.Unproven
		}
		if t.Unproven != "" {
			unproven = append(unproven, reason)
		}
		for key, value := range t.about {
			art.Environment[key+end] = value
		}
		art.Environment["proof"+end] = orText(t.proof, "unproven: "+t.Unproven)
	}
	art.Target, art.Unproven = strings.Join(targets, ", "), strings.Join(unproven, "; ")
	if art.Parameters == nil {
		art.Parameters = map[string]string{}
	}
	art.Parameters["target"] = art.Target
}
