package matrix

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"modwsgi/internal/fault"
)

const shardHost = "linux/amd64"

// shardCells are the cells of a release with these numbers.
func shardCells(httpds, pythons int, platforms []string, formats ...string) []Cell {
	var all []Cell
	for h := range httpds {
		httpd := &HTTPD{Name: fmt.Sprint("h", h), Version: fmt.Sprint("2.4.", h)}
		for py := range pythons {
			for _, platform := range platforms {
				for _, f := range formats {
					all = append(all, Cell{fmt.Sprint("3.", 8+py), httpd, platform, f})
				}
			}
		}
	}
	return all
}

// TestDivide: whatever the release and the number of machines, every cell is made by
// exactly one, and no machine has much more to do than one alone must have.
func TestDivide(t *testing.T) {
	all := []string{shardHost, "linux/arm64/glibc2.28", "linux/amd64/musl1.2", "windows/amd64"}
	for _, cells := range [][]Cell{
		shardCells(1, 1, all[:1], "wheel"), shardCells(1, 8, all[:1], "wheel", "deb"), shardCells(2, 4, all, "wheel", "oci"), shardCells(5, 3, all[:2], "wheel"),
		shardCells(1, 6, all, "wheel"),
	} {
		for _, n := range []int{1, 2, 3, 7, 8, 20} {
			var made []Cell
			longest, largest, total := 0, 0, 0
			seen := map[string]bool{}
			for _, u := range unitsOf(cells, shardHost) {
				largest = max(largest, u.base+u.cost)
				total += u.cost
				if !seen[u.group] {
					total += u.base
				}
				seen[u.group] = true
			}
			for i := range n {
				mine := Shard{i + 1, n}.Divide(cells, shardHost)
				if again := (Shard{i + 1, n}).Divide(slices.Clone(cells), shardHost); !slices.Equal(mine, again) {
					t.Errorf("%d of %d: not the same the second time", i+1, n)
				}
				made = append(made, mine...)
				load, groups := 0, map[string]bool{}
				for _, u := range unitsOf(mine, shardHost) {
					if load += u.cost; !groups[u.group] {
						load += u.base
					}
					groups[u.group] = true
				}
				longest = max(longest, load)
			}
			if len(made) != len(cells) {
				t.Errorf("%d cells on %d machines: %d were made", len(cells), n, len(made))
			}
			for _, c := range cells {
				if !slices.Contains(made, c) {
					t.Errorf("%d machines: %s is missing", n, c)
				}
			}
			if longest > largest+2*total/n {
				t.Errorf("%d cells on %d machines: the longest takes %d, the largest unit %d, all %d", len(cells), n, longest, largest, total)
			}
		}
	}
}

// TestDivideKeepsTogether: with as many machines as httpds and systems, no httpd is built
// by two.
func TestDivideKeepsTogether(t *testing.T) {
	cells := shardCells(2, 4, []string{shardHost, "linux/arm64/glibc2.28", "linux/amd64/musl1.2", "linux/amd64/glibc2.28"}, "wheel", "oci")
	where := map[string]int{}
	for i := range 8 {
		for _, c := range (Shard{i + 1, 8}).Divide(cells, shardHost) {
			group := c.HTTPD.Name + c.Platform
			if other, known := where[group]; known && other != i {
				t.Fatalf("%s is on machines %d and %d", group, other, i)
			}
			where[group] = i
		}
	}
	if len(where) != 8 {
		t.Errorf("%v", where)
	}
	// The order of the file is kept.
	mine := (Shard{1, 8}).Divide(cells, shardHost)
	at := -1
	for _, c := range mine {
		if i := slices.Index(cells, c); i < at {
			t.Errorf("%s comes too late", c)
		} else {
			at = i
		}
	}
}

func TestParseShard(t *testing.T) {
	if s, err := ParseShard("3/8"); err != nil || s != (Shard{3, 8}) || s.String() != "3/8" {
		t.Errorf("%v, %v", s, err)
	}
	for _, text := range []string{"", "3", "0/8", "9/8", "-1/8", "1/0", "a/b", "1/8 ", "1/99999", "1/99999999999999999999"} {
		if _, err := ParseShard(text); fault.ClassOf(err) != fault.Usage || !strings.Contains(err.Error(), text) {
			t.Errorf("%q: %v", text, err)
		}
	}
}

func TestOnly(t *testing.T) {
	m := &Matrix{name: "release.toml"}
	cells := shardCells(2, 2, []string{shardHost, "windows/amd64"}, "wheel", "zip")
	for _, c := range []struct {
		only []string
		n    int
		want string // of the error
	}{
		{nil, 16, ""},
		{[]string{"python=3.8"}, 8, ""},
		{[]string{"python=3.8,platform=windows/amd64,format=zip,httpd=h1"}, 1, ""},
		{[]string{"python=3.8", "format=zip"}, 12, ""},
		{[]string{"python=3.7"}, 0, `makes nothing for python "3.7"`},
		{[]string{"pythons=3.8"}, 0, `invalid --only "pythons=3.8"`},
		{[]string{"python"}, 0, "invalid --only"},
		{[]string{"python=3.8,"}, 0, "invalid --only"},
		{[]string{"python=3.8,python=3.9"}, 0, "names python twice"},
	} {
		var conditions []Only
		var err error
		for _, text := range c.only {
			var o Only
			if o, err = m.ParseOnly(text, cells); err != nil {
				break
			}
			conditions = append(conditions, o)
		}
		var left []Cell
		if err == nil {
			left, err = m.Select(cells, conditions)
		}
		if c.want != "" && (fault.ClassOf(err) != fault.Usage || !strings.Contains(err.Error(), c.want)) || c.want == "" && (err != nil || len(left) != c.n) {
			t.Errorf("%q: %d cells, %v", c.only, len(left), err)
		}
	}
	o, err := m.ParseOnly("python=3.8,format=zip", cells)
	if err != nil {
		t.Fatal(err)
	}
	wheels := slices.DeleteFunc(slices.Clone(cells), func(c Cell) bool { return c.Format == "zip" })
	if _, err := m.Select(wheels, []Only{o}); fault.ClassOf(err) != fault.Usage {
		t.Errorf("nothing left: %v", err)
	}
}
