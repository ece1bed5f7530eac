package place

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"sort"
	"strings"

	"modwsgi/internal/fault"
)

// plan turns a request into an ordered list of renames. It reads the file system and
// changes nothing.
type plan struct {
	scope        *scope
	anchor, home string
	sites        []string        // the anchor and the site-packages directories beside it
	removed      map[string]bool // existing paths that were listed, and their caches
	touched      map[string]bool // directories below the anchor with something removed in them
	blocked      map[string]bool // directories that stay because a target is in them
	consumed     map[string]bool // paths already handled by a swap or a take
	full         map[string]bool // results of whole
	sides        map[string]string
	made         map[string]bool
	stagings     []staged
	ops          []op
	count        int
	label        string
	spent        bool
}

// staged is an item to copy into a hidden directory.
type staged struct{ source, to string }

func newPlan(s *scope, r Request) (*plan, error) {
	p := &plan{
		scope: s, anchor: s.anchor, home: filepath.Join(s.anchor, hiddenName()), label: r.Label, spent: r.Spent,
		removed: map[string]bool{}, touched: map[string]bool{}, blocked: map[string]bool{}, consumed: map[string]bool{},
		full: map[string]bool{}, sides: map[string]string{}, made: map[string]bool{},
	}
	p.sites = []string{s.anchor}
	for _, dir := range r.Beside {
		full, err := s.straight(dir)
		if err != nil {
			return nil, err
		}
		p.sites = append(p.sites, full)
	}
	if err := p.remove(r.Remove); err != nil {
		return nil, err
	}
	targets, err := p.targets(r.Items)
	if err != nil {
		return nil, err
	}
	for i, item := range r.Items {
		p.count++
		to := filepath.Join(p.homeOf(targets[i]), fmt.Sprintf("new-%d", p.count))
		p.stagings = append(p.stagings, staged{item.Source, to})
		if err := p.item(item.Source, to, targets[i]); err != nil {
			return nil, err
		}
	}
	for _, path := range sorted(p.removed) {
		if err := p.take(p.outermost(path)); err != nil {
			return nil, err
		}
	}
	sort.SliceStable(p.ops, func(i, j int) bool { return p.rank(p.ops[i]) < p.rank(p.ops[j]) })
	return p, nil
}

func (p *plan) journal() journal {
	j := journal{Label: p.label}
	for _, side := range sorted(p.sides) {
		j.Sides = append(j.Sides, p.rel(p.sides[side]))
	}
	for _, dir := range sorted(p.made) {
		j.Made = append(j.Made, p.rel(dir))
	}
	for _, o := range p.ops {
		o.Target = p.rel(o.Target)
		if o.Staged != "" {
			o.Staged = p.rel(o.Staged)
		}
		if o.Saved != "" {
			o.Saved = p.rel(o.Saved)
		}
		j.Ops = append(j.Ops, o)
	}
	return j
}

func (p *plan) copies() []staged { return p.stagings }

func (p *plan) rel(path string) string {
	rel, err := filepath.Rel(p.anchor, path)
	if err != nil { // another drive on Windows
		return path
	}
	return filepath.ToSlash(rel)
}

// rank orders the operations, see the package comment.
func (p *plan) rank(o op) int {
	outside := !within(p.anchor, o.Target)
	switch {
	case p.isInfo(o.Target) && o.Kind == take:
		return 0
	case p.isInfo(o.Target):
		return 5
	case o.Kind == take && outside:
		return 1
	case o.Kind == take:
		return 2
	case outside:
		return 4
	}
	return 3
}

// isInfo reports whether a path is the metadata of a distribution, by which pip sees it.
func isInfo(site, path string) bool {
	return filepath.Dir(path) == site &&
		(strings.HasSuffix(path, ".dist-info") || strings.HasSuffix(path, ".egg-info"))
}

// isInfo is isInfo for all site-packages directories.
func (p *plan) isInfo(path string) bool { return isInfo(p.siteOf(path), path) }

// siteOf returns the site-packages directory that contains a path, or "".
func (p *plan) siteOf(path string) string {
	for _, site := range p.sites {
		if within(site, path) {
			return site
		}
	}
	return ""
}

// remove records paths to remove.
func (p *plan) remove(paths []string) error {
	for _, path := range paths {
		full, err := p.scope.straight(path)
		if err != nil {
			return err
		}
		for _, root := range p.scope.roots {
			if full == root.path || within(full, root.path) {
				return fault.New(fault.Internal, "", "place: %s is a root of the environment and cannot be removed", full)
			}
		}
		if !p.scope.seen(full) {
			continue
		}
		for _, gone := range append(p.scope.caches(full), full) {
			p.removed[gone] = true
			for dir := filepath.Dir(gone); p.siteOf(dir) != ""; dir = filepath.Dir(dir) {
				p.touched[dir] = true
			}
		}
	}
	return nil
}

// targets resolves the targets and blocks the directories that contain them.
func (p *plan) targets(items []Item) ([]string, error) {
	targets := make([]string, len(items))
	for i, item := range items {
		if _, err := os.Lstat(item.Source); err != nil {
			return nil, fault.New(fault.Internal, "", "place: read the staged %s: %w", item.Source, err)
		}
		full, err := p.scope.resolve(item.Target)
		if err != nil {
			return nil, err
		}
		for _, other := range targets[:i] {
			if full == other || within(full, other) || within(other, full) {
				return nil, fault.New(fault.Internal, "", "place: the targets %s and %s overlap", other, full)
			}
		}
		targets[i] = full
		p.block(filepath.Dir(full))
	}
	return targets, nil
}

// block keeps a directory where it is, or creates it.
func (p *plan) block(dir string) {
	for ; !p.blocked[dir]; dir = filepath.Dir(dir) {
		p.blocked[dir] = true
		if p.scope.missing(dir) {
			p.made[dir] = true
		}
		if filepath.Dir(dir) == dir {
			return
		}
	}
}

// homeOf returns the hidden directory for a target.
func (p *plan) homeOf(target string) string {
	if within(p.anchor, target) {
		return p.home
	}
	dir := p.siteOf(target)
	if dir == "" {
		dir = p.scope.innermost(filepath.Dir(target))
	}
	if p.sides[dir] == "" {
		p.sides[dir] = filepath.Join(dir, filepath.Base(p.home))
	}
	return p.sides[dir]
}

func (p *plan) saved(target string) string {
	p.count++
	return filepath.Join(p.homeOf(target), fmt.Sprintf("old-%d", p.count))
}

// item plans how one staged item gets to its target.
func (p *plan) item(source, to, target string) error {
	info, err := p.scope.look(target)
	switch {
	case err != nil && !os.IsNotExist(err):
		return changeError("read", target, err)
	case err != nil:
		p.ops = append(p.ops, op{Kind: put, Target: target, Staged: to})
		return nil
	case p.gone(target) || info.IsDir() && p.whole(target):
		p.consumed[target] = true
		if p.isInfo(target) {
			p.ops = append(p.ops, op{Kind: take, Target: target, Saved: p.saved(target)},
				op{Kind: put, Target: target, Staged: to})
			return nil
		}
		p.ops = append(p.ops, op{Kind: swap, Target: target, Staged: to, Saved: p.saved(target)})
		return nil
	}
	from, err := os.Lstat(source)
	if err != nil {
		return changeError("read", source, err)
	}
	if !info.IsDir() || !from.IsDir() {
		return fault.New(fault.Place,
			"find out which package it is from (python -m pip list, python -m pip show -f NAME), uninstall that or move the file away, and run the command again",
			"%s exists already and is not part of what is being replaced", target)
	}
	// Other distributions have files in this directory: it stays, and the new files are
	// added to it.
	p.block(target)
	entries, err := os.ReadDir(source)
	if err != nil {
		return changeError("read", source, err)
	}
	for _, e := range entries {
		name := e.Name()
		if err := p.item(filepath.Join(source, name), filepath.Join(to, name), filepath.Join(target, name)); err != nil {
			return err
		}
	}
	return nil
}

// gone reports whether a path, or a directory that contains it, was listed.
func (p *plan) gone(path string) bool {
	for ; !p.removed[path]; path = filepath.Dir(path) {
		if filepath.Dir(path) == path {
			return false
		}
	}
	return true
}

// whole reports whether everything in a directory is removed. Empty directories belong to
// nobody.
func (p *plan) whole(dir string) bool {
	if answer, known := p.full[dir]; known {
		return answer
	}
	answer := p.isInfo(dir) && p.touched[dir]
	if !answer {
		entries, err := p.scope.list(dir)
		answer = err == nil && !slices.ContainsFunc(entries, func(e fs.DirEntry) bool {
			path := filepath.Join(dir, e.Name())
			return !p.gone(path) && !(e.IsDir() && p.whole(path))
		})
	}
	p.full[dir] = answer
	return answer
}

// outermost climbs from a removed path to the largest directory that is removed with it.
// Directories outside site-packages (bin) never belong to modwsgi.
func (p *plan) outermost(path string) string {
	for dir := filepath.Dir(path); p.touched[dir] && !p.blocked[dir] && p.whole(dir); dir = filepath.Dir(dir) {
		path = dir
	}
	return path
}

// take plans the removal of a path, unless it was already handled. If a directory has to
// stay for a target, only its contents are removed.
func (p *plan) take(path string) error {
	for at := path; ; at = filepath.Dir(at) {
		if p.consumed[at] {
			return nil
		}
		if filepath.Dir(at) == at {
			break
		}
	}
	if !p.blocked[path] {
		p.consumed[path] = true
		p.ops = append(p.ops, op{Kind: take, Target: path, Saved: p.saved(path)})
		return nil
	}
	entries, err := p.scope.list(path)
	if err != nil {
		return changeError("read", path, err)
	}
	for _, e := range entries {
		if err := p.take(filepath.Join(path, e.Name())); err != nil {
			return err
		}
	}
	return nil
}

func sorted[V any](m map[string]V) []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}

// caches returns the byte-compiled files of a Python source file (PEP 3147).
func (s *scope) caches(source string) []string {
	stem, ok := strings.CutSuffix(filepath.Base(source), ".py")
	if !ok {
		return nil
	}
	dir := filepath.Join(filepath.Dir(source), cacheDir)
	entries, err := s.list(dir)
	if err != nil {
		return nil
	}
	var found []string
	for _, e := range entries {
		if isCache(e.Name(), stem) {
			found = append(found, filepath.Join(dir, e.Name()))
		}
	}
	return found
}

const cacheDir = "__pycache__"

func isCache(name, stem string) bool {
	return strings.HasPrefix(name, stem+".") && strings.HasSuffix(name, ".pyc")
}
