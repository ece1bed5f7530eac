//go:build linux

package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// command is a program of a server.
type command struct{ argv, env []string }

// server is one way to run the application.
type server struct {
	name, about string
	needs       func(w *world) string // what is missing, "" if nothing
	tls, two    bool                  // whether it can do HTTPS and HTTP/2
	except      map[string]string     // rows that it cannot do, and why
	single      bool                  // one process at most
	commands    func(*cell) ([]command, error)
}

const (
	ours     = "ours"
	upstream = "upstream"
)

var servers = []server{
	{
		name: ours, about: "mod_wsgi-express of this project, daemon mode; static files by httpd", tls: true, two: true,
		needs:    func(w *world) string { return lacks("mod_wsgi-express in the environment", w.launcher()) },
		commands: func(c *cell) ([]command, error) { return c.express(c.launcher()), nil },
	},
	{
		name: "ours-embedded", about: "the same with --embedded-mode; static files by httpd", tls: true, two: true,
		needs:    func(w *world) string { return lacks("mod_wsgi-express in the environment", w.launcher()) },
		commands: func(c *cell) ([]command, error) { return c.express(c.launcher(), "--embedded-mode"), nil },
	},
	{
		name: upstream, about: "upstream's mod_wsgi-express, daemon mode, same httpd and module; static files by httpd", tls: true, two: true,
		needs: func(w *world) string {
			if w.theirs == "" {
				return "-upstream was not given"
			}
			return ""
		},
		commands: func(c *cell) ([]command, error) { return c.express(c.theirs), nil },
	},
	{
		name: "gunicorn", about: "gunicorn with gthread; static files by the application", tls: true,
		needs: func(w *world) string { return lacks("gunicorn", w.program("gunicorn")) },
		commands: func(c *cell) ([]command, error) {
			return []command{c.gunicorn(fmt.Sprintf("127.0.0.1:%d", c.port), c.row.tls)}, nil
		},
	},
	{
		name: "gunicorn-nginx", about: "gunicorn with gthread on a Unix socket behind nginx; static files by nginx", tls: true, two: true,
		needs: func(w *world) string {
			return lacks("gunicorn", w.program("gunicorn")) + lacks("nginx", w.program("nginx"))
		},
		commands: func(c *cell) ([]command, error) {
			front, err := c.nginx(`proxy_set_header Host $http_host;
			proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
			proxy_set_header X-Forwarded-Proto $scheme;
			proxy_redirect off;
			proxy_pass http://application;`)
			return []command{c.gunicorn("unix:"+c.socket(), false), front}, err
		},
	},
	{
		name: "uwsgi", about: "uWSGI with its own HTTP router (--http); static files by uWSGI", tls: true,
		except: map[string]string{"https-new": "closes the connection without announcing it, which wrk counts as an error"},
		needs:  func(w *world) string { return lacks("uWSGI", w.program("uwsgi-core", "uwsgi")) },
		commands: func(c *cell) ([]command, error) {
			address := fmt.Sprintf("127.0.0.1:%d", c.port)
			more := []string{"--http", address}
			if c.row.tls {
				more = []string{"--https", address + "," + c.path("cert.pem") + "," + c.path("key.pem")}
			}
			return []command{c.uwsgi(append(more, "--http-keepalive", "--static-map", "/static="+c.path("app/static"))...)}, nil
		},
	},
	{
		name: "uwsgi-nginx", about: "uWSGI on a Unix socket behind nginx (uwsgi_pass); static files by nginx", tls: true, two: true,
		needs: func(w *world) string {
			return lacks("uWSGI", w.program("uwsgi-core", "uwsgi")) + lacks("nginx", w.program("nginx"))
		},
		commands: func(c *cell) ([]command, error) {
			params := ""
			for _, p := range []string{
				"QUERY_STRING $query_string", "REQUEST_METHOD $request_method", "CONTENT_TYPE $content_type", "CONTENT_LENGTH $content_length",
				"REQUEST_URI $request_uri", "PATH_INFO $document_uri", "DOCUMENT_ROOT $document_root", "SERVER_PROTOCOL $server_protocol",
				"REQUEST_SCHEME $scheme", "HTTPS $https if_not_empty", "REMOTE_ADDR $remote_addr", "REMOTE_PORT $remote_port",
				"SERVER_PORT $server_port", "SERVER_NAME $server_name",
			} {
				params += "\t\t\tuwsgi_param " + p + ";\n"
			}
			front, err := c.nginx(strings.TrimSpace(params) + "\n\t\t\tuwsgi_pass application;")
			return []command{c.uwsgi("--socket", c.socket()), front}, err
		},
	},
	{
		name: "waitress", about: "waitress; static files by the application", single: true,
		needs: func(w *world) string { return lacks("waitress", w.program("waitress-serve")) },
		commands: func(c *cell) ([]command, error) {
			return []command{{[]string{
				c.python(), "-m", "waitress", fmt.Sprintf("--listen=127.0.0.1:%d", c.port), "--threads=" + strconv.Itoa(c.threads), "app:application",
			}, c.environ()}}, nil
		},
	},
}

func serverNames() string {
	var all []string
	for _, s := range servers {
		all = append(all, s.name)
	}
	return strings.Join(all, ", ")
}

func lacks(what, program string) string {
	if executable(program) {
		return ""
	}
	return "no " + what + " "
}

// missing is the reason why a server cannot be measured for a row.
func (w *world) missing(s server, r row) string {
	switch reason := s.needs(w); {
	case reason != "":
		return strings.TrimSpace(reason)
	case r.two && !s.two:
		return "no HTTP/2"
	case r.tls && !s.tls:
		return "no TLS"
	case s.except[r.name] != "":
		return s.except[r.name]
	case s.single && w.processes > 1:
		return "has one process at most"
	}
	return ""
}

// withoutRow is the reason why a row is left out.
func (w *world) withoutRow(r row) string {
	if r.two {
		if reason := lacks("h2load", w.program("h2load")); reason != "" {
			return strings.TrimSpace(reason)
		}
		if _, err := os.Stat(filepath.Join(w.site(w.env), "mod_wsgi_packages/httpd/modules/mod_http2.so")); err != nil {
			return "the httpd of the environment has no mod_http2 (modwsgi install --with http2)"
		}
	} else if reason := lacks("wrk", w.program("wrk")); reason != "" {
		return strings.TrimSpace(reason)
	}
	return ""
}

func (c *cell) socket() string { return filepath.Join(c.dir, "socket") }

// express is the command of either launcher.
func (c *cell) express(launcher string, more ...string) []command {
	argv := []string{launcher, "start-server", c.path("app/app.py"), "--server-root", filepath.Join(c.dir, "root"), "--host", "127.0.0.1", "--threads", strconv.Itoa(c.threads)}
	if c.processes > 1 {
		argv = append(argv, "--processes", strconv.Itoa(c.processes))
	}
	if c.row.tls {
		argv = append(argv, "--port", strconv.Itoa(c.http), "--https-port", strconv.Itoa(c.port), "--server-name", serverName,
			"--ssl-certificate-file", c.path("cert.pem"), "--ssl-certificate-key-file", c.path("key.pem"))
	} else {
		argv = append(argv, "--port", strconv.Itoa(c.port))
	}
	if c.row.two {
		argv = append(argv, "--http2")
	}
	if c.row.path == staticPath {
		argv = append(argv, "--url-alias", "/static", c.path("app/static"))
	}
	return []command{{append(argv, more...), c.plain()}}
}

func (c *cell) gunicorn(bind string, secure bool) command {
	argv := []string{
		c.python(), "-m", "gunicorn", "--bind", bind, "--worker-class", "gthread",
		"--workers", strconv.Itoa(c.processes), "--threads", strconv.Itoa(c.threads),
	}
	if secure {
		argv = append(argv, "--certfile", c.path("cert.pem"), "--keyfile", c.path("key.pem"))
	}
	return command{append(argv, "app:application"), c.environ()}
}

func (c *cell) uwsgi(more ...string) command {
	argv := []string{c.program("uwsgi-core", "uwsgi")}
	for _, dir := range []string{filepath.Join(c.fixture, "usr/lib/uwsgi/plugins"), "/usr/lib/uwsgi/plugins"} {
		found, _ := filepath.Glob(filepath.Join(dir, "python3*_plugin.so"))
		if len(found) > 0 {
			argv = append(argv, "--plugins-dir", dir, "--plugin", strings.TrimSuffix(filepath.Base(found[0]), "_plugin.so"))
			if exists(filepath.Join(dir, "http_plugin.so")) {
				argv = append(argv, "--plugin", "http")
			}
			break
		}
	}
	return command{append(append(argv, "--master", "--processes", strconv.Itoa(c.processes), "--threads", strconv.Itoa(c.threads), "--need-app", "--die-on-term",
		"--disable-logging", "--wsgi-file", "app.py"), more...), c.environ()}
}

func exists(name string) bool {
	_, err := os.Stat(name)
	return err == nil
}

// nginx is in front of an application on the socket. What Debian's nginx.conf sets is
// kept, except for the access log, which no other server writes.
func (c *cell) nginx(location string) (command, error) {
	listen, secure := fmt.Sprintf("127.0.0.1:%d", c.port), ""
	if c.row.tls {
		listen += " ssl"
		if c.row.two {
			listen += " http2"
		}
		secure = fmt.Sprintf("ssl_certificate %s;\n\t\tssl_certificate_key %s;", c.path("cert.pem"), c.path("key.pem"))
	}
	text := fmt.Sprintf(`daemon off;
worker_processes auto;
pid %[1]s/nginx.pid;
error_log %[1]s/nginx.log;
events { worker_connections 768; }
http {
	sendfile on;
	tcp_nopush on;
	types_hash_max_size 2048;
	default_type application/octet-stream;
	access_log off;
	client_body_temp_path %[1]s/body;
	proxy_temp_path %[1]s/proxy;
	fastcgi_temp_path %[1]s/fastcgi;
	uwsgi_temp_path %[1]s/uwsgi;
	scgi_temp_path %[1]s/scgi;
	upstream application { server unix:%[2]s fail_timeout=0; }
	server {
		listen %[3]s;
		server_name %[4]s;
		%[5]s
		location /static/ { alias %[6]s/; }
		location / {
			%[7]s
		}
	}
}
`, c.dir, c.socket(), listen, serverName, secure, c.path("app/static"), location)
	file := filepath.Join(c.dir, "nginx.conf")
	argv := []string{c.program("nginx"), "-p", c.dir, "-e", filepath.Join(c.dir, "nginx.log"), "-c", file}
	return command{argv, c.environ()}, os.WriteFile(file, []byte(text), 0o644)
}
