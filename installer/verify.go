package installer

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"time"

	"modwsgi/internal/event"
	"modwsgi/internal/fault"
	"modwsgi/internal/run"
	"modwsgi/internal/timeline"
)

// Subject is a module, the httpd and the Python that are to be tried together.
type Subject struct {
	Prefix        string // sys.prefix that must come back
	PythonVersion string // "3.11.7"
	Module        string // path
	ModuleVersion string
	Executable    string // httpd
	ModulesDir    string
	LibPython     string // loaded before the module; "" where the module finds it by itself
}

// Proof is what the application that ran inside httpd said of itself.
type Proof struct {
	Prefix        string        `json:"prefix"`
	PythonVersion string        `json:"python"`
	ModuleVersion string        `json:"mod_wsgi"`
	Server        string        `json:"server"`
	Threads       bool          `json:"multithread"`
	Elapsed       time.Duration `json:"elapsed_ns"`
}

// verifyTimeout is how long the throwaway server may take to its first answer.
const verifyTimeout = 30 * time.Second

// application is what runs inside. The nonce shows that the answer is from this
// server and not from another one that got the port.
const application = `import json, os, sys

def application(environ, start_response):
    body = json.dumps({
        "nonce": "@NONCE@",
        "prefix": sys.prefix,
        "python": "%d.%d.%d" % sys.version_info[:3],
        "mod_wsgi": ".".join(str(part) for part in environ.get("mod_wsgi.version", ())),
        "group": environ.get("mod_wsgi.process_group"),
        "server": environ.get("SERVER_SOFTWARE", ""),
        "multithread": bool(environ.get("wsgi.multithread")),
    }).encode("utf-8")
    start_response("200 OK", [("Content-Type", "application/json"), ("Content-Length", str(len(body)))])
    return [body]
`

// verify starts a throwaway httpd on a loopback port, which loads the module and
// runs an application in a daemon process with the Python, and asks it what it
// is. The errors are of class Verify and carry the end of httpd's error log.
func verify(ctx context.Context, q *Request, s Subject) (*Proof, error) {
	began := time.Now()
	var last error
	for range 3 { // another process may take the port between our look and httpd's
		proof, retry, err := verifyOnce(ctx, q, s)
		if err == nil {
			proof.Elapsed = time.Since(began)
			return proof, nil
		}
		if last = err; !retry || ctx.Err() != nil {
			break
		}
	}
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	return nil, last
}

func verifyOnce(ctx context.Context, q *Request, s Subject) (_ *Proof, retry bool, _ error) {
	// Not below the cache: the path of a daemon's socket must be short.
	dir, remove, err := q.scratch("modwsgi-verify-", true)
	if err != nil {
		return nil, false, err
	}
	defer remove()
	account, err := lesserAccount()
	if err != nil {
		return nil, false, err
	}
	port, err := freePort(ctx)
	if err != nil {
		return nil, false, err
	}
	nonce := rand.Text()
	if err := writeServer(dir, port, nonce, s); err != nil {
		return nil, false, err
	}
	if account != nil {
		if err := chownAll(dir, account); err != nil {
			return nil, false, err
		}
	}
	log := filepath.Join(dir, "error_log")
	out := &lockedWriter{}
	ctx, cancel := context.WithTimeout(ctx, verifyTimeout)
	defer cancel()
	server, err := q.Runner.Start(ctx, run.Cmd{
		Argv: []string{s.Executable, "-f", filepath.Join(dir, "httpd.conf"), "-DFOREGROUND"},
		Dir:  dir, Env: verifyEnvironment(), Log: out, Account: account,
	})
	if err != nil {
		return nil, false, fault.New(fault.Verify, "programs must be executable where it lies: is that file system mounted noexec?",
			"start the throwaway server %s: %w", s.Executable, err)
	}
	asking, fail := context.WithCancelCause(ctx)
	go watch(asking, log, fail)
	proof, err := ask(asking, server, port, nonce)
	fail(nil)
	var said string
	if err != nil { // what it says while it ends is not to the point
		said = out.String() + readText(log)
	}
	stop(server, err == nil)
	if err != nil {
		kept := keepLog(q.logs, said)
		return nil, strings.Contains(said, "could not bind"), fault.New(fault.Verify, verifyHint(said, s.Prefix, account != nil),
			"%w\nhttpd said:\n%s%s", err, indent(telling(said, 20)), kept)
	}
	return proof, false, compare(proof, s)
}

func verifyEnvironment() []string {
	return []string{"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "LANG=C.UTF-8", "LC_ALL=C.UTF-8"}
}

// compare refuses an answer that is not of this Python and this module.
func compare(p *Proof, s Subject) error {
	same := p.Prefix == s.Prefix
	if !same {
		a, errA := os.Stat(p.Prefix)
		b, errB := os.Stat(s.Prefix)
		same = errA == nil && errB == nil && os.SameFile(a, b)
	}
	switch {
	case !same:
		return fault.New(fault.Verify, "", "the module runs Python with the prefix %s, not %s", p.Prefix, s.Prefix)
	case number(s.PythonVersion) != number(p.PythonVersion):
		return fault.New(fault.Verify, "the library and the interpreter of this Python are of different versions: repair the Python installation",
			"the module runs Python %s, not %s", p.PythonVersion, s.PythonVersion)
	case p.ModuleVersion != s.ModuleVersion:
		return fault.New(fault.Verify, "", "the module says that it is mod_wsgi %s, not %s", p.ModuleVersion, s.ModuleVersion)
	}
	return nil
}

// number is the part of a Python version without "rc1" or "+".
func number(version string) string {
	if i := strings.IndexFunc(version, func(r rune) bool { return r != '.' && (r < '0' || r > '9') }); i >= 0 {
		return version[:i]
	}
	return version
}

// writeServer writes the configuration and the application.
func writeServer(dir string, port int, nonce string, s Subject) error {
	var b strings.Builder
	word := func(v string) string { return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(v) + `"` }
	for _, v := range []string{s.Module, s.Prefix, s.ModulesDir, dir} {
		if strings.ContainsAny(v, "\n\x00") || strings.Contains(v, "${") {
			return fault.New(fault.Environment, "move the environment to another path", "httpd cannot be told of the path %q", v)
		}
	}
	fmt.Fprintf(&b, "ServerRoot %s\nServerName localhost\nListen 127.0.0.1:%d\nPidFile %s\nDefaultRuntimeDir %s\nErrorLog %s\nLogLevel info\nTimeout 20\n",
		word(dir), port, word(dir+"/httpd.pid"), word(dir), word(dir+"/error_log"))
	for _, names := range [][]string{{"mpm_event", "mpm_worker", "mpm_prefork"}, {"unixd"}, {"authz_core"}, {"alias"}} {
		for _, name := range names { // what is not there is built in
			if file := filepath.Join(s.ModulesDir, "mod_"+name+".so"); fileExists(file) {
				fmt.Fprintf(&b, "LoadModule %s_module %s\n", name, word(file))
				break
			}
		}
	}
	if s.LibPython != "" {
		fmt.Fprintf(&b, "LoadFile %s\n", word(s.LibPython))
	}
	fmt.Fprintf(&b, "LoadModule wsgi_module %s\nWSGIPythonHome %s\nWSGISocketPrefix %s\nWSGIRestrictEmbedded On\n", word(s.Module), word(s.Prefix), word(dir+"/wsgi"))
	// httpd ignores the environment's locale; without one, Python cannot read a prefix that is not ASCII.
	fmt.Fprintf(&b, "WSGIDaemonProcess verify threads=2 display-name=modwsgi-verify lang=C.UTF-8 locale=C.UTF-8 home=%s startup-timeout=15 connect-timeout=15 socket-timeout=20\n", word(dir))
	fmt.Fprintf(&b, "WSGIScriptAlias / %s process-group=verify application-group=%%{GLOBAL}\n<Directory %s>\n  Require all granted\n</Directory>\n",
		word(dir+"/verify.wsgi"), word(dir))
	if err := os.WriteFile(filepath.Join(dir, "httpd.conf"), []byte(b.String()), 0o644); err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(dir, "verify.wsgi"), []byte(strings.ReplaceAll(application, "@NONCE@", nonce)), 0o644)
}

func fileExists(name string) bool {
	_, err := os.Stat(name)
	return err == nil
}

// fatal are lines of the error log after which no answer comes: a client would
// wait for the daemon process until its time-out.
var fatal = []string{":alert]", ":emerg]", "exit signal", "Fatal Python error", "has died, deregister"}

// watch ends the asking when the error log shows that no answer will come.
func watch(ctx context.Context, log string, fail context.CancelCauseFunc) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-time.After(100 * time.Millisecond):
		}
		data, err := os.ReadFile(log)
		for _, text := range fatal {
			if err == nil && strings.Contains(string(data), text) {
				fail(errors.New("the daemon process with the application could not start"))
				return
			}
		}
	}
}

func gaveUp(ctx context.Context) error {
	if err := context.Cause(ctx); !errors.Is(err, context.DeadlineExceeded) {
		return err
	}
	return fmt.Errorf("the throwaway server did not answer within %s", verifyTimeout)
}

// ask polls until the application answers, the server ends or time is up.
func ask(ctx context.Context, server *run.Process, port int, nonce string) (*Proof, error) {
	client := &http.Client{
		Timeout:   25 * time.Second,
		Transport: &http.Transport{DisableKeepAlives: true, DialContext: (&net.Dialer{Timeout: 5 * time.Second}).DialContext},
	}
	url := fmt.Sprintf("http://127.0.0.1:%d/", port)
	for wait := 5 * time.Millisecond; ; wait = min(2*wait, 200*time.Millisecond) {
		select {
		case <-server.Done():
			if err := server.Wait(); err != nil {
				return nil, fmt.Errorf("the throwaway server ended before it answered: %w", err)
			}
			return nil, errors.New("the throwaway server ended before it answered")
		case <-ctx.Done():
			return nil, gaveUp(ctx)
		case <-time.After(wait):
		}
		proof, err := get(ctx, client, url, nonce)
		if proof != nil {
			return proof, nil
		}
		if ctx.Err() != nil {
			return nil, gaveUp(ctx)
		}
		if err != nil && !errors.Is(err, syscall.ECONNREFUSED) && !errors.Is(err, syscall.ECONNRESET) {
			return nil, err
		}
	}
}

func get(ctx context.Context, client *http.Client, url, nonce string) (*Proof, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return nil, err
	}
	resp, err := client.Do(req)
	if err != nil {
		return nil, err
	}
	defer func() { _ = resp.Body.Close() }()
	body, err := io.ReadAll(io.LimitReader(resp.Body, 64<<10))
	if err != nil {
		return nil, err
	}
	if resp.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("the application answered %s", resp.Status)
	}
	var answer struct {
		Proof
		Nonce string `json:"nonce"`
		Group string `json:"group"`
	}
	if err := json.Unmarshal(body, &answer); err != nil || answer.Nonce != nonce {
		return nil, errors.New("something else answered on the port of the throwaway server")
	}
	if answer.Group != "verify" {
		return nil, fmt.Errorf("the application ran in process group %q, not in its daemon process", answer.Group)
	}
	return &answer.Proof, nil
}

// stop ends the server with its daemon processes; one that failed has workers
// which wait for a daemon process that does not come, and gets little time.
func stop(server *run.Process, worked bool) {
	patience := 8 * time.Second
	if !worked {
		patience = time.Second
	}
	_ = server.Signal(syscall.SIGTERM)
	select {
	case <-server.Done():
	case <-time.After(patience):
		_ = server.Signal(syscall.SIGKILL)
		<-server.Done()
	}
}

// lesserAccount is the account to run a server as when we are root: httpd
// refuses to serve as root. It may read everything, so that a Python below
// root's home can be tried.
func lesserAccount() (*run.Account, error) {
	if runtime.GOOS == "windows" || os.Geteuid() != 0 {
		return nil, nil
	}
	return &run.Account{UID: nobodyID, GID: nobodyID, ReadAll: runtime.GOOS == "linux"}, nil
}

// nobodyID is the overflow identifier, which owns nothing on any system
// (user_namespaces(7)).
const nobodyID = 65534

func chownAll(dir string, a *run.Account) error {
	return filepath.WalkDir(dir, func(path string, _ os.DirEntry, err error) error {
		if err != nil {
			return err
		}
		return os.Lchown(path, int(a.UID), int(a.GID))
	})
}

// freePort asks the system for a port that nobody listens on.
func freePort(ctx context.Context) (int, error) {
	l, err := (&net.ListenConfig{}).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return 0, fmt.Errorf("find a free port: %w", err)
	}
	defer func() { _ = l.Close() }()
	return l.Addr().(*net.TCPAddr).Port, nil
}

// verifyHint reads what httpd said.
func verifyHint(said, prefix string, lesser bool) string {
	if dir := closedTo(prefix); lesser && dir != "" {
		return "the directory " + dir + " is closed to the user that serves (root itself cannot): use an environment below /srv or /opt, or open it (chmod o+x)"
	}
	switch {
	case strings.Contains(said, "cannot open shared object file"):
		return "a library that the module or httpd needs is not found: was Python or a system library removed?"
	case strings.Contains(said, "undefined symbol"):
		return "the module and the httpd or the Python do not belong together: run modwsgi install --reinstall"
	case strings.Contains(said, "Permission denied"), strings.Contains(said, "Operation not permitted"):
		return "the server cannot read the Python environment or its own directory: look at their permissions"
	case strings.Contains(said, "could not bind"):
		return "another process took the port: try again"
	}
	return "look for the first line above that speaks of wsgi, of Python or of an error"
}

// closedTo returns the first directory on the way to a path that only its owner
// and group may pass, "" where there is none.
func closedTo(path string) string {
	for at := filepath.Clean(path); ; at = filepath.Dir(at) {
		if info, err := os.Stat(at); err == nil && info.IsDir() && info.Mode().Perm()&0o001 == 0 {
			return at
		}
		if at == filepath.Dir(at) {
			return ""
		}
	}
}

// lockedWriter keeps what is written from several goroutines.
type lockedWriter struct {
	mu sync.Mutex
	b  strings.Builder
}

func (l *lockedWriter) Write(data []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(data)
}

func (l *lockedWriter) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

func readText(name string) string {
	data, err := os.ReadFile(name)
	if err != nil {
		return ""
	}
	return string(data)
}

// telling picks the lines of a log to show: those that tell of trouble, else the
// last ones.
func telling(said string, most int) string {
	all := strings.Split(strings.TrimRight(said, "\n"), "\n")
	var out []string
	for _, line := range all {
		if !strings.Contains(line, ":info]") && !strings.Contains(line, ":notice]") && !strings.Contains(line, ":debug]") {
			out = append(out, line)
		}
	}
	if len(out) == 0 {
		out = all
	}
	return strings.Join(out[max(0, len(out)-most):], "\n")
}

// keepLog writes the log of a server that failed where the other logs are, and
// returns the line that tells of it.
func keepLog(dir, said string) string {
	if dir == "" || said == "" {
		return ""
	}
	name := filepath.Join(dir, "verify.log")
	if err := os.WriteFile(name, []byte(said), 0o600); err != nil {
		return ""
	}
	return "\nthe whole log: " + name
}

func indent(s string) string {
	return "  " + strings.ReplaceAll(strings.TrimRight(s, "\n"), "\n", "\n  ")
}

// verifyStep is verify as a named step.
func verifyStep(ctx context.Context, q *Request, name string, s Subject) (*Proof, error) {
	var proof *Proof
	err := q.Events.Step(name, func() error {
		q.Events.Send(event.Event{Kind: event.Progress, Step: name, Text: "httpd answers a request with this Python"})
		end := q.Timeline.Begin(timeline.Verify, name, name)
		var err error
		proof, err = verify(ctx, q, s)
		end(func(s *timeline.Span) { s.Failed = err != nil })
		return err
	})
	return proof, err
}
