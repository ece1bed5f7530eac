package installer

import (
	"encoding/json"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"testing"

	"modwsgi/internal/recipe"
	"modwsgi/internal/testkit"
)

// planned makes a real plan for an environment, and returns it with the directories that
// a plan must not change.
func planned(t *testing.T, env string) (_ *Plan, q Request, watched []string) {
	t.Helper()
	q = request(t)
	tools, home, temp := t.TempDir(), t.TempDir(), t.TempDir()
	testkit.Write(t, tools, map[string]string{"mod_wsgi-express": "x", "mod_wsgi-apxs": "x"})
	q.Python, q.HTTPD, q.ToolsDir = env, "bundled", tools
	q.Env = append(q.Env, "HOME="+home, "TMPDIR="+temp)
	p, err := q.Plan(t.Context(), q.Means)
	if err != nil {
		t.Skipf("needs a compiler, and a Python that modules can be built for: %v", err)
	}
	return p, q, []string{env, tools, home, temp, q.Dir, filepath.Dir(q.CacheDir)}
}

// TestPlanIsData: real plans of all kinds survive the round trip through JSON.
func TestPlanIsData(t *testing.T) {
	p, q, _ := planned(t, python(t))
	survives(t, p)
	memoryFor(p, q.CacheDir, q.Env).remember(t.Context(), q.Runner, p.Host) // probing takes long
	for name, change := range map[string]func(*Request){
		"features": func(q *Request) { q.With, q.Without = []string{"deflate"}, []string{"tls"} },
		"upgrade":  func(q *Request) { q.Upgrade = true },
		"locked": func(q *Request) {
			lock := &recipe.Lock{}
			for _, name := range []string{"mod_wsgi", "httpd", "apr", "apr-util", "pcre2", "expat"} {
				all := recipe.Catalogue().Of(name)
				lock.Put(all[len(all)-1], recipe.Pinned, "ABCD")
			}
			q.LockFile, q.AllowVulnerable = "my.lock", true
			if err := os.WriteFile(filepath.Join(q.Dir, q.LockFile), lock.Encode(), 0o600); err != nil {
				t.Fatal(err)
			}
		},
		"packaged":        func(q *Request) { q.Portable = true },
		"any httpd":       func(q *Request) { q.HTTPD = "auto" },
		"another version": func(q *Request) { q.HTTPDVersion = "2.4.99" },
	} {
		t.Run(name, func(t *testing.T) {
			q := q
			change(&q)
			p, err := q.Plan(t.Context(), q.Means)
			if err != nil {
				t.Fatal(err)
			}
			survives(t, p)
		})
	}
	if err := json.Unmarshal([]byte(`{"httpd":[]}`), new(Plan)); err == nil {
		t.Error("an invalid plan was read")
	}
}

func survives(t *testing.T, p *Plan) {
	t.Helper()
	data, err := json.Marshal(p)
	if err != nil {
		t.Fatal(err)
	}
	var back Plan
	if err := json.Unmarshal(data, &back); err != nil {
		t.Fatal(err)
	}
	same := back
	same.Recalled = p.Recalled
	if !reflect.DeepEqual(*p, same) {
		again, _ := json.Marshal(&back)
		t.Errorf("another plan came back:\n%s\n%s", data, again)
	}
	if p.HTTPD.Action == BuildHTTPD && back.Host.HTTPD.Toolchain != back.Host.Tools {
		t.Error("the host has two compilers")
	}
	if back.Recalled != (p.Host != nil) {
		t.Errorf("the host counts as remembered: %v", back.Recalled)
	}
}

// TestMakingAPlanChangesNothing on the disk, as --dry-run promises. The second plan
// starts from an existing one, which is made again only if it is no longer valid.
func TestMakingAPlanChangesNothing(t *testing.T) {
	p, q, watched := planned(t, python(t))
	before := contents(t, watched...)
	next := p.First()
	first, err := next(t.Context(), q.Means)
	if err != nil || first != p {
		t.Errorf("%v, %v", first, err)
	}
	second, err := next(t.Context(), q.Means)
	if err != nil || second == p || !reflect.DeepEqual(second, p) {
		t.Errorf("%+v, %v", second, err)
	}
	if after := contents(t, watched...); !reflect.DeepEqual(before, after) {
		t.Errorf("it was\n%v\nit is\n%v", before, after)
	}
	if _, err := os.Stat(q.CacheDir); err == nil {
		t.Error("a cache was created")
	}
}

// contents returns the mode and the text of everything below directories.
func contents(t *testing.T, dirs ...string) map[string]string {
	t.Helper()
	all := map[string]string{}
	for _, dir := range dirs {
		err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
			if err != nil {
				return err
			}
			info, err := d.Info()
			if err != nil {
				return err
			}
			text := info.Mode().String()
			if info.Mode().IsRegular() {
				data, err := os.ReadFile(path)
				if err != nil {
					return err
				}
				text += " " + string(data)
			}
			all[path] = text
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	return all
}
