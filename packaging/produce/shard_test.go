package produce

import (
	"fmt"
	"slices"
	"testing"

	"modwsgi/packaging/matrix"
)

// TestSharedArtifactsAreMadeOnce: the wheel of an httpd is the same for every Python. Of
// all machines, exactly one that builds the httpd makes it.
func TestSharedArtifactsAreMadeOnce(t *testing.T) {
	var all []matrix.Cell
	for h := range 2 {
		httpd := &matrix.HTTPD{Name: fmt.Sprint("h", h)}
		for py := range 4 {
			for _, platform := range []string{"linux/amd64", "linux/arm64/glibc2.28"} {
				for _, format := range []string{"wheel", "deb"} {
					all = append(all, matrix.Cell{Python: fmt.Sprint("3.", 8+py), HTTPD: httpd, Platform: platform, Format: format})
				}
			}
		}
	}
	for _, n := range []int{1, 2, 3, 8, 20} {
		makers := map[string]int{}
		for i := range n {
			ours := matrix.Shard{Index: i + 1, Count: n}.Divide(all, "linux/amd64")
			others := notOurs(all, ours)
			mine := map[string]bool{}
			for _, c := range ours {
				if key := sharedKey(c); !others[key] && !mine[key] {
					mine[key] = true
					makers[key]++
				}
			}
		}
		if len(makers) != 8 {
			t.Errorf("%d machines make %d of 8 artifacts", n, len(makers))
		}
		for key, count := range makers {
			if count != 1 {
				t.Errorf("%d of %d machines make %q", count, n, key)
			}
		}
	}
}

// TestWhatAllNeedIsMissed: if no build with an httpd succeeded on the machine that makes its
// wheel, the part says that the wheel is missing, and merging names it.
func TestWhatAllNeedIsMissed(t *testing.T) {
	one, two := &matrix.HTTPD{Name: "one"}, &matrix.HTTPD{Name: "two"}
	cells := []matrix.Cell{
		{Python: "3.11", HTTPD: one, Platform: host, Format: "wheel"},
		{Python: "3.12", HTTPD: one, Platform: host, Format: "wheel"},
		{Python: "3.11", HTTPD: two, Platform: host, Format: "wheel"},
		{Python: "3.11", HTTPD: two, Platform: host, Format: "oci"},
		{Python: "3.11", HTTPD: one, Platform: "windows/amd64", Format: "wheel"},
	}
	o := &Release{chosen: cells, cells: cells[:1], elsewhere: map[string]bool{sharedKey(cells[2]): true}}
	l := &line{shard: &shardRecord{}}
	jobs, err := (&matrixOrder{o}).jobs(l)
	if err != nil || len(jobs) != 0 {
		t.Fatalf("%d jobs without a build, %v", len(jobs), err)
	}
	if want := []string{"wheel of httpd one"}; !slices.Equal(l.shard.Failed, want) {
		t.Errorf("%q, not %q", l.shard.Failed, want)
	}
	if got := o.notShared(map[string]bool{sharedKey(cells[0]): true}); got != nil {
		t.Errorf("%q is made", got)
	}
}
