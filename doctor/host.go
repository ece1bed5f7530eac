package doctor

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"os/user"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"

	"modwsgi/internal/cachedir"
	"modwsgi/internal/fault"
	"modwsgi/internal/run"
	"modwsgi/internal/scratch"
)

// The free space in bytes that a build may need, the minimum for anything to work there,
// and what temporary files need if builds work elsewhere.
const (
	wantFree  = 1 << 30
	needFree  = 64 << 20
	smallFree = 128 << 10
)

// tempDir is the directory of temporary files, by the caller's TMPDIR.
func (e *exam) tempDir() string {
	if dir := run.Getenv(e.Env, "TMPDIR"); dir != "" {
		return dir
	}
	return "/tmp"
}

// scratch creates a directory for the tests of a check, where a run would.
func (e *exam) scratch() (*scratch.Dir, error) { return scratch.Temp(e.Env, scratch.Doctor, false) }

// temporary checks the directory of temporary files, and the one that builds work in:
// both must be writable and not full, and programs must run where builds work.
func (e *exam) temporary(context.Context) {
	probe, err := e.scratch()
	if err == nil {
		err = errors.Join(probe.WriteFile("probe", make([]byte, 64<<10), 0o600), probe.Discard())
	}
	if err != nil {
		hint := fault.HintOr(err, "set TMPDIR to a writable directory with a gigabyte free")
		e.find(Problem, hint, "cannot use the temporary directory: %v", err).because("temporary", "TMPDIR", e.tempDir())
		return
	}
	dir := filepath.Dir(probe.Path())
	work := cachedir.Workplace(cachedir.Options{Dir: e.Dir, Env: e.Env})
	if work == "" { // builds work among the temporary files
		e.workplace("the temporary directory", "set TMPDIR to another directory", dir)
		return
	}
	if m, ok := mountOf(dir); ok && m.free < smallFree {
		e.find(Problem, "free some space there, or set TMPDIR to another directory", "the temporary directory is full").because("free", dir, size(m.free))
		return
	}
	e.workplace("the cache directory, where builds work,", "set MODWSGI_CACHE_DIR to a directory on another file system", work)
}

// workplace checks the file system that builds work on.
func (e *exam) workplace(what, fix, dir string) {
	m, ok := mountOf(dir)
	switch {
	case ok && m.noexec:
		e.find(Problem, fix+", or: mount -o remount,exec "+run.Quote(dir), "programs cannot run in %s: it is mounted noexec", strings.TrimSuffix(what, ",")).because("mount", dir, "noexec")
	case ok && m.free < needFree:
		e.find(Problem, "free some space there, or "+fix, "%s is full", what).because("free", dir, size(m.free))
	case ok && m.free < wantFree:
		e.find(Warning, "free some space there, or "+fix, "%s has little space; building httpd needs up to a gigabyte", what).because("free", dir, size(m.free))
	default:
		e.find(OK, "", "there is room for temporary files and builds").because("temporary", "TMPDIR", e.tempDir()).because("work", "cache directory", dir)
	}
}

// mountPoint describes a mounted file system.
type mountPoint struct {
	noexec bool
	free   uint64 // bytes available to this user
}

func size(n uint64) string { return fmt.Sprintf("%d MiB", n>>20) }

// mount checks the file system of the environment itself.
func (e *exam) mount(context.Context) {
	if e.py == nil {
		return
	}
	m, ok := mountOf(e.py.Platlib)
	if !ok {
		return
	}
	if m.noexec {
		e.find(Problem, "move the environment to another file system, or mount this one with exec", "the environment is on a file system that is mounted noexec: no module in it can be loaded").
			because("mount", e.py.Platlib, "noexec")
		return
	}
	e.find(OK, "", "programs and modules in the environment can run")
}

// user warns about serving as root, which httpd refuses.
func (e *exam) user(context.Context) {
	switch {
	case e.User != "":
		u, err := user.Lookup(e.User)
		switch {
		case err != nil:
			e.find(Problem, "useradd --system "+run.Quote(e.User)+", or name an existing account", "account %s does not exist", e.User)
		case u.Uid == "0":
			e.find(Problem, "name an account that is not root", "httpd does not serve as root")
		default:
			e.find(OK, "", "account %s exists", e.User).because("account", "user database", u.Uid+":"+u.Gid)
		}
	case os.Geteuid() == 0:
		e.find(Warning, "pass --user (and --group) of a dedicated account to mod_wsgi-express", "running as root, and no account to serve as is named")
	}
}

// reach checks each directory on the way to what the serving account needs.
func (e *exam) reach(context.Context) {
	if e.py == nil {
		return
	}
	if e.App != "" && !e.readableApp() || e.User == "" {
		return
	}
	who, err := accountOf(e.User)
	if err != nil {
		return // the check of the account reports it
	}
	places := map[string]string{"python": e.py.Executable, "standard library": filepath.Join(e.py.BasePrefix, "lib"), "packages": e.py.Platlib}
	names := []string{"python", "standard library", "packages"}
	if e.receipt != nil {
		places["module"], places["httpd"] = e.modulePath(), e.receipt.HTTPD.Executable
		names = append(names, "module", "httpd")
	}
	if e.py.LibShared {
		places["libpython"] = e.py.LibPython
		names = append(names, "libpython")
	}
	if e.App != "" {
		places["application"] = e.appPath()
		names = append(names, "application")
	}
	told := map[string]bool{}
	for _, name := range names {
		blocked, err := who.blocked(places[name])
		switch {
		case err != nil && errors.Is(err, fs.ErrNotExist): // a missing file has its own check
		case err != nil:
			told[name] = true
			e.find(Warning, "run modwsgi doctor as root", "cannot determine whether %s can reach the %s: %v", e.User, name, err).because("path", name, places[name])
		case blocked != "" && !told[blocked]:
			told[blocked] = true
			e.find(Problem, who.fix(blocked), "%s cannot reach the %s: %s is closed to it", e.User, name, blocked).
				because("path", name, places[name]).because("mode", blocked, modeOf(blocked))
		}
	}
	if len(told) == 0 {
		e.find(OK, "", "%s can reach Python, its packages and the server", e.User)
	}
}

func (e *exam) appPath() string {
	if filepath.IsAbs(e.App) {
		return e.App
	}
	return filepath.Join(e.Dir, e.App)
}

// readableApp checks that the application exists; who may read it is a separate check.
func (e *exam) readableApp() bool {
	info, err := os.Stat(e.appPath())
	switch {
	case errors.Is(err, fs.ErrNotExist):
		e.find(Problem, "check the path of the application", "the application %s does not exist", e.appPath())
		return false
	case errors.Is(err, fs.ErrPermission):
		return true // the check of each directory has the details
	case err != nil:
		e.find(Problem, "check the path of the application", "cannot inspect the application: %v", err)
		return false
	case !info.Mode().IsRegular():
		e.find(Problem, "name the application's file, such as hello.wsgi", "the application %s is not a file", e.appPath())
		return false
	}
	return true
}

func modeOf(path string) string {
	info, err := os.Stat(path)
	if err != nil {
		return err.Error()
	}
	return info.Mode().String()
}

// port tries to listen. If that fails, it looks up the process that listens.
func (e *exam) port(ctx context.Context) {
	if e.Port == 0 {
		return
	}
	address := net.JoinHostPort(e.Host, strconv.Itoa(e.Port))
	l, err := new(net.ListenConfig).Listen(ctx, "tcp", address)
	switch {
	case err == nil:
		_ = l.Close()
		e.find(OK, "", "port %d is free", e.Port)
	case errors.Is(err, syscall.EADDRINUSE):
		f := e.find(Problem, "pass another --port, or stop the process that uses this one", "port %d is in use", e.Port)
		f.busy = true
		for _, holder := range e.holders(e.Port) {
			f.Summary += " by " + holder.name + " (process " + strconv.Itoa(holder.pid) + ")"
			f.because("process", holder.socket, strconv.Itoa(holder.pid)+" "+holder.name)
		}
	case errors.Is(err, fs.ErrPermission):
		e.find(Problem, "pass a --port of 1024 or above, or start as root with --user", "only root can listen on port %d", e.Port).because("listen", address, err.Error())
	default:
		e.find(Problem, "pass an address of this machine", "cannot listen on %s: %v", address, err)
	}
}

type holder struct {
	pid          int
	name, socket string
}

// holders lists the processes that listen on a port (proc(5): net/tcp lists the
// sockets, and each process's fd directory shows which it holds).
func (e *exam) holders(port int) []holder {
	sockets := map[string]bool{}
	for _, name := range []string{"net/tcp", "net/tcp6"} {
		data, _ := os.ReadFile(filepath.Join(e.host.proc, name))
		for line := range strings.Lines(string(data)) {
			fields := strings.Fields(line)
			const listening = "0A"
			if len(fields) > 9 && fields[3] == listening && strings.HasSuffix(fields[1], fmt.Sprintf(":%04X", port)) {
				sockets["socket:["+fields[9]+"]"] = true
			}
		}
	}
	var out []holder
	entries, _ := os.ReadDir(e.host.proc)
	for _, entry := range entries {
		pid, err := strconv.Atoi(entry.Name())
		if err != nil || len(sockets) == 0 {
			continue
		}
		dir := filepath.Join(e.host.proc, entry.Name())
		fds, _ := os.ReadDir(filepath.Join(dir, "fd"))
		for _, fd := range fds {
			target, err := os.Readlink(filepath.Join(dir, "fd", fd.Name()))
			if err == nil && sockets[target] {
				name, _ := os.ReadFile(filepath.Join(dir, "comm"))
				out = append(out, holder{pid, strings.TrimSpace(string(name)), target})
				break
			}
		}
	}
	return out
}

// selinux warns if the kernel enforces labels that files in an environment lack
// (selinux(8)).
func (e *exam) selinux(context.Context) {
	data, err := os.ReadFile(e.host.selinux)
	if err != nil || strings.TrimSpace(string(data)) != "1" {
		return
	}
	fix := "if started as a service, httpd needs labels on the files of the environment (semanage fcontext, restorecon)"
	if e.py != nil {
		fix = "if started as a service, httpd needs labels: semanage fcontext -a -t httpd_modules_t " + run.Quote(regexp.QuoteMeta(e.py.Prefix)+`(/.*)?\.so`) +
			" && restorecon -R " + run.Quote(e.py.Prefix)
	}
	e.find(Warning, fix, "SELinux is enforcing: httpd can load only labelled modules as a service").because("enforce", e.host.selinux, "1")
}
