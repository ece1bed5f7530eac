package installer

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	"modwsgi/detect"
	"modwsgi/httpdbuild"
	"modwsgi/internal/cachedir"
	"modwsgi/internal/digest"
	"modwsgi/internal/fault"
	"modwsgi/internal/fetch"
	"modwsgi/internal/owned"
	"modwsgi/internal/receipt"
	"modwsgi/internal/recipe"
	"modwsgi/internal/run"
	"modwsgi/internal/scratch"
	"modwsgi/internal/toolchain"
)

// What a plan does about the httpd.
const (
	KeepHTTPD  = "keep"  // the environment's own is there and does
	UseHTTPD   = "use"   // one outside of the environment
	BuildHTTPD = "build" // build one into the environment
)

// Plan is what install would do. It is a plain value: making it changes
// nothing, but for attempts of the compiler in a temporary directory.
type Plan struct {
	Python  *detect.Python `json:"python"`
	Site    string         `json:"site_packages"`
	HTTPD   HTTPDPlan      `json:"httpd"`
	Module  ModulePlan     `json:"module"`
	Nothing bool           `json:"nothing_to_do"`
	Reasons []string       `json:"reasons"` // why each part is done
	// Warnings are what is to be known before anything is fetched: archives for
	// whose hash nothing but the lock file vouches.
	Warnings []string `json:"warnings,omitempty"`

	request    Request
	state      *state
	earlier    []earlier            // of the environment's former Pythons
	before     string               // what of ours lay in the environment when the plan was made
	host       *httpdbuild.Host     // nil where no httpd is built
	tools      *toolchain.Toolchain // nil where nothing is built
	portable   bool                 // the module is for Pythons of its kind wherever they are: see Stage
	lock       *recipe.Lock         // see lockFile
	looking    sync.Mutex
	unused     sync.Once         // what of the environment is not used was said
	remembered bool              // tools and host are what an earlier run found
	probed     bool              // they are what this run found, and not yet remembered
	older      map[string]string // where --upgrade is the only reason: the present versions
}

// HTTPDPlan is the part of the plan about httpd.
type HTTPDPlan struct {
	Action   string           `json:"action"` // "keep", "use" or "build"
	Use      *detect.HTTPD    `json:"use,omitempty"`
	Versions []Choice         `json:"versions,omitempty"` // to build, in order of preference
	Features []string         `json:"features,omitempty"`
	Refused  []detect.HTTPD   `json:"refused,omitempty"`
	Parts    []recipe.Archive `json:"-"`
}

// ModulePlan is the part about mod_wsgi.
type ModulePlan struct {
	Action   string   `json:"action"` // "keep" or "build"
	Versions []Choice `json:"versions,omitempty"`
}

// Choice is one version that could be taken.
type Choice struct {
	Version    string   `json:"version"`
	Unpinned   bool     `json:"unpinned,omitempty"` // its hash must be asked of upstream
	Trust      string   `json:"trust,omitempty"`    // who vouches for its hash before it is fetched: "pinned", "locked"
	Features   []string `json:"features,omitempty"`
	Advisories []string `json:"advisories,omitempty"` // that apply and are allowed
	Refused    string   `json:"refused,omitempty"`    // why it is not taken

	archive recipe.Archive
}

// MakePlan finds out what is there and what has to be done. It writes nothing, but
// for the compiler's attempts in a temporary directory.
func MakePlan(ctx context.Context, q Request) (*Plan, error) {
	if err := q.normalise(); err != nil {
		return nil, err
	}
	if err := httpdbuild.CheckNames(q.With, q.Without); err != nil {
		return nil, err
	}
	if err := q.openShared(); err != nil {
		return nil, err
	}
	dq := detect.Request{Python: q.Python, HTTPD: q.HTTPD, Env: q.Env, Dir: q.Dir}
	py, err := detect.FindPython(ctx, q.Runner, dq)
	if err != nil {
		return nil, err
	}
	if err := checkPrefix(py, q.BreakSystemPackages); err != nil {
		return nil, err
	}
	p := &Plan{Python: py, Site: py.Platlib, request: q, older: map[string]string{}, before: footprintOf(py)}
	p.earlier = findEarlier(py, q.Events)
	if p.state, err = readState(p.Site); err != nil {
		return nil, err
	}
	lock, err := p.lockFile()
	if err != nil {
		return nil, err
	}
	if err := p.planHTTPD(ctx, dq, lock); err != nil {
		return nil, err
	}
	if err := p.planModule(lock); err != nil {
		return nil, err
	}
	if !p.builds() {
		p.earlier = ourEarlier(p.earlier)
	}
	for _, e := range p.earlier {
		p.reason(fmt.Sprintf("remove %s, which this environment had before (%s)", e, e.site))
	}
	if p.Nothing = !p.builds() && len(p.earlier) == 0; !p.builds() {
		return p, nil
	}
	if err := p.probe(ctx); err != nil {
		return nil, err
	}
	return p, p.nameUnvouched(lock)
}

// builds reports whether anything is to be built and placed.
func (p *Plan) builds() bool { return p.HTTPD.Action == BuildHTTPD || p.Module.Action != "keep" }

func readLock(q Request) (*recipe.Lock, error) {
	lock, err := recipe.ReadLock(q.LockFile)
	if errors.Is(err, os.ErrNotExist) {
		if q.Locked {
			return nil, fault.New(fault.Usage, "run once without --locked to write it", "--locked needs the lock file %s, which is not there", q.LockFile)
		}
		return &recipe.Lock{}, nil
	}
	return lock, err
}

// lockFile reads the lock file, once for a plan.
func (p *Plan) lockFile() (*recipe.Lock, error) {
	if p.lock == nil {
		lock, err := readLock(p.request)
		if err != nil {
			return nil, err
		}
		p.lock = lock
	}
	return p.lock, nil
}

// planHTTPD decides where the httpd comes from: what the user named, else the
// environment's own, else the system's, else a new one.
func (p *Plan) planHTTPD(ctx context.Context, dq detect.Request, lock *recipe.Lock) error {
	q := p.request
	candidates, err := detect.FindHTTPDs(ctx, q.Runner, p.Python, dq)
	if err != nil {
		return err
	}
	for _, c := range candidates {
		if c.Refused != "" {
			p.HTTPD.Refused = append(p.HTTPD.Refused, c)
		}
	}
	chosen, err := p.keepsChosen(ctx, dq, candidates)
	if err != nil {
		return err
	}
	if chosen == nil {
		chosen, err = detect.Choose(candidates, dq)
	}
	if err != nil && (!errors.Is(err, detect.ErrNoHTTPD) || q.HTTPD != "auto" && q.HTTPD != "bundled") {
		return err
	}
	if chosen != nil && chosen.Provenance == detect.System && q.HTTPD == "auto" && p.wantsOwn() {
		p.reason("a bundled httpd: --httpd-version, --with or --without ask for one that is built for the purpose")
		chosen = nil
	}
	switch {
	case chosen == nil:
		p.reason("build httpd: " + noneReason(q, p.HTTPD.Refused))
	case chosen.Provenance != detect.Bundled:
		p.HTTPD.Action, p.HTTPD.Use = UseHTTPD, chosen
		return p.checkConstraint("httpd", q.HTTPDVersion, chosen.Version)
	default:
		why, err := p.whyRebuild(chosen, lock)
		if err != nil {
			return err
		}
		if why == "" {
			p.HTTPD.Action, p.HTTPD.Use = KeepHTTPD, chosen
			return nil
		}
		p.reason("build httpd: " + why)
	}
	p.HTTPD.Action = BuildHTTPD
	return nil
}

// keepsChosen finds the httpd that the present module was built for, where that
// was named explicitly then and nothing is said now: a plain install repeats the
// last answer. It is nil where that does not apply or cannot be used any more.
func (p *Plan) keepsChosen(ctx context.Context, dq detect.Request, candidates []detect.HTTPD) (*detect.HTTPD, error) {
	q, r := p.request, p.state.receipt
	named := slices.ContainsFunc(candidates, func(h detect.HTTPD) bool { return h.Provenance == detect.Explicit })
	if q.HTTPD != "auto" || r == nil || named || p.wantsOwn() || !ours(p.state.module) || r.HTTPD.Provenance != string(detect.Explicit) {
		return nil, nil
	}
	dq.HTTPD = r.HTTPD.Executable
	if !filepath.IsAbs(dq.HTTPD) {
		return nil, nil
	}
	// Its programs are run, and the record may be another user's.
	if err := owned.Check(dq.HTTPD); owned.IsUntrusted(err) {
		p.reason("another httpd: " + dq.HTTPD + ", which was named before, is not taken again without being named (" + err.Error() + ")")
		return nil, nil
	}
	found, err := detect.FindHTTPDs(ctx, q.Runner, p.Python, dq)
	if err != nil {
		return nil, err
	}
	for i := range found {
		if h := &found[i]; h.Provenance == detect.Explicit {
			if h.Refused == "" {
				return h, nil
			}
			p.reason("another httpd: " + r.HTTPD.Executable + ", which was named before, cannot be used any more (" + h.Refused + ")")
		}
	}
	return nil, nil
}

func noneReason(q Request, refused []detect.HTTPD) string {
	switch {
	case q.HTTPD == "bundled":
		return "the environment has none of its own"
	case len(refused) > 0:
		return "none of those found can be used (" + refused[0].Refused + ")"
	}
	return "there is none in the environment and none on the system"
}

func (p *Plan) reason(text string) { p.Reasons = append(p.Reasons, text) }

// wantsOwn says whether the request can only be met by an httpd that we build.
func (p *Plan) wantsOwn() bool {
	q := p.request
	return len(q.With) > 0 || len(q.Without) > 0 || q.HTTPDVersion != ""
}

// whyRebuild says why the environment's own httpd does not do, "" where it does.
func (p *Plan) whyRebuild(h *detect.HTTPD, lock *recipe.Lock) (string, error) {
	q, tree := p.request, p.state.tree
	switch {
	case q.Reinstall:
		return "--reinstall", nil
	case p.state.httpd != nil && len(p.state.httpd.Check()) > 0:
		return "files of the present one are missing or changed (" + p.state.httpd.Check()[0].Path + ")", nil
	case tree == nil && len(q.With)+len(q.Without) > 0:
		return "what the present one was built with is not recorded", nil
	}
	if q.HTTPDVersion != "" {
		ok, err := recipe.Satisfies(q.HTTPDVersion, h.Version)
		if err != nil || !ok {
			return fmt.Sprintf("httpd %s is there, %q is wanted", h.Version, q.HTTPDVersion), err
		}
	}
	if e, ok := lock.Find("httpd"); ok && q.Locked && e.Version != h.Version {
		return fmt.Sprintf("httpd %s is there, %s is locked", h.Version, e.Version), nil
	}
	if tree != nil {
		for _, f := range q.With {
			if !slices.Contains(tree.Features, f) {
				return "the present one is without " + f, nil
			}
		}
		for _, f := range q.Without {
			if slices.Contains(tree.Features, f) {
				return "the present one is with " + f, nil
			}
		}
	}
	if newest := recipe.Catalogue().Of("httpd"); q.Upgrade && len(newest) > 0 && newest[0].Version != h.Version {
		p.older["httpd"] = h.Version
		return fmt.Sprintf("httpd %s is there, %s is the newest known", h.Version, newest[0].Version), nil
	}
	return "", nil
}

func (p *Plan) checkConstraint(what, constraint, version string) error {
	if constraint == "" {
		return nil
	}
	ok, err := recipe.Satisfies(constraint, version)
	if err != nil {
		return err
	}
	if !ok {
		return fault.New(fault.Environment, "leave out the version, or let modwsgi build one with --httpd bundled",
			"the chosen %s is %s, and %q is wanted", what, version, constraint)
	}
	return nil
}

// planModule decides whether the module that is there does.
func (p *Plan) planModule(lock *recipe.Lock) error {
	why, err := p.whyModule(lock)
	if err != nil {
		return err
	}
	if why == "" {
		p.Module.Action = "keep"
		return nil
	}
	p.reason("build mod_wsgi: " + why)
	p.Module.Action = "build"
	p.Module.Versions, err = p.moduleChoices(lock)
	return err
}

// whyModule says why the present module does not do, "" where it does.
func (p *Plan) whyModule(lock *recipe.Lock) (string, error) {
	q, s := p.request, p.state
	switch {
	case s.module == nil:
		return "it is not installed", nil
	case !ours(s.module) || s.receipt == nil:
		return "the present one was not built by modwsgi", nil
	case q.Reinstall:
		return "--reinstall", nil
	case len(s.module.Check()) > 0:
		return "files of the present one are missing or changed (" + s.module.Check()[0].Path + ")", nil
	case p.HTTPD.Action == BuildHTTPD:
		p.older["mod_wsgi"] = s.receipt.Module.Version
		return "for the new httpd", nil
	}
	r := s.receipt
	if stale := p.stale(r); len(stale) > 0 {
		return strings.Join(stale, "; "), nil
	}
	if q.ModWSGIVersion != "" {
		if ok, err := recipe.Satisfies(q.ModWSGIVersion, r.Module.Version); err != nil || !ok {
			return fmt.Sprintf("mod_wsgi %s is there, %q is wanted", r.Module.Version, q.ModWSGIVersion), err
		}
	}
	if e, ok := lock.Find("mod_wsgi"); ok && q.Locked && e.Version != r.Module.Version {
		return fmt.Sprintf("mod_wsgi %s is there, %s is locked", r.Module.Version, e.Version), nil
	}
	if changed, err := p.launcherChanged(); err != nil || changed {
		return "the launcher of this release is another one", err
	}
	if q.Upgrade {
		choices, err := p.moduleChoices(lock)
		if err != nil {
			return "", err
		}
		if len(choices) > 0 && choices[0].Version != r.Module.Version {
			p.older["mod_wsgi"] = r.Module.Version
			return fmt.Sprintf("mod_wsgi %s is there, %s is the newest known", r.Module.Version, choices[0].Version), nil
		}
	}
	return "", nil
}

// stale is why the present module does not fit this Python and this httpd.
func (p *Plan) stale(r *receipt.Receipt) []string {
	today := receipt.Look(r, p.Python.Recorded())
	today.HTTPD = p.HTTPD.Use.Recorded()
	return reasons(receipt.Compare(r, today))
}

func reasons(differences []receipt.Difference) []string {
	var out []string
	for _, d := range differences {
		out = append(out, d.Text)
	}
	return out
}

// launcherChanged compares the placed launcher with the one beside us.
func (p *Plan) launcherChanged() (bool, error) {
	tool, err := p.request.tool("mod_wsgi-express")
	if err != nil {
		return false, err
	}
	here, err := digest.File(tool)
	if err != nil {
		return false, err
	}
	placed, err := digest.File(filepath.Join(p.Python.Scripts, filepath.Base(tool)))
	return err != nil || here != placed, nil
}

// probe looks at the compiler, or remembers it, and decides about features and
// versions where an httpd is built.
func (p *Plan) probe(ctx context.Context) error {
	if err := p.Python.CanBuild(); err != nil {
		return err
	}
	q := p.request
	if p.HTTPD.Action == BuildHTTPD {
		if err := p.chooseHTTPD(q.With); err != nil { // before what is asked of the host
			return err
		}
	}
	_ = p.request.findCache() // a plan needs none
	if !p.recallHost() {
		if err := p.probeHost(ctx); err != nil {
			return err
		}
	}
	if p.HTTPD.Action != BuildHTTPD {
		return nil
	}
	features, err := p.host.Select(q.With, q.Without)
	if err != nil {
		return err
	}
	p.HTTPD.Features = features
	return p.chooseHTTPD(features)
}

// probeHost tries the compiler, and what it finds where an httpd is built.
func (p *Plan) probeHost(ctx context.Context) error {
	q := p.request
	made, err := scratch.Temp(q.Env, scratch.Probe, false)
	if err != nil {
		return err
	}
	defer func() { _ = made.Discard() }()
	temp := made.Path()
	env := cachedir.ToolEnv(q.Env)
	if dir := run.Getenv(q.Env, "CCACHE_DIR"); dir != run.Getenv(env, "CCACHE_DIR") {
		q.Events.Note("CCACHE_DIR is " + dir + ", which another user can change: it is not used")
	}
	if p.tools, err = toolchain.Find(ctx, q.Runner, env, temp); err != nil {
		return err
	}
	if p.tools.Cross != "" {
		return fault.New(fault.Environment, "unset CC, or set it to a compiler for this machine: what is installed is tried with a real request here",
			"CC is %q, which compiles for %s; an environment on this machine cannot use that", strings.Join(p.tools.CC, " "), p.tools.Cross)
	}
	if p.HTTPD.Action == BuildHTTPD {
		if p.host, err = httpdbuild.Probe(ctx, q.Runner, p.tools, temp); err != nil {
			return err
		}
	}
	p.probed = true
	return nil
}

// chooseHTTPD lists the versions of httpd that could be built with features.
func (p *Plan) chooseHTTPD(features []string) error {
	q := p.request
	lock, err := p.lockFile()
	if err != nil {
		return err
	}
	all, err := p.choices("httpd", q.HTTPDVersion, lock)
	if err != nil {
		return err
	}
	p.HTTPD.Versions = judge(all, features, q)
	if !slices.ContainsFunc(p.HTTPD.Versions, func(c Choice) bool { return c.Refused == "" }) {
		return refusal(p.HTTPD.Versions)
	}
	return nil
}

// notObtainable finds the fetcher's verdict in an error.
func notObtainable(err error) (*fetch.NotObtainable, bool) {
	var n *fetch.NotObtainable
	return n, errors.As(err, &n)
}
