//go:build acceptance && unix

package express_test

import (
	"fmt"
	"slices"
	"strings"
)

// site is a combination of the options that create or change virtual hosts. The first
// ones are tried in every combination. Those at the end create no virtual host and
// change only the answers, so they vary along with the others.
type site struct {
	name           string // --server-name
	alias          bool   // --server-alias *.alias.example, which also matches the proxied host
	https, only    bool   // --https-port, --https-only
	client         string // "", or where a client certificate is required: all or part
	proxy, service bool   // --proxy-virtual-host, --service-log-file
	local          bool   // --allow-localhost

	hsts, mount, trust, status bool
	script                     bool // a WSGI application, which starts more slowly than files
}

const (
	proxied = "proxy.alias.example"
	foreign = "evil.example"
)

// everySite lists the combinations.
func everySite() (all []site) {
	flags := []bool{false, true}
	for _, name := range []string{"", "site.example", "www.site.example"} {
		for _, alias := range flags {
			for _, proxy := range flags {
				for _, service := range flags {
					for _, local := range flags {
						s := site{name: name, alias: alias, proxy: proxy, service: service, local: local}
						all = append(all, s)
						if name == "" {
							continue // HTTPS needs a name
						}
						for _, only := range flags {
							for _, client := range []string{"", "all", "part"} {
								s.https, s.only, s.client = true, only, client
								all = append(all, s)
							}
						}
					}
				}
			}
		}
	}
	for k := range all {
		bits := uint32(k+1) * 2654435761 >> 20
		all[k].hsts, all[k].mount, all[k].trust, all[k].status = all[k].https && bits&1 != 0, bits&2 != 0, bits&4 != 0, bits&8 != 0
		all[k].script = k%8 == 0
	}
	return all
}

// query is one request.
type query struct {
	https       bool
	sni, host   string
	path        string
	certificate bool
	from        string // "", or an address other than the loopback address
	forwarded   bool   // with the headers of a proxy
	absolute    string // host of an absolute request URI
	old         bool   // HTTP/1.0 without a Host header
}

// connection is the same for requests that can share a connection.
func (q query) connection() string {
	if strings.Contains(q.path, "private") {
		return fmt.Sprint(q) // the certificate would remain for later requests
	}
	return fmt.Sprint(q.https, q.sni, q.certificate, q.from)
}

// expected is the meaning of the options for a request: application, host and mount
// (passed on by the two proxy options), refused, status, or the target of a redirect.
func (s site) expected(q query, http, https int) string {
	q.path = strings.ReplaceAll(q.path, "//", "/")
	name := q.host
	if q.absolute != "" {
		name = q.absolute
	}
	name, _, _ = strings.Cut(strings.ToLower(name), ":")
	name = strings.TrimSuffix(name, ".")
	if q.old {
		name = ""
	}
	if q.https && s.client == "all" && !q.certificate {
		return "refused"
	}
	own := name == s.name || s.alias && strings.HasSuffix(name, ".alias.example")
	here := q.from == "" && !q.forwarded // this machine itself
	serves := ""
	switch {
	case s.name == "" && name == "_wsgi_service_job_" && s.service, s.name != "" && strings.HasPrefix(name, "_wsgi_"):
		return "refused"
	case name == proxied && s.proxy:
		serves = "host"
		if s.only && !q.https {
			return fmt.Sprintf("https://%s:%d%s", proxied, https, q.path)
		}
	case s.name == "":
		serves = "application"
	case own:
		serves = "application"
		if s.only && !q.https {
			return fmt.Sprintf("https://%s:%d%s", s.name, https, q.path)
		}
	case "www."+name == s.name:
		if s.only || q.https {
			return fmt.Sprintf("https://%s:%d%s", s.name, https, q.path)
		}
		return fmt.Sprintf("http://%s:%d%s", s.name, http, q.path)
	}
	if s.status && q.path == "/server-status" {
		if here && (name == "localhost" || name == "127.0.0.1") {
			return "status"
		}
		return "refused"
	}
	if serves == "" {
		if !s.local || !here {
			return "refused"
		}
		serves = "application"
		if s.only && !q.https {
			return fmt.Sprintf("https://%s:%d%s", s.name, https, q.path)
		}
	}
	if s.client == "part" && q.https && !q.certificate && strings.HasPrefix(q.path, "/private") {
		return "refused"
	}
	if s.mount && serves == "application" && strings.HasPrefix(q.path, "/far/") {
		return "mount"
	}
	return serves
}

// queries are the requests sent to a site.
func (s site) queries(outside string) (all []query) {
	known := []string{"site.example", "www.site.example", "x.alias.example", proxied}
	internal := []string{"_wsgi_", "_wsgi_service_job_", "_WSGI_Service_Job_.", "_wsgi_service_job_:80", "_wsgi_service_other_"}
	unknown := []string{foreign, "localhost", "127.0.0.1", "a.site.example", "alias.example"}
	odd := []string{"WWW.Site.EXAMPLE", "site.example.", "www.site.example:9", "proxy.ALIAS.example."}
	path := "/x" // a file; other paths are the application's
	if s.script {
		path = "/y"
	}
	for _, host := range append(append(append(known, internal...), unknown...), odd...) {
		all = append(all, query{host: host, path: path}, query{host: host, path: path, forwarded: true})
		if outside != "" {
			all = append(all, query{host: host, path: path, from: outside})
		}
		if s.mount {
			all = append(all, query{host: host, path: "/far/x"})
		}
		if s.status {
			all = append(all, query{host: host, path: "/server-status"}, query{host: host, path: "/server-status", forwarded: true})
		}
		if !s.https {
			continue
		}
		for _, certificate := range []bool{false, true} {
			// The same name for TLS and HTTP, a different one, and none.
			names := []string{s.name, foreign, ""}
			if slices.Contains([]string{proxied, "_wsgi_service_job_"}, host) {
				names = append(names, host)
			}
			for _, sni := range names {
				all = append(all, query{https: true, certificate: certificate, sni: sni, host: host, path: path})
			}
			all = append(all, query{https: true, certificate: certificate, sni: s.name, host: host, path: path, forwarded: true})
			if s.client == "part" && slices.Contains([]string{s.name, proxied, foreign, "localhost"}, host) {
				sni, private := foreign, "/private/x"
				if certificate != s.local { // one of the two ways of asking, in half of the combinations
					sni, private = host, "//private/x"
				}
				all = append(all, query{https: true, certificate: certificate, sni: sni, host: host, path: private})
			}
			if s.status {
				all = append(all, query{https: true, certificate: certificate, sni: s.name, host: host, path: "/server-status"})
			}
		}
	}
	all = append(all,
		query{host: s.name, absolute: "_wsgi_service_job_", path: path}, query{host: foreign, absolute: "_wsgi_", path: path},
		query{host: foreign, absolute: "www.site.example", path: path}, query{host: "site.example", absolute: foreign, path: path},
		query{old: true, path: path})
	return all
}
