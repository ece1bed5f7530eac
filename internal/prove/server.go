package prove

import (
	"context"
	"crypto/rand"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"modwsgi/internal/fault"
	"modwsgi/internal/owned"
	"modwsgi/internal/run"
	"modwsgi/internal/scratch"
)

// application is the program that runs inside httpd. The nonce shows that the answer is
// from this server and not from another one that got the port.
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

// throwaway is a server that runs for one request.
//
// Its directory and everything that decides how it runs belong to this user. The
// configuration, the application and the pipe for the error log can be read or written,
// but not replaced, by the account that the server runs as, and not even read by anyone
// else. What httpd has to create itself, its pid file and the socket of the daemon
// processes, is in the directory "run", in which modwsgi opens nothing. The account has
// access to all of that through its group, which nobody else is in, so that it owns
// nothing that lasts.
//
// The socket is why nothing else on the host may run as the account (see privateAccount):
// mod_wsgi's protocol names the script to run, so anyone who can connect to it can run
// any file with the rights of the daemon process.
type throwaway struct {
	dir     *owned.Dir
	account *run.Account // nil to run as the current user
	log     *errorLog
	address string // host and port
	secret  string // the path at which the application answers: others on this host cannot guess it
	nonce   string // expected in the answer
	remove  func()
}

func (t *throwaway) path(name string) string { return filepath.Join(t.dir.Path(), name) }

// newThrowaway creates the directory and the pipe.
func newThrowaway(env []string) (_ *throwaway, err error) {
	t := &throwaway{secret: rand.Text(), nonce: rand.Text()}
	if t.account, err = servingAccount(); err != nil {
		return nil, err
	}
	if t.dir, t.remove, err = serverDir(env); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			t.remove()
		}
	}()
	if err := t.makeRun(); err != nil {
		return nil, t.cannot(err)
	}
	if t.log, err = openErrorLog(t); err != nil {
		return nil, t.cannot(err)
	}
	remove := t.remove
	t.remove = func() { t.log.close(); remove() }
	if err := t.give(".", 0o700, 0o710); err != nil {
		return nil, t.cannot(err)
	}
	return t, nil
}

// makeRun creates the directory in which the server creates files.
func (t *throwaway) makeRun() error {
	if err := t.dir.Root().Mkdir("run", 0o700); err != nil {
		return err
	}
	return t.give("run", 0o700, 0o770)
}

func (t *throwaway) cannot(err error) error {
	return fault.New(fault.Environment, "check the owner, the mode and the free space of that directory, or set TMPDIR to another one", "prepare the throwaway server in %s: %w", t.dir.Path(), err)
}

// give sets the mode of a file in the directory: own if the server runs as the current
// user, otherwise shared, with the account's group.
func (t *throwaway) give(name string, own, shared fs.FileMode) error {
	if t.account == nil {
		return t.dir.Root().Chmod(name, own)
	}
	if err := t.dir.Root().Lchown(name, os.Geteuid(), int(t.account.GID)); err != nil {
		return err
	}
	return t.dir.Root().Chmod(name, shared)
}

// put creates a file that the server can read.
func (t *throwaway) put(name, text string) error {
	f, err := t.dir.Root().OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	_, err = f.WriteString(text)
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	if err != nil {
		return err
	}
	return t.give(name, 0o600, 0o640)
}

// serverDir creates a temporary directory for a server. Its path must leave room for the
// path of a socket, and the account that root serves as must have access to it. A killed
// run leaves it to be removed by the next one.
func serverDir(env []string) (*owned.Dir, func(), error) {
	d, err := scratch.Temp(env, scratch.Verify, true)
	if err != nil {
		return nil, nil, err
	}
	return d.Dir, func() { _ = d.Discard() }, nil
}

// environment returns the server's environment. It has no home in which Python could find
// more packages.
func (t *throwaway) environment() []string {
	return []string{"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "LANG=C.UTF-8", "LC_ALL=C.UTF-8", "HOME=" + t.dir.Path()}
}

// configure writes the configuration and the application.
func (t *throwaway) configure(ctx context.Context, s Subject) (err error) {
	if t.address, err = freeAddress(ctx); err != nil {
		return err
	}
	conf, err := t.configuration(s)
	if err != nil {
		return err
	}
	if err := t.put("httpd.conf", conf); err != nil {
		return t.cannot(err)
	}
	if err := t.put("verify.wsgi", strings.ReplaceAll(application, "@NONCE@", t.nonce)); err != nil {
		return t.cannot(err)
	}
	return nil
}

func (t *throwaway) configuration(s Subject) (string, error) {
	dir := t.dir.Path()
	var b strings.Builder
	word := func(v string) string { return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(v) + `"` }
	for _, v := range []string{s.Module, s.Prefix, s.ModulesDir, s.LibPython, dir} {
		if strings.ContainsAny(v, "\n\x00") || strings.Contains(v, "${") {
			return "", fault.New(fault.Environment, "move the environment to another path", "the configuration of httpd cannot contain the path %q", v)
		}
	}
	fmt.Fprintf(&b, "ServerRoot %s\nServerName localhost\nListen %s\nPidFile %s\nDefaultRuntimeDir %s\nErrorLog %s\nLogLevel info\nTimeout %d\nTraceEnable Off\n",
		word(dir), t.address, word(dir+"/run/httpd.pid"), word(dir+"/run"), word(dir+"/error_log"), 20*s.patience())
	for _, m := range serverModules(s.ModulesDir) {
		if m.there {
			fmt.Fprintf(&b, "LoadModule %s_module %s\n", m.name, word(m.file))
		}
	}
	if s.LibPython != "" {
		fmt.Fprintf(&b, "LoadFile %s\n", word(s.LibPython))
	}
	fmt.Fprintf(&b, "LoadModule wsgi_module %s\nWSGIPythonHome %s\nWSGISocketPrefix %s\nWSGIRestrictEmbedded On\n", word(s.Module), word(s.Prefix), word(dir+"/run/wsgi"))
	// httpd ignores the environment's locale, and without one Python cannot read a prefix
	// that is not ASCII.
	fmt.Fprintf(&b, "WSGIDaemonProcess verify threads=2 display-name=modwsgi-verify lang=C.UTF-8 locale=C.UTF-8 home=%s startup-timeout=%d connect-timeout=%d socket-timeout=%d\n", word(dir), 15*s.patience(), 15*s.patience(), 20*s.patience())
	// Nothing else is served: httpd may be able to read files that are closed to everybody
	// who can send a request.
	fmt.Fprintf(&b, "<Directory \"/\">\n  Options None\n  AllowOverride None\n  Require all denied\n</Directory>\n")
	fmt.Fprintf(&b, "WSGIScriptAlias /%s %s process-group=verify application-group=%%{GLOBAL}\n<Location \"/%s\">\n  Require all granted\n</Location>\n",
		t.secret, word(dir+"/verify.wsgi"), t.secret)
	return b.String(), nil
}

// serverModule is a module of httpd that the throwaway server needs.
type serverModule struct {
	name, file string
	there      bool // otherwise it is built in
}

// serverModules returns the modules to load: of each kind the first that exists,
// otherwise all that were looked for.
func serverModules(dir string) []serverModule {
	var out []serverModule
	for _, names := range [][]string{{"mpm_event", "mpm_worker", "mpm_prefork"}, {"unixd"}, {"authz_core"}, {"alias"}} {
		for _, name := range names {
			m := serverModule{name: name, file: filepath.Join(dir, "mod_"+name+".so")}
			m.there = fileExists(m.file)
			out = append(out, m)
			if m.there {
				break
			}
		}
	}
	return out
}

func fileExists(name string) bool {
	_, err := os.Stat(name)
	return err == nil
}

// freeAddress asks the system for an unused port of the loopback interface, and returns
// it with the address: of IPv4, or on a machine without that, of IPv6.
func freeAddress(ctx context.Context) (string, error) {
	var first error
	for _, host := range []string{"127.0.0.1", "::1"} {
		l, err := (&net.ListenConfig{}).Listen(ctx, "tcp", net.JoinHostPort(host, "0"))
		if err == nil {
			address := l.Addr().String()
			return address, l.Close()
		}
		if first == nil {
			first = err
		}
	}
	return "", fault.New(fault.Environment, "bring up the loopback interface (ip link set lo up)", "find a free port: %w", first)
}

// stop ends the server with its daemon processes. A failed one gets little time, because
// its workers wait for a daemon process that does not come.
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
	server.KillGroup()
}
