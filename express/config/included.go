package config

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"modwsgi/express/conf"
	"modwsgi/express/host"
	"modwsgi/internal/owned"
)

// What --include-file says counts in every virtual host that we write, too.
//
// The files are read at the end, after the virtual hosts: so each value in them is
// the last one, and a <VirtualHost> of theirs comes after ours, which therefore keep
// answering unknown names. httpd hands most of the main server down to its virtual
// hosts when all has been read. It does not do so for three kinds of directives:
//
//   - the limits of requests, which a virtual host copies from the main server at
//     the line where it begins (ap_init_virtual_host in server/config.c); of a
//     connection without TLS those of the first virtual host of the port count, for
//     no other is known yet
//   - AllowEncodedSlashes, which a virtual host does not inherit (server/core.c), and
//     what modules keep for each server without a function that merges
//   - the rules of mod_rewrite outside of sections
//
// Of the first two kinds the lines are copied into a file of the server root, which
// each virtual host includes; at each start and reload it is written anew. Including
// the files themselves in each virtual host would add twice what is added (Header
// add), and fail where one has a line for the whole server only (LoadModule). The
// rules are inherited by the virtual hosts that serve; those that refuse go on to
// refuse before any rule.

// Included returns the files that an Include reads: the file itself, everything in a
// directory, or what a pattern matches. A directory in which others could add a
// file is among them.
func Included(path string) []string {
	if Exists(path) {
		return withAllBelow(path)
	}
	parts := strings.Split(filepath.ToSlash(path), "/")
	first := slices.IndexFunc(parts, func(s string) bool { return strings.ContainsAny(s, "*?[") })
	if first < 0 {
		return []string{path}
	}
	top := strings.Join(parts[:first], "/") + "/"
	paths := []string{filepath.Clean(top)}
	for k := first; k < len(parts); k++ {
		matches, _ := fs.Glob(os.DirFS(top), strings.Join(parts[first:k+1], "/"))
		for _, m := range matches {
			if full := filepath.Join(top, m); k == len(parts)-1 {
				paths = append(paths, withAllBelow(full)...)
			} else {
				paths = append(paths, full)
			}
		}
	}
	return paths
}

// withAllBelow is a path, and everything below it where it is a directory.
func withAllBelow(path string) []string {
	var paths []string
	_ = filepath.WalkDir(path, func(p string, _ fs.DirEntry, _ error) error {
		paths = append(paths, p)
		return nil
	})
	return paths
}

func (w *writer) includes() {
	for _, name := range IncludeFile.In(w.i) {
		path := w.i.fromLaunch(name)
		file := conf.GlobEach(host.Slashed(path))
		if !Exists(path) { // a pattern of several; the working directory is none
			if !filepath.IsAbs(name) {
				path = filepath.Join(string(conf.GlobEach(host.Slashed(w.i.LaunchDir))), name)
			}
			file = word(path)
		}
		w.add(conf.D("Include", file).From(IncludeFile))
	}
}

// hostDirectives are those that httpd does not hand down to virtual hosts, in lower
// case, and the module that has them; "" for httpd itself. Two that define what
// others refer to are among them.
var hostDirectives = map[string]string{
	"define": "", "undefine": "",
	"limitrequestline": "", "limitrequestfields": "", "limitrequestfieldsize": "", "allowencodedslashes": "",
	"deflatefilternote": "deflate", "deflatewindowsize": "deflate", "deflatebuffersize": "deflate", "deflatememlevel": "deflate", "deflatecompressionlevel": "deflate",
	"brotlifilternote": "brotli", "brotlicompressionquality": "brotli", "brotlicompressionwindow": "brotli", "brotlicompressionmaxinputblock": "brotli", "brotlialteretag": "brotli",
	"ssistarttag": "include", "ssiendtag": "include",
	"cookieexpires": "usertrack", "dumpioinput": "dumpio", "dumpiooutput": "dumpio",
	"cacheroot": "cache_disk", "cachedirlevels": "cache_disk", "cachedirlength": "cache_disk",
}

// conditions are the sections that httpd decides while it reads.
var conditions = []string{"ifdefine", "ifmodule", "ifversion", "iffile", "ifdirective", "ifsection"}

// HostLines returns the lines of configuration files that each virtual host needs
// for itself, and the modules that have them. What cannot be read is left to httpd,
// which reports it.
func HostLines(root string, paths []string) (text string, modules []string) {
	r := &hostReader{root: root}
	for _, path := range paths {
		r.file(path, 0)
	}
	return r.text.String(), r.modules
}

type hostReader struct {
	root    string
	text    strings.Builder
	modules []string
	inside  int // how deep in sections that are no conditions
}

// file reads one file. Of the files that one includes, root reads only those that
// nobody else can change.
func (r *hostReader) file(path string, depth int) {
	info, err := os.Stat(path)
	if err != nil || !info.Mode().IsRegular() || depth > 10 || depth > 0 && host.AsRoot() && owned.Check(path) != nil {
		return
	}
	data, err := os.ReadFile(path)
	if err != nil {
		return
	}
	open := "" // a line that goes on in the next one
	for n, line := range strings.Split(strings.ReplaceAll(string(data), "\r\n", "\n"), "\n") {
		if part, more := strings.CutSuffix(line, `\`); more {
			open += part
			continue
		}
		line, open = strings.TrimSpace(open+line), ""
		word := line
		if end := strings.IndexAny(line, " \t>"); end >= 0 {
			word = line[:end]
		}
		r.line(line, strings.ToLower(word), fmt.Sprintf("# %s, line %d\n", strings.ReplaceAll(path, "\n", " "), n+1), depth)
	}
}

// line takes what belongs into virtual hosts; origin is a comment about where it is.
func (r *hostReader) line(line, word, origin string, depth int) {
	section, closing := strings.CutPrefix(word, "</")
	if !closing {
		section, _ = strings.CutPrefix(word, "<")
	}
	module, known := hostDirectives[word]
	switch {
	case section != word && slices.Contains(conditions, section):
		if r.inside == 0 {
			r.text.WriteString(line + "\n")
		}
	case closing:
		r.inside = max(r.inside-1, 0)
	case section != word:
		r.inside++
	case r.inside > 0:
	case word == "include" || word == "includeoptional":
		for _, path := range Included(r.absolute(strings.Trim(strings.TrimSpace(line[len(word):]), `"'`))) {
			r.file(path, depth+1)
		}
	case known && module == "":
		r.text.WriteString(origin + line + "\n")
	case known:
		if !slices.Contains(r.modules, module) {
			r.modules = append(r.modules, module)
		}
		r.text.WriteString(origin + "<IfModule mod_" + module + ".c>\n" + line + "\n</IfModule>\n")
	}
}

func (r *hostReader) absolute(path string) string {
	if filepath.IsAbs(path) {
		return path
	}
	return filepath.Join(r.root, path)
}

// hostModules are the modules whose directives each virtual host needs for itself.
func (i *Instance) hostModules() (modules []string) {
	if !i.hasHosts() {
		return nil
	}
	for _, name := range IncludeFile.In(i) {
		_, more := HostLines(i.Root, Included(i.fromLaunch(name)))
		modules = append(modules, more...)
	}
	return modules
}

// hostKind is what a virtual host does with requests.
type hostKind int

const (
	serves        hostKind = iota
	servesLocally          // requests that this machine makes itself, and no others
	redirects
	refuses
)

// hostInclude is what a virtual host says about the included files. One that refuses
// does so before a rule or a Redirect of theirs, which do not ask for access, could
// answer; one that redirects knows no rules.
func (w *writer) hostInclude(kind hostKind) []conf.Node {
	i := w.i
	if len(IncludeFile.In(i)) == 0 {
		return nil
	}
	include := conf.D("IncludeOptional", conf.GlobEach(host.Slashed(filepath.Join(i.Root, HostsFile)))).From(IncludeFile)
	rule := func(name string, args ...conf.Arg) conf.Node { return conf.D(name, args...).From(IncludeFile) }
	nodes := []conf.Node{include}
	if kind == refuses || kind == servesLocally {
		nodes = append(nodes, rule("RewriteEngine", conf.Key("On")))
		if kind == servesLocally { // what Require local and thisMachine let in skips the refusal
			nodes = append(nodes,
				rule("RewriteCond", conf.Key("expr"), conf.Pattern("-R '127.0.0.0/8' || -R '::1/128'"), conf.Key("[OR]")),
				rule("RewriteCond", conf.Key("%{REMOTE_ADDR}#%{SERVER_ADDR}"), conf.Pattern(`^([^#]*)#\1$`)),
				rule("RewriteCond", conf.Key("expr"), conf.Pattern(notForwarded())),
				rule("RewriteRule", conf.Key("^"), conf.Key("-"), conf.Key("[S=1]")))
		}
		if ServerStatus.In(i) {
			nodes = append(nodes, rule("RewriteCond", conf.Key("%{REQUEST_URI}"), conf.Key("!^/server-status(?:/|$)")))
		}
		nodes = append(nodes, rule("RewriteRule", conf.Key("^"), conf.Key("-"), conf.Key("[F]")))
	}
	if kind == serves || kind == servesLocally {
		nodes = append(nodes, rule("RewriteOptions", conf.Key("Inherit")))
	}
	return nodes
}

// HostsFile has the lines that each virtual host needs for itself.
const HostsFile = "hosts.conf"

// includedModules are the modules that files of the user's may rely on: those that
// upstream's launcher always loads, and those of directives that each virtual host
// needs for itself.
func (i *Instance) includedModules() []module {
	list := needs(i.reads(), by(IncludeFile, RewriteRules, AllowOverride), "authz_host", "access_compat", "headers", "filter", "setenvif", "log_config")
	return append(list, needs(i.reads(), by(IncludeFile), i.hostModules()...)...)
}
