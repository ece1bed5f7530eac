//go:build acceptance && linux

package express_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"modwsgi/internal/freeport"
)

// socketApp reports its version, and what it got from the process that started the
// server: variables, and sockets that listen, in its own process and in a program that
// it starts.
const socketApp = `import json, os, socket, subprocess, sys, time
VERSION = open(os.path.join(os.path.dirname(__file__), "version")).read().strip()
LOOK = '''
import json, os, socket
found = []
for name in os.listdir("/proc/self/fd"):
    try:
        s = socket.socket(fileno=os.dup(int(name)))
        if s.family != socket.AF_UNIX and s.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN):
            found.append(s.getsockname())
    except OSError:
        pass
print(json.dumps(found))
'''


def application(environ, start_response):
    if environ["PATH_INFO"] == "/inside":
        out = subprocess.run(["/usr/bin/python3", "-c", LOOK], capture_output=True, check=True, close_fds=False).stdout
        body = json.dumps({"sockets": json.loads(out), "variables": [k for k in os.environ if k.startswith("LISTEN_") or k == "MOD_WSGI_HANDOVER"]}).encode()
    else:
        time.sleep(0.02)
        body = VERSION.encode()
    start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", str(len(body)))])
    return [body]
`

// socketsApp writes that application with its first version.
func socketsApp(t *testing.T) (app string, version func(string)) {
	t.Helper()
	app, version = versionedApp(t)
	return write(t, app, socketApp), version
}

// listenOn opens a socket as systemd does, and returns a descriptor of it. The socket
// listens until the test ends.
func listenOn(t *testing.T, network, address string) (*os.File, netip.AddrPort) {
	t.Helper()
	l, err := net.Listen(network, address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	f, err := l.(*net.TCPListener).File()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = f.Close() })
	at := l.Addr().(*net.TCPAddr).AddrPort()
	return f, netip.AddrPortFrom(at.Addr().Unmap(), at.Port())
}

// activate starts a launcher as systemd does: with sockets as descriptors from 3 on, and
// with variables that describe them.
func activate(t *testing.T, root string, sockets []*os.File, names string, args ...string) *server {
	t.Helper()
	s := &server{t: t, root: root, out: &bytes.Buffer{}, done: make(chan struct{})}
	all := append([]string{"-c", `LISTEN_PID=$$ exec "$0" "$@"`, launcher(t), "start-server"}, args...)
	s.cmd = exec.CommandContext(context.WithoutCancel(t.Context()), "sh", append(append(all, "--server-root", root), asUser()...)...)
	s.cmd.Env = []string{"PATH=/usr/bin:/bin", "HOME=/nonexistent", "TMPDIR=" + os.TempDir(), "LISTEN_FDS=" + strconv.Itoa(len(sockets)), "LISTEN_FDNAMES=" + names, "LISTEN_PIDFDID=1"}
	s.cmd.ExtraFiles, s.cmd.Stdout, s.cmd.Stderr = sockets, s.out, s.out
	s.launch()
	return s
}

// over reports whether the launcher has ended.
func (s *server) over() bool {
	select {
	case <-s.done:
		return true
	default:
		return false
	}
}

func (s *server) launch() {
	s.t.Helper()
	if err := s.cmd.Start(); err != nil {
		s.t.Fatal(err)
	}
	go func() { s.err = s.cmd.Wait(); close(s.done) }()
	s.t.Cleanup(s.stop)
}

// refuses waits for the end of a launcher that refuses to start.
func (s *server) refuses(want ...string) {
	s.t.Helper()
	select {
	case <-s.done:
	case <-time.After(20 * time.Second):
		s.t.Fatalf("it does not end: %s", s.out)
	}
	if code := s.cmd.ProcessState.ExitCode(); code != 1 {
		s.t.Errorf("exit code %d", code)
	}
	for _, w := range want {
		if !strings.Contains(s.out.String(), w) {
			s.t.Errorf("%q is missing in\n%s", w, s.out)
		}
	}
	if _, err := os.Stat(filepath.Join(s.root, "httpd.conf")); err == nil {
		s.t.Error("a server root was written")
	}
}

// inode returns the kernel's number of a socket.
func inode(t *testing.T, f *os.File) string {
	t.Helper()
	info, err := f.Stat()
	if err != nil {
		t.Fatal(err)
	}
	return fmt.Sprintf("socket:[%d]", info.Sys().(*syscall.Stat_t).Ino)
}

// descriptors counts the descriptors of a socket that a process has.
func descriptors(pid int, socket string) (n int) {
	names, _ := filepath.Glob(fmt.Sprintf("/proc/%d/fd/*", pid))
	for _, name := range names {
		if target, _ := os.Readlink(name); target == socket {
			n++
		}
	}
	return n
}

// listeners counts the sockets that listen on a port.
func listeners(port uint16) (n int) {
	for _, table := range []string{"/proc/net/tcp", "/proc/net/tcp6"} {
		data, _ := os.ReadFile(table)
		for line := range strings.Lines(string(data)) {
			if f := strings.Fields(line); len(f) > 9 && f[3] == "0A" && strings.HasSuffix(f[1], fmt.Sprintf(":%04X", port)) {
				n++
			}
		}
	}
	return n
}

// TestPassedSockets: httpd adopts the sockets that the launcher was started with, and no
// other process gets them. A reload and signals keep them, and after a stop they still
// listen.
func TestPassedSockets(t *testing.T) {
	testEnv(t)
	for _, c := range []struct {
		what     string
		sockets  [][2]string // network and address
		args     []string
		reached  []string // addresses
		url      string
		inherits string // in the banner
	}{
		{"every address", [][2]string{{"tcp", ":0"}}, nil, []string{"127.0.0.1", "::1"}, "http://localhost:PORT/", "[::]:PORT"},
		{"every address, given port", [][2]string{{"tcp", ":0"}}, []string{"--port", "PORT"}, []string{"127.0.0.1", "::1"}, "http://localhost:PORT/", "[::]:PORT"},
		{"every IPv4 address", [][2]string{{"tcp4", "0.0.0.0:0"}}, []string{"--port", "PORT"}, []string{"127.0.0.1"}, "http://0.0.0.0:PORT/", "0.0.0.0:PORT"},
		{"every IPv6 address", [][2]string{{"tcp6", "[::]:0"}}, nil, []string{"::1"}, "http://[::]:PORT/", "[::]:PORT"},
		{"one of each protocol", [][2]string{{"tcp4", "0.0.0.0:0"}, {"tcp6", "[::]:PORT"}}, []string{"--port", "PORT"}, []string{"127.0.0.1", "::1"}, "http://localhost:PORT/", "0.0.0.0:PORT"},
		{"one address", [][2]string{{"tcp", "127.0.0.1:0"}}, nil, []string{"127.0.0.1"}, "http://127.0.0.1:PORT/", "127.0.0.1:PORT"},
		{"one IPv6 address", [][2]string{{"tcp", "[::1]:0"}}, []string{"--host", "::1", "--port", "PORT"}, []string{"::1"}, "http://[::1]:PORT/", "[::1]:PORT"},
		{"a name", [][2]string{{"tcp", "127.0.0.1:0"}}, []string{"--host", "localhost", "--port", "PORT"}, []string{"127.0.0.1"}, "http://localhost:PORT/", "127.0.0.1:PORT"},
	} {
		t.Run(c.what, func(t *testing.T) {
			t.Parallel()
			var files []*os.File
			port := uint16(0)
			for _, s := range c.sockets {
				f, at := listenOn(t, s[0], strings.Replace(s[1], "PORT", fmt.Sprint(port), 1))
				files, port = append(files, f), at.Port()
			}
			number := fmt.Sprint(port)
			args := slices.Clone(c.args)
			for k := range args {
				args[k] = strings.Replace(args[k], "PORT", number, 1)
			}
			app, version := socketsApp(t)
			s := activate(t, filepath.Join(shortDir(t), "root"), files, "", append(args, app, "--processes", "2", "--wait-ready")...)
			all := func(want string) {
				t.Helper()
				if s.over() {
					t.Fatalf("the server ended: %s", s.out)
				}
				for _, a := range c.reached {
					dial := func() (net.Conn, error) { return net.Dial("tcp", net.JoinHostPort(a, number)) }
					if body, err := (&rawClient{dial: dial}).get("/"); body != want || err != nil {
						t.Errorf("%s: %q, %v, want %q\n%s\n%s", a, body, err, want, s.out, s.log())
					}
				}
			}
			adopted := func() {
				t.Helper()
				for k, f := range files {
					if n := descriptors(s.pid(), inode(t, f)); n != 1 {
						t.Errorf("httpd has %d descriptors of socket %d", n, k)
					}
					if n := descriptors(s.cmd.Process.Pid, inode(t, f)); n != 1 {
						t.Errorf("the launcher has %d descriptors of socket %d", n, k)
					}
				}
				if n := listeners(port); n != len(files) {
					t.Errorf("%d sockets listen on the port, want %d", n, len(files))
				}
			}
			eventually(t, "its PID file", func() bool { return s.pid() > 0 || s.over() })
			all("v0")
			adopted()
			for _, want := range []string{"Server URL         : " + c.url, "Inherited Socket   : " + c.inherits} {
				if want = strings.ReplaceAll(want, "PORT", number); !strings.Contains(s.out.String(), want+"\n") {
					t.Errorf("%q is missing in the banner:\n%s", want, s.out)
				}
			}
			var inside struct {
				Sockets   []any
				Variables []string
			}
			body, err := (&rawClient{dial: func() (net.Conn, error) { return net.Dial("tcp", net.JoinHostPort(c.reached[0], number)) }}).get("/inside")
			if err == nil {
				err = json.Unmarshal([]byte(body), &inside)
			}
			if err != nil || len(inside.Sockets)+len(inside.Variables) > 0 {
				t.Errorf("the application got %v, %v", inside, err)
			}
			if data, err := os.ReadFile(fmt.Sprintf("/proc/%d/environ", s.pid())); err != nil || bytes.Contains(data, []byte("LISTEN_")) {
				t.Errorf("httpd's environment: %q, %v", data, err)
			}
			for k, change := range []func(){
				func() { s.reload(0, "has reloaded") },
				func() { s.reload(0, "has reloaded") },
				func() { _ = s.cmd.Process.Signal(syscall.SIGHUP) },
			} {
				want, before := fmt.Sprintf("v%d", k+1), s.pid()
				version(want)
				change()
				eventually(t, "only the next httpd answers", func() bool {
					for range 20 {
						dial := func() (net.Conn, error) { return net.Dial("tcp", net.JoinHostPort(c.reached[0], number)) }
						if body, err := (&rawClient{dial: dial}).get("/"); err != nil || body != want || s.pid() == before {
							return false
						}
					}
					return true
				})
				all(want)
				adopted()
			}
			if strings.Contains(s.out.String()+s.log(), "AH00072") {
				t.Errorf("httpd tried to open a socket:\n%s%s", s.out, s.log())
			}
			s.stop()
			for k, f := range files { // nobody else has them; the port is still held
				if n := listeners(port); n != len(files) || descriptors(os.Getpid(), inode(t, f)) == 0 {
					t.Errorf("after the stop, %d sockets listen on the port of socket %d", n, k)
				}
			}
		})
	}
}

// TestNamedSocket: a socket named https is for --https-port.
//
// Once: httpd and the launcher do that, whichever mod_wsgi it is.
func TestNamedSocket(t *testing.T) {
	testEnv(t)
	plain, at := listenOn(t, "tcp", "127.0.0.1:0")
	secure, secureAt := listenOn(t, "tcp", "127.0.0.1:0")
	app, version := socketsApp(t)
	stem, _ := certificate(t, workDir(t, ""), "www.example.com")
	s := activate(t, filepath.Join(shortDir(t), "root"), []*os.File{plain, secure}, "shop.socket:https", app, "--ssl-certificate", stem, "--server-name", "www.example.com", "--wait-ready")
	eventually(t, "its end or its answer", func() bool {
		select {
		case <-s.done:
			return true
		default:
			return strings.Contains(s.out.String(), "Ready ")
		}
	})
	if strings.Contains(s.out.String(), "mod_ssl, which is neither") {
		t.Skip("this httpd has no mod_ssl")
	}
	if want := "https://www.example.com:" + fmt.Sprint(secureAt.Port()) + "/"; !strings.Contains(s.out.String(), want) {
		t.Errorf("%q is missing in\n%s", want, s.out)
	}
	for _, v := range []string{"v0", "v1"} {
		if v == "v1" {
			version(v)
			s.reload(0, "has reloaded")
		}
		for name, dial := range map[string]func() (net.Conn, error){
			"HTTP": func() (net.Conn, error) { return net.Dial("tcp", at.String()) },
			"HTTPS": func() (net.Conn, error) {
				return tls.Dial("tcp", secureAt.String(), &tls.Config{InsecureSkipVerify: true, ServerName: "www.example.com"})
			},
		} {
			body, err := (&rawClient{dial: func() (net.Conn, error) {
				c, err := dial()
				return hostHeader{c}, err
			}}).get("/")
			if body != v || err != nil {
				t.Errorf("%s: %q, %v, want %q\n%s", name, body, err, v, s.out)
			}
		}
	}
}

// TestIncludedListen: a socket for a Listen directive of an included file is adopted. A
// script that the launcher runs before gets neither the sockets nor their variables.
//
// Once: httpd and the launcher do that, whichever mod_wsgi it is.
func TestIncludedListen(t *testing.T) {
	testEnv(t)
	f, at := listenOn(t, "tcp", "127.0.0.1:0")
	more, moreAt := listenOn(t, "tcp", "127.0.0.1:0")
	app, _ := socketsApp(t)
	conf := write(t, filepath.Join(filepath.Dir(app), "more.conf"), "Listen "+moreAt.String()+"\n")
	seen := filepath.Join(workDir(t, ""), "seen")
	script := write(t, filepath.Join(filepath.Dir(app), "variables"), "{ ls -l /proc/$$/fd; env; } >'"+seen+"'\n")
	s := activate(t, filepath.Join(shortDir(t), "root"), []*os.File{f, more}, "", app, "--port", fmt.Sprint(at.Port()), "--include-file", conf, "--envvars-script", script)
	for _, a := range []netip.AddrPort{at, moreAt} {
		if body, err := (&rawClient{dial: func() (net.Conn, error) { return net.Dial("tcp", a.String()) }}).get("/"); body != "v0" || err != nil {
			t.Errorf("%s: %q, %v\n%s", a, body, err, s.out)
		}
		if n := listeners(a.Port()); n != 1 {
			t.Errorf("%d sockets listen on %s", n, a)
		}
	}
	data, err := os.ReadFile(seen)
	if err != nil {
		t.Fatal(err)
	}
	if out := string(data); !strings.Contains(out, "MOD_WSGI_SERVER_ROOT=") || strings.Contains(out, "LISTEN_") || strings.Contains(out, inode(t, f)) || strings.Contains(out, inode(t, more)) {
		t.Errorf("the script got:\n%s", out)
	}
}

// TestRefusedSockets: sockets that httpd cannot adopt are named, with the options that
// fit them.
//
// Once: httpd and the launcher do that, whichever mod_wsgi it is.
func TestRefusedSockets(t *testing.T) {
	testEnv(t)
	app, _ := socketsApp(t)
	local, at := listenOn(t, "tcp", "127.0.0.1:0")
	every, everyAt := listenOn(t, "tcp", ":0")
	four, fourAt := listenOn(t, "tcp4", "0.0.0.0:0")
	other := freeport.Get(t)
	raw := func(domain, kind int, at syscall.Sockaddr) *os.File {
		fd, err := syscall.Socket(domain, kind|syscall.SOCK_CLOEXEC, 0)
		if err != nil {
			t.Fatal(err)
		}
		f := os.NewFile(uintptr(fd), "socket")
		t.Cleanup(func() { _ = f.Close() })
		if err := syscall.Bind(fd, at); err != nil {
			t.Fatal(err)
		}
		return f
	}
	datagram := raw(syscall.AF_INET, syscall.SOCK_DGRAM, &syscall.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}})
	deaf := raw(syscall.AF_INET, syscall.SOCK_STREAM, &syscall.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}})
	path := filepath.Join(shortDir(t), "s")
	local1 := raw(syscall.AF_UNIX, syscall.SOCK_STREAM, &syscall.SockaddrUnix{Name: path})
	file, err := os.Open(app)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	stem, _ := certificate(t, workDir(t, ""), "www.example.com")
	port := fmt.Sprint(at.Port())
	for _, c := range []struct {
		what    string
		sockets []*os.File
		names   string
		args    []string
		want    []string
	}{
		{
			"another port",
			[]*os.File{local},
			"web.socket",
			[]string{"--host", "127.0.0.1", "--port", fmt.Sprint(other)},
			[]string{"error: httpd does not listen on the socket " + at.String() + " (web.socket)", fmt.Sprintf("it listens on 127.0.0.1:%d", other), "hint: start it with --port " + port + ", or for HTTPS --https-port " + port + ","},
		},
		{
			"another address",
			[]*os.File{local},
			"",
			[]string{"--host", "127.0.0.2", "--port", port},
			[]string{"on the socket " + at.String() + ",", "it listens on 127.0.0.2:" + port, "hint: start it with --host 127.0.0.1, or change ListenStream="},
		},
		{"both", []*os.File{local}, "", []string{"--host", "127.0.0.2", "--port", fmt.Sprint(other)}, []string{"hint: start it with --host 127.0.0.1 and --port " + port + ","}},
		{
			"every address instead of one",
			[]*os.File{every},
			"",
			[]string{"--host", "127.0.0.1", "--port", fmt.Sprint(everyAt.Port())},
			[]string{"on the socket [::]:" + fmt.Sprint(everyAt.Port()), "hint: start it without --host, or"},
		},
		{
			"HTTPS",
			[]*os.File{local},
			"https",
			[]string{"--host", "127.0.0.1", "--https-port", fmt.Sprint(other), "--port", fmt.Sprint(freeport.Get(t)), "--server-name", "www.example.com", "--ssl-certificate", stem},
			[]string{"on the socket " + at.String() + " (https)", "hint: start it with --https-port " + port + ", or change"},
		},
		{"two sockets without options", []*os.File{local, every}, "", nil, []string{"on the socket " + at.String(), "it listens on 8000", "with --host 127.0.0.1 and --port " + port}},
		{"only one protocol of every address", []*os.File{four, local}, "", []string{"--port", fmt.Sprint(fourAt.Port())}, []string{"on the socket 0.0.0.0:" + fmt.Sprint(fourAt.Port()), "with --host 0.0.0.0"}},
		{"a UNIX socket", []*os.File{local1}, "", nil, []string{`the socket (descriptor 3) that this program was started with is a UNIX socket at "` + path + `"`, "hint: list a TCP port"}},
		{"a datagram socket", []*os.File{local, datagram}, "a:b", nil, []string{"the socket (descriptor 4, b) that this program was started with is a datagram socket at 127.0.0.1:"}},
		{"a file", []*os.File{file}, "", nil, []string{"the file (descriptor 3) that this program was started with is not a socket"}},
		{"not listening", []*os.File{deaf}, "", nil, []string{"does not listen", "hint: remove Accept=yes"}},
		{"the same twice", []*os.File{local, local}, "", nil, []string{"two of the sockets that this program was started with have the address " + at.String()}},
		{"debug mode", []*os.File{local}, "", []string{"--debug-mode"}, []string{"sockets (" + at.String() + "), which this httpd cannot take: in debug mode it is a single process"}},
		{"a debug mode that another option implies", []*os.File{local}, "", []string{"--enable-profiler"}, []string{"in debug mode"}},
	} {
		t.Run(c.what, func(t *testing.T) {
			s := activate(t, filepath.Join(shortDir(t), "root"), c.sockets, c.names, append(c.args, app)...)
			s.refuses(c.want...)
		})
	}
	t.Run("variables", func(t *testing.T) {
		for value, want := range map[string]string{"many": `LISTEN_FDS is "many"`, "-1": `LISTEN_FDS is "-1"`, "9": "descriptor 3"} {
			s := &server{t: t, root: filepath.Join(shortDir(t), "root"), out: &bytes.Buffer{}, done: make(chan struct{})}
			s.cmd = exec.CommandContext(context.WithoutCancel(t.Context()), "sh", append([]string{"-c", `LISTEN_PID=$$ exec "$0" "$@"`, launcher(t), "start-server", app, "--server-root", s.root}, asUser()...)...)
			s.cmd.Env, s.cmd.Stdout, s.cmd.Stderr = []string{"PATH=/usr/bin:/bin", "LISTEN_FDS=" + value}, s.out, s.out
			s.launch()
			s.refuses(want)
		}
	})
}

// TestSocketsWithoutHandover: an environment without mod_handover refuses sockets, and
// reports why.
//
// Once: httpd and the launcher do that, whichever mod_wsgi it is.
func TestSocketsWithoutHandover(t *testing.T) {
	dir := filepath.Join(workDir(t, ""), "env")
	if out, err := exec.CommandContext(t.Context(), "cp", "-a", testEnv(t), dir).CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	found, _ := filepath.Glob(filepath.Join(dir, "lib/python3*/site-packages/mod_wsgi/server/mod_handover.so"))
	if len(found) != 1 {
		t.Fatalf("%q", found)
	}
	if err := os.Remove(found[0]); err != nil {
		t.Fatal(err)
	}
	f, at := listenOn(t, "tcp", "127.0.0.1:0")
	app, _ := socketsApp(t)
	t.Setenv("MODWSGI_TEST_ENV", dir)
	s := activate(t, filepath.Join(shortDir(t), "root"), []*os.File{f}, "", app)
	s.refuses("started with sockets ("+at.String()+"), which this httpd cannot take: "+dir+" has no mod_handover", "hint: build mod_wsgi again: modwsgi install --reinstall --python "+dir)
}

// TestSocketsOfAnotherProcess: sockets that were passed to a parent are not touched, and
// nobody gets the variables.
//
// Once: httpd and the launcher do that, whichever mod_wsgi it is.
func TestSocketsOfAnotherProcess(t *testing.T) {
	testEnv(t)
	app, _ := socketsApp(t)
	s := beginWith(t, []string{"LISTEN_FDS=1", "LISTEN_PID=" + strconv.Itoa(os.Getpid()), "LISTEN_FDNAMES=x"}, filepath.Dir(app), app).up()
	if strings.Contains(s.out.String(), "Inherited Socket") {
		t.Errorf("%s", s.out)
	}
	body, err := (&rawClient{dial: s.tcp}).get("/inside")
	if err != nil || !strings.Contains(body, `"variables": []`) {
		t.Errorf("%q, %v", body, err)
	}
}

// TestPrivilegedSocket: a user other than root serves on port 80 with a socket, and
// cannot without one.
//
// Once: httpd and the launcher do that, whichever mod_wsgi it is.
func TestPrivilegedSocket(t *testing.T) {
	testEnv(t)
	if os.Geteuid() != 0 {
		t.Skip("only root can open a socket for port 80")
	}
	if data, _ := os.ReadFile("/proc/sys/net/ipv4/ip_unprivileged_port_start"); strings.TrimSpace(string(data)) != "1024" {
		t.Skipf("everybody may listen on ports from %s on", data)
	}
	account, err := user.Lookup(runUser())
	if err != nil {
		t.Fatal(err)
	}
	uid, _ := strconv.Atoi(account.Uid)
	gid, _ := strconv.Atoi(account.Gid)
	f, at := listenOn(t, "tcp", "127.0.0.78:80") // an address that nobody uses
	app, version := socketsApp(t)
	serve := func(address string, files ...*os.File) *server {
		root := shortDir(t)
		if err := os.Chown(root, uid, gid); err != nil {
			t.Fatal(err)
		}
		s := &server{t: t, root: filepath.Join(root, "root"), out: &bytes.Buffer{}, done: make(chan struct{})}
		s.cmd = exec.CommandContext(context.WithoutCancel(t.Context()), "sh", "-c", `LISTEN_PID=$$ exec "$0" "$@"`, launcher(t), "start-server", app, "--host", address, "--port", "80", "--server-root", s.root)
		s.cmd.Env, s.cmd.Stdout, s.cmd.Stderr = []string{"PATH=/usr/bin:/bin", "HOME=/nonexistent", "LISTEN_FDS=" + strconv.Itoa(len(files))}, s.out, s.out
		s.cmd.ExtraFiles, s.cmd.SysProcAttr = files, &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}}
		s.launch()
		return s
	}
	serve("127.0.0.79").refuses("only root can listen on 127.0.0.79:80", "systemd-unit --socket-activation")
	s := serve("127.0.0.78", f)
	dial := func() (net.Conn, error) { return net.Dial("tcp", at.String()) }
	for _, v := range []string{"v0", "v1"} {
		if v == "v1" {
			version(v)
			out, err := s.reloadAs(uid, gid)
			if err != nil || !strings.Contains(out, "has reloaded") {
				t.Errorf("%v\n%s", err, out)
			}
		}
		if body, err := (&rawClient{dial: dial}).get("/"); body != v || err != nil {
			t.Errorf("%q, %v, want %q\n%s\n%s", body, err, v, s.out, s.log())
		}
		eventually(t, "its PID file", func() bool { return s.pid() > 0 })
	}
	info, err := os.Stat(fmt.Sprintf("/proc/%d", s.pid()))
	if err != nil || int(info.Sys().(*syscall.Stat_t).Uid) != uid {
		t.Errorf("httpd runs as %v, %v", info, err)
	}
}

func (s *server) reloadAs(uid, gid int) (string, error) {
	cmd := command(s.t, "reload", "--server-root", s.root)
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}}
	out, err := cmd.CombinedOutput()
	return string(out), err
}

// TestRestartLosesNoConnection: while a server with a passed socket is stopped and
// another one is started, connections wait.
func TestRestartLosesNoConnection(t *testing.T) {
	testEnv(t)
	for name, args := range map[string][]string{"event": nil, "worker": {"--server-mpm", "worker"}, "prefork": {"--server-mpm", "prefork"}} {
		t.Run(name, func(t *testing.T) {
			f, at := listenOn(t, "tcp", "127.0.0.1:0")
			app, version := socketsApp(t)
			root := filepath.Join(shortDir(t), "root")
			dial := func() (net.Conn, error) { return net.Dial("tcp", at.String()) }
			serve := func() *server { return activate(t, root, []*os.File{f}, "", append(args, app, "--processes", "2")...) }
			s := serve()
			if body, err := (&rawClient{dial: dial}).get("/"); body != "v0" || err != nil {
				if strings.Contains(s.out.String(), "which is neither") {
					t.Skipf("this httpd does not have it: %s", s.out)
				}
				t.Fatalf("%q, %v\n%s", body, err, s.out)
			}
			l := loadOf(8, func(int) bool { return false }, dial)
			for k := range 2 {
				time.Sleep(500 * time.Millisecond) // under load
				if err := s.cmd.Process.Signal(syscall.SIGTERM); err != nil {
					t.Fatal(err)
				}
				select {
				case <-s.done:
				case <-time.After(20 * time.Second):
					t.Fatalf("it does not end: %s", s.out)
				}
				before := l.sent.Load()
				time.Sleep(300 * time.Millisecond) // connections wait
				if n := l.sent.Load() - before; n > 8 {
					t.Errorf("%d requests were made by 8 clients while no server ran", n)
				}
				want := fmt.Sprintf("v%d", k+1)
				version(want)
				s = serve()
				if body, err := (&rawClient{dial: dial}).get("/"); body != want || err != nil {
					t.Errorf("%q, %v, want %q\n%s", body, err, want, s.out)
				}
			}
			time.Sleep(500 * time.Millisecond) // under load
			l.check(t, name)
		})
	}
}

// TestSocketUnit: the units that systemd-unit prints belong together, and systemd accepts
// them.
func TestSocketUnit(t *testing.T) {
	testEnv(t)
	dir := workDir(t, "")
	app := write(t, filepath.Join(dir, "app.py"), echoApp)
	stem, _ := certificate(t, dir, "www.example.com")
	show := func(args ...string) string {
		t.Helper()
		cmd := command(t, append([]string{"systemd-unit", app, "--user", runUser()}, args...)...)
		var errs strings.Builder
		cmd.Stderr = &errs
		out, err := cmd.Output()
		if err != nil {
			if strings.Contains(errs.String(), "mod_ssl, which is neither") {
				t.Skip("this httpd has no mod_ssl")
			}
			t.Fatalf("%v\n%s", err, &errs)
		}
		return string(out)
	}
	tlsArgs := []string{"--port", "80", "--https-port", "443", "--server-name", "www.example.com", "--ssl-certificate", stem, "--server-backlog", "77"}
	service, socket := show(append(tlsArgs, "--socket-activation")...), show(append(tlsArgs, "--socket-unit")...)
	check := func(text string, has []string, lacks ...string) {
		t.Helper()
		for _, want := range has {
			if !strings.Contains(text, want) {
				t.Errorf("%q is missing in\n%s", want, text)
			}
		}
		for _, bad := range lacks {
			if strings.Contains(text, bad) {
				t.Errorf("%q is in\n%s", bad, text)
			}
		}
	}
	check(service, []string{"\nRequires=%N.socket\n", "\nAfter=%N.socket\n", "\nAlso=%N.socket\n", "\nUser=" + runUser() + "\n", "\nCapabilityBoundingSet=\n", `"--port=80"`, `"--https-port=443"`}, "CAP_NET_BIND_SERVICE", "socket-activation")
	check(socket, []string{"\nListenStream=80\nListenStream=443\nBindIPv6Only=both\nBacklog=77\n", "\nWantedBy=sockets.target\n"}, "[Service]", "FreeBind", "ExecStart")
	check(show("--port", "80"), []string{"AmbientCapabilities=CAP_NET_BIND_SERVICE"}, ".socket")
	check(show("--host", "::1", "--socket-unit"), []string{"\nListenStream=[::1]:8000\n", "\nFreeBind=yes\n"})
	check(show("--host", "127.0.0.1", "--socket-unit"), []string{"\nListenStream=127.0.0.1:8000\n"})
	for want, args := range map[string][]string{
		"systemd listens on addresses only, and --host is the name localhost": {"--host", "localhost", "--socket-unit"},
		"--socket-unit and --socket-activation cannot be combined":            {"--socket-unit", "--socket-activation"},
	} {
		out, err := command(t, append([]string{"systemd-unit", app, "--user", runUser()}, args...)...).CombinedOutput()
		if err == nil || !strings.Contains(string(out), want) {
			t.Errorf("%v: %s", err, out)
		}
	}
	if _, err := exec.LookPath("systemd-analyze"); err != nil {
		t.Skip("systemd-analyze not found")
	}
	units := t.TempDir()
	one := write(t, filepath.Join(units, "shop.service"), service)
	two := write(t, filepath.Join(units, "shop.socket"), socket)
	if text, err := exec.CommandContext(t.Context(), "systemd-analyze", "verify", "--man=no", one, two).CombinedOutput(); err != nil || strings.Contains(string(text), "shop.") {
		t.Errorf("systemd-analyze verify: %v\n%s", err, text)
	}
}
