package pyindex

import (
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"modwsgi/internal/fault"
	"modwsgi/internal/httpc"
	"modwsgi/packaging/publish"
	"modwsgi/packaging/publish/publishtest"
	"modwsgi/packaging/sign"
)

func open(t *testing.T, dir string) *publish.Set {
	t.Helper()
	set, err := publish.Open(dir, sign.VerifyKeys{}, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(set.Close)
	return set
}

// options are those for the index of a test.
func options(x *publishtest.Index) Options {
	return Options{
		URL: x.URL + "legacy/", Env: []string{TokenVariable + "=" + x.Password}, Delay: time.Millisecond,
		Pace: httpc.Limits{Window: 300 * time.Millisecond, Total: 10 * time.Second},
	}
}

func carryOut(t *testing.T, set *publish.Set, o Options, dry bool) (*publish.Plan, error) {
	t.Helper()
	d, err := New(set, o)
	if err != nil {
		return nil, err
	}
	plans, err := publish.Run(t.Context(), []publish.Destination{d}, publish.Options{
		Dry: dry, Step: func(_ string, do func() error) error { return do() }, Done: func(publish.Change) {},
	})
	if err != nil {
		if strings.Contains(err.Error()+fault.HintOf(err), "s3cret") {
			t.Errorf("the error shows the token: %v", err)
		}
		return nil, err
	}
	return plans[0], nil
}

// wheels are three: the second requires the third.
func wheels(t *testing.T) []publishtest.File {
	return []publishtest.File{
		publishtest.Wheel(t, "alone", "1.0", "", "x"),
		publishtest.Wheel(t, "application", "1.0", "Requires-Dist: needed==1.0\nRequires-Dist: other>=2; extra == 'x'\n", "x"),
		publishtest.Wheel(t, "needed", "1.0", "", "x"),
	}
}

func TestUpload(t *testing.T) {
	x, set := publishtest.NewIndex(t), open(t, publishtest.Dist(t, nil, wheels(t)...))
	p, err := carryOut(t, set, options(x), true)
	if err != nil || len(x.Order()) != 0 || len(p.Changes) != 3 {
		t.Fatalf("dry run: %+v, %v, %q", p, err, x.Order())
	}
	if _, err := carryOut(t, set, options(x), false); err != nil {
		t.Fatal(err)
	}
	order := x.Order()
	if slices.Index(order, "needed-1.0-py3-none-any.whl") > slices.Index(order, "application-1.0-py3-none-any.whl") || len(order) != 3 {
		t.Errorf("order: %q", order)
	}
	p, err = carryOut(t, set, options(x), false)
	if err != nil || p.Pending() || len(x.Order()) != 3 {
		t.Errorf("again: %+v, %v", p, err)
	}
	// An old server without JSON and hashes: the file itself is compared.
	x.HTML = true
	if p, err = carryOut(t, set, options(x), false); err != nil || p.Pending() {
		t.Errorf("html: %+v, %v", p, err)
	}
}

// TestConflictIsFoundFirst: the last file is a conflict, and nothing is uploaded.
func TestConflictIsFoundFirst(t *testing.T) {
	set := open(t, publishtest.Dist(t, nil, wheels(t)...))
	for _, html := range []bool{false, true} {
		x := publishtest.NewIndex(t)
		x.HTML = html
		x.Put("needed", "needed-1.0-py3-none-any.whl", []byte("other contents"))
		_, err := carryOut(t, set, options(x), false)
		if fault.ClassOf(err) != fault.Usage || !strings.Contains(err.Error(), "needed-1.0-py3-none-any.whl") || len(x.Order()) != 0 {
			t.Errorf("%v, %q", err, x.Order())
		}
	}
}

// TestInterruptedUploads: each failure ends in a state from which the same command
// completes, with every file uploaded once.
func TestInterruptedUploads(t *testing.T) {
	set := open(t, publishtest.Dist(t, nil, wheels(t)...))
	for name, c := range map[string]struct {
		set   func(x *publishtest.Index, n *atomic.Int32)
		works bool // in the first run, by retries
		text  string
	}{
		"two times busy": {func(x *publishtest.Index, n *atomic.Int32) {
			x.Before = func(w http.ResponseWriter, r *http.Request) bool {
				if r.Method != http.MethodPost || n.Add(1) > 2 {
					return false
				}
				w.WriteHeader(http.StatusServiceUnavailable)
				return true
			}
		}, true, ""},
		"the answer is lost": {func(x *publishtest.Index, n *atomic.Int32) {
			x.After = func(publishtest.Upload) int {
				if n.Add(1) == 1 {
					return http.StatusBadGateway
				}
				return 0
			}
		}, true, ""},
		"the connection ends": {func(x *publishtest.Index, n *atomic.Int32) {
			x.Before = func(w http.ResponseWriter, r *http.Request) bool {
				if r.Method != http.MethodPost || n.Add(1) != 2 {
					return false
				}
				_, _ = io.CopyN(io.Discard, r.Body, 100)
				panic(http.ErrAbortHandler)
			}
		}, true, ""},
		"always broken": {func(x *publishtest.Index, _ *atomic.Int32) {
			x.Before = func(w http.ResponseWriter, r *http.Request) bool {
				if r.Method != http.MethodPost || len(x.Order()) < 1 {
					return false
				}
				w.WriteHeader(http.StatusInternalServerError)
				return true
			}
		}, false, "500"},
		"stalled": {func(x *publishtest.Index, _ *atomic.Int32) {
			x.Before = func(w http.ResponseWriter, r *http.Request) bool {
				if r.Method != http.MethodPost || len(x.Order()) < 1 {
					return false
				}
				_, _ = io.Copy(io.Discard, r.Body)
				select {
				case <-r.Context().Done():
				case <-time.After(10 * time.Second):
				}
				return true
			}
		}, false, "no more data"},
		"refused": {func(x *publishtest.Index, _ *atomic.Int32) {
			x.Before = func(w http.ResponseWriter, r *http.Request) bool {
				if r.Method == http.MethodPost && len(x.Order()) == 1 {
					http.Error(w, "<html><head><title>no</title></head>the description <b>failed</b></html>", http.StatusBadRequest)
					return true
				}
				return false
			}
		}, false, "the description failed"},
	} {
		t.Run(name, func(t *testing.T) {
			x := publishtest.NewIndex(t)
			c.set(x, new(atomic.Int32))
			_, err := carryOut(t, set, options(x), false)
			if (err == nil) != c.works || err != nil && (!strings.Contains(err.Error(), c.text) || fault.ClassOf(err) != fault.Source || fault.HintOf(err) == "") {
				t.Fatalf("%v (%s)", err, fault.HintOf(err))
			}
			x.Before, x.After = nil, nil
			if _, err := carryOut(t, set, options(x), false); err != nil || len(x.Order()) != 3 {
				t.Errorf("again: %v, %q", err, x.Order())
			}
		})
	}
}

// TestCredentialsStay: they are not sent to other hosts, and are in no error, even if the
// index repeats them.
func TestCredentialsStay(t *testing.T) {
	var leaked atomic.Value
	other := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		if a := r.Header.Get("Authorization"); a != "" {
			leaked.Store(a)
		}
	}))
	t.Cleanup(other.Close)
	set := open(t, publishtest.Dist(t, nil, wheels(t)...))
	for _, method := range []string{http.MethodGet, http.MethodPost} {
		for _, status := range []int{301, 302, 303, 307, 308} {
			x := publishtest.NewIndex(t)
			x.Before = func(w http.ResponseWriter, r *http.Request) bool {
				if r.Method != method {
					return false
				}
				http.Redirect(w, r, other.URL+"/x?token=s3cret", status)
				return true
			}
			_, err := carryOut(t, set, options(x), false)
			if method == http.MethodPost && (err == nil || !strings.Contains(err.Error(), "redirects uploads to "+other.URL)) {
				t.Errorf("%d: %v", status, err)
			}
			if leaked.Load() != nil {
				t.Fatalf("%s %d: the other host got %v", method, status, leaked.Load())
			}
		}
	}
	x := publishtest.NewIndex(t)
	x.Password = "another"
	o := options(x)
	o.Env = []string{TokenVariable + "=s3cret"}
	if _, err := carryOut(t, set, o, false); err == nil || !strings.Contains(err.Error(), "403") || !strings.Contains(fault.HintOf(err), TokenVariable) {
		t.Errorf("refused credentials: %v (%s)", err, fault.HintOf(err))
	}
}

func TestAddresses(t *testing.T) {
	set := open(t, publishtest.Dist(t, nil, wheels(t)...))
	for address, want := range map[string]string{
		"https://me:s3cret@index.example/legacy/": "contains credentials",
		"http://index.example/legacy/":            "not over an encrypted connection",
		"index.example":                           "is not an address",
		"ftp://index.example/":                    "is not an address",
		"https://index.example/?token=s3cret":     "not the address of an index",
	} {
		_, err := carryOut(t, set, Options{URL: address}, true)
		if fault.ClassOf(err) != fault.Usage || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", address, err)
		}
	}
	for upload, want := range map[string]string{
		"https://upload.pypi.org/legacy/":                   "https://pypi.org/simple/",
		"https://test.pypi.org/legacy/":                     "https://test.pypi.org/simple/",
		"https://index.example/":                            "https://index.example/simple/",
		"https://index.example/repository/pypi-hosted":      "https://index.example/repository/pypi-hosted/simple/",
		"https://index.example/a/_packaging/f/pypi/upload/": "https://index.example/a/_packaging/f/pypi/simple/",
	} {
		x, err := New(set, Options{URL: upload})
		if err != nil || x.check.String() != want {
			t.Errorf("%s: %v, %v", upload, x.check, err)
		}
	}
	// A wrong address of the simple API must not make every file look new.
	x := publishtest.NewIndex(t)
	o := options(x)
	o.CheckURL = x.URL + "wrong/"
	if _, err := carryOut(t, set, o, false); fault.ClassOf(err) != fault.Usage || !strings.Contains(err.Error(), "is not a package index") || len(x.Order()) > 0 {
		t.Errorf("%v, %q", err, x.Order())
	}
}

// TestPyPIRules: what PyPI refuses is found before the first upload.
func TestPyPIRules(t *testing.T) {
	set := open(t, publishtest.Dist(t, nil, publishtest.LinuxWheel(t, "a", "1.0"), publishtest.Wheel(t, "b", "1.0+local", "", "")))
	x, err := New(set, Options{URL: "https://upload.pypi.org/legacy/"})
	if err != nil {
		t.Fatal(err)
	}
	for _, d := range x.dists {
		if state, why, err := x.compare(t.Context(), d, nil); err != nil || state != publish.Conflict || !strings.HasPrefix(why, "PyPI accepts no") {
			t.Errorf("%s: %s, %q, %v", d.artifact.Name, state, why, err)
		}
	}
}

func TestCredentials(t *testing.T) {
	set := open(t, publishtest.Dist(t, nil, wheels(t)...))
	home := t.TempDir()
	write := func(name, text string, mode os.FileMode) string {
		file := filepath.Join(home, name)
		if err := os.WriteFile(file, []byte(text), mode); err != nil {
			t.Fatal(err)
		}
		return file
	}
	pypirc := "[distutils]\nindex-servers =\n  other\n  mine\n\n[other]\nrepository = https://other.example/legacy/\nusername = x\npassword = wrong\n\n[mine]\nrepository: https://index.example/legacy\nusername: jane\npassword: from%pypirc=:x\n"
	netrc := "machine other.example login x password wrong\nmachine index.example\n  login jane\n  password from-netrc\ndefault login y password wrong\n"
	token := write("token", "from-file\n", 0o600)
	for name, c := range map[string]struct {
		files    map[string]string
		o        Options
		user, pw string
	}{
		"nothing":          {nil, Options{}, "", ""},
		"file":             {map[string]string{".netrc": netrc}, Options{TokenFile: token, Env: []string{TokenVariable + "=t"}}, "__token__", "from-file"},
		"token":            {map[string]string{".netrc": netrc}, Options{Env: []string{TokenVariable + "=t", UserVariable + "=u"}}, "__token__", "t"},
		"user":             {nil, Options{Env: []string{UserVariable + "=u", PasswordVariable + "=p"}}, "u", "p"},
		"twine":            {nil, Options{Env: []string{"TWINE_USERNAME=u", "TWINE_PASSWORD=p"}}, "u", "p"},
		"only a password":  {nil, Options{Env: []string{"TWINE_PASSWORD=p"}}, "__token__", "p"},
		"pypirc and netrc": {map[string]string{".pypirc": pypirc, ".netrc": netrc}, Options{}, "jane", "from%pypirc=:x"},
		"netrc":            {map[string]string{".netrc": netrc}, Options{}, "jane", "from-netrc"},
	} {
		for _, file := range []string{".pypirc", ".netrc"} {
			_ = os.Remove(filepath.Join(home, file))
			if c.files[file] != "" {
				write(file, c.files[file], 0o600)
			}
		}
		c.o.URL, c.o.Env = "https://index.example/legacy/", append(c.o.Env, "HOME="+home)
		x, err := New(set, c.o)
		if err != nil || x.login.user != c.user || x.login.password != c.pw {
			t.Errorf("%s: %+v, %v", name, x.login, err)
		}
	}
	if os.Getuid() == 0 || filepath.Separator == '/' {
		_ = os.Remove(filepath.Join(home, ".pypirc")) // the last case, whichever it was, may have left one
		write(".netrc", netrc, 0o600)
		if err := os.Chmod(filepath.Join(home, ".netrc"), 0o644); err != nil {
			t.Fatal(err)
		}
		if _, err := New(set, Options{URL: "https://index.example/legacy/", Env: []string{"HOME=" + home}}); fault.ClassOf(err) != fault.Usage || !strings.Contains(fault.HintOf(err), "chmod 600") {
			t.Errorf("a file that others can read: %v (%s)", err, fault.HintOf(err))
		}
	}
}

// TestChangedFile: a file that changes after it was verified is not uploaded.
func TestChangedFile(t *testing.T) {
	dir := publishtest.Dist(t, nil, wheels(t)...)
	x, set := publishtest.NewIndex(t), open(t, dir)
	d, err := New(set, options(x))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := d.Plan(t.Context()); err != nil {
		t.Fatal(err)
	}
	name := filepath.Join(dir, "alone-1.0-py3-none-any.whl")
	data, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	data[len(data)-30] ^= 1
	if err := os.WriteFile(name, data, 0o644); err != nil {
		t.Fatal(err)
	}
	err = d.Publish(t.Context(), func(publish.Change) {})
	if fault.ClassOf(err) != fault.Verify || slices.Contains(x.Order(), "alone-1.0-py3-none-any.whl") || errors.Is(err, os.ErrNotExist) {
		t.Errorf("%v, %q", err, x.Order())
	}
}
