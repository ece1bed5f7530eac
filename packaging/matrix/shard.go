package matrix

import (
	"cmp"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"modwsgi/internal/fault"
)

// Shard is one part of a release that several machines make: number Index of Count,
// from 1. The zero value is the whole release.
type Shard struct {
	Index int `json:"index"`
	Count int `json:"count"`
}

var shardForm = regexp.MustCompile(`^([0-9]{1,6})/([0-9]{1,6})$`)

// maxShards limits the number of machines.
const maxShards = 10000

// ParseShard reads "3/8". Its error is of class Usage.
func ParseShard(text string) (Shard, error) {
	const hint = "write the number of this machine, from 1, and the number of machines, as in --shard 3/8; systems that count from 0 need +1"
	m := shardForm.FindStringSubmatch(text)
	if m == nil {
		return Shard{}, fault.New(fault.Usage, hint, "invalid --shard %q", text)
	}
	var s Shard
	s.Index, _ = strconv.Atoi(m[1]) // at most six digits
	s.Count, _ = strconv.Atoi(m[2])
	if s.Index < 1 || s.Index > s.Count || s.Count > maxShards {
		return Shard{}, fault.New(fault.Usage, hint, "invalid --shard %q: the number is from 1 to %d", text, max(1, min(s.Count, maxShards)))
	}
	return s, nil
}

func (s Shard) String() string { return fmt.Sprintf("%d/%d", s.Index, s.Count) }

// Costs of the parts of a release, in seconds of one processor, as they were measured
// with an empty build cache (scripts/bench). Only their ratios matter. They are
// constants, so that every machine divides a release in the same way.
const (
	costHTTPD     = 40 // httpd with APR and PCRE2
	costLibraries = 80 // OpenSSL and the other libraries from source
	costSysroot   = 20 // another Linux system's headers and libraries
	costModule    = 7  // module and proof
	costEmulated  = 15 // a proof with qemu-user
	costWindows   = 12 // module for Windows
)

var costFormats = map[string]int{"wheel": 2, "zip": 2, "deb": 4, "rpm": 4, "apk": 4, "oci": 8}

// unit is what one machine makes as a whole: the cells of one build.
type unit struct {
	group string // the builds that share an httpd, and for another system a sysroot
	base  int    // cost of what the group shares
	cost  int    // of the unit itself
	later int    // 0 for the first unit of its group
	cells []Cell
}

// Divide returns the cells of one shard, in the order of all. Every cell is in exactly
// one shard, and the result depends on the cells and the number of shards alone. Builds
// that share an httpd stay together, unless one machine would then work much longer than
// the others.
func (s Shard) Divide(all []Cell, host string) []Cell {
	if s.Count <= 1 {
		return all
	}
	units := inOrder(unitsOf(all, host))
	limit, shared := 0, map[string]bool{}
	for _, u := range units {
		limit += u.cost
		if !shared[u.group] {
			limit += u.base
		}
		shared[u.group] = true
	}
	limit = limit * 3 / (2 * s.Count) // half more than the mean
	for _, u := range units {
		limit = max(limit, u.base+u.cost)
	}
	machines := make([]machine, s.Count)
	var mine []Cell
	for _, u := range units {
		best := 0
		for k := range machines {
			if machines[k].before(machines[best], u, limit) {
				best = k
			}
		}
		machines[best].take(u)
		if best == s.Index-1 {
			mine = append(mine, u.cells...)
		}
	}
	return slices.DeleteFunc(slices.Clone(all), func(c Cell) bool { return !slices.Contains(mine, c) })
}

// machine is what one machine has to do so far.
type machine struct {
	load   int
	groups map[string]bool
}

// with returns the load with one more unit.
func (m machine) with(u unit) int {
	if m.groups[u.group] {
		return m.load + u.cost
	}
	return m.load + u.base + u.cost
}

// before reports whether a unit should rather go to m than to o: to one that has its
// group and is below the limit, else to the one that ends first.
func (m machine) before(o machine, u unit, limit int) bool {
	stays := func(m machine) bool { return m.groups[u.group] && m.with(u) <= limit }
	if stays(m) != stays(o) {
		return stays(m)
	}
	return m.with(u) < o.with(u)
}

func (m *machine) take(u unit) {
	m.load = m.with(u)
	if m.groups == nil {
		m.groups = map[string]bool{}
	}
	m.groups[u.group] = true
}

// inOrder sorts units: of each group the first one before all others, and those of the
// largest groups first.
func inOrder(units []unit) []unit {
	totals, rank := map[string]int{}, map[string]int{}
	for i := range units {
		u := &units[i]
		totals[u.group] = max(totals[u.group], u.base) + u.cost
		u.later = min(1, rank[u.group])
		rank[u.group]++
	}
	slices.SortStableFunc(units, func(a, b unit) int {
		return cmp.Or(cmp.Compare(a.later, b.later), cmp.Compare(totals[b.group], totals[a.group]), cmp.Compare(a.group, b.group))
	})
	return units
}

// unitsOf groups cells by their build, in the order of the first cell of each.
func unitsOf(all []Cell, host string) []unit {
	var units []unit
	at := map[string]int{}
	for _, c := range all {
		group := c.HTTPD.Name + "\x00" + c.Platform
		if IsWindows(c.Platform) {
			group = c.HTTPD.Version + "\x00" + c.Platform
		}
		key := group + "\x00" + c.Python
		i, known := at[key]
		if !known {
			i = len(units)
			at[key] = i
			units = append(units, c.build(group, host))
		}
		units[i].cost += costFormats[c.Format]
		units[i].cells = append(units[i].cells, c)
	}
	return units
}

// build estimates a cell's build.
func (c Cell) build(group, host string) unit {
	if IsWindows(c.Platform) {
		return unit{group: group, cost: costWindows}
	}
	u := unit{group: group, base: costHTTPD, cost: costModule}
	if c.HTTPD.Libraries == "bundled" || c.Platform != host {
		u.base += costLibraries
	}
	if c.Platform != host {
		u.base += costSysroot
		if cpu(c.Platform) != cpu(host) {
			u.cost += costEmulated
		}
	}
	return u
}

func cpu(platform string) string {
	parts := strings.Split(platform, "/")
	return parts[min(1, len(parts)-1)]
}

// Only is a condition that cells must meet: key=value, and all of them.
type Only struct{ conditions Exclude }

// ParseOnly reads "python=3.12,platform=linux/arm64", whose values must be in the matrix.
// Its error is of class Usage.
func (m *Matrix) ParseOnly(text string, all []Cell) (Only, error) {
	var o Only
	fields := map[string]*string{"python": &o.conditions.Python, "httpd": &o.conditions.HTTPD, "format": &o.conditions.Format, "platform": &o.conditions.Platform}
	known := map[string]func(Cell) string{
		"python": func(c Cell) string { return c.Python }, "httpd": func(c Cell) string { return c.HTTPD.Name },
		"format": func(c Cell) string { return c.Format }, "platform": func(c Cell) string { return c.Platform },
	}
	for pair := range strings.SplitSeq(text, ",") {
		key, value, ok := strings.Cut(pair, "=")
		if !ok || fields[key] == nil || value == "" {
			return o, fault.New(fault.Usage, "write --only python=3.12,platform=linux/arm64, with the keys python, httpd, format and platform", "invalid --only %q", text)
		}
		if *fields[key] != "" {
			return o, fault.New(fault.Usage, "repeat --only for another value", "--only %q names %s twice", text, key)
		}
		var values []string
		for _, c := range all {
			if v := known[key](c); !slices.Contains(values, v) {
				values = append(values, v)
			}
		}
		if !slices.Contains(values, value) {
			return o, fault.New(fault.Usage, "use one of "+strings.Join(values, ", "), "--only: %s makes nothing for %s %q", m.name, key, value)
		}
		*fields[key] = value
	}
	return o, nil
}

// Select returns the cells that meet one of the conditions; all of them without a condition.
// The error, of class Usage, means that none is left.
func (m *Matrix) Select(all []Cell, conditions []Only) ([]Cell, error) {
	if len(conditions) == 0 {
		return all, nil
	}
	left := slices.DeleteFunc(slices.Clone(all), func(c Cell) bool {
		return !slices.ContainsFunc(conditions, func(o Only) bool { return o.conditions.matches(c) })
	})
	if len(left) == 0 {
		return nil, fault.New(fault.Usage, "see modwsgi package --matrix FILE --dry-run for what it makes", "--only leaves nothing to make of %s", m.name)
	}
	return left, nil
}
