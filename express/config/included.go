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

// Files of --include-file also apply to all generated virtual hosts.
//
// The files are read at the end, after the virtual hosts. So their values override
// earlier ones, and a <VirtualHost> in them comes after the generated ones, which
// therefore keep answering unknown names. Once everything has been read, virtual hosts
// inherit most directives from the main server, with three exceptions:
//
//   - request limits, which a virtual host copies from the main server at the line
//     where it begins (ap_init_virtual_host in server/config.c). For a connection
//     without TLS, the limits of the first virtual host of the port apply, because the
//     name is not known yet.
//   - AllowEncodedSlashes, which virtual hosts do not inherit (server/core.c), and
//     per-server directives of modules that have no merge function
//   - mod_rewrite rules outside of sections
//
// Lines of the first two kinds are copied to a file in the server root, which each
// virtual host includes. The file is rewritten at each start and reload. Including the
// files themselves in each virtual host would duplicate additive directives (Header
// add) and fail for directives that are only allowed in the main server (LoadModule).
// Virtual hosts that serve requests inherit the rewrite rules. Virtual hosts that
// refuse requests do so before any rule applies.

// Included returns the files that an Include directive reads: a single file,
// everything in a directory, or the matches of a pattern. It includes the directories
// to which others could add a file.
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

// withAllBelow returns a path and, if it is a directory, everything below it.
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
		if !Exists(path) { // a pattern; the working directory is literal
			if !filepath.IsAbs(name) {
				path = filepath.Join(string(conf.GlobEach(host.Slashed(w.i.LaunchDir))), name)
			}
			file = word(path)
		}
		w.add(conf.D("Include", file).From(IncludeFile))
	}
}

// hostDirectives maps directives that virtual hosts do not inherit, in lower case, to
// their module, or "" for httpd itself. It includes Define and UnDefine, because the
// other directives may refer to variables.
var hostDirectives = map[string]string{
	"define": "", "undefine": "",
	"limitrequestline": "", "limitrequestfields": "", "limitrequestfieldsize": "", "allowencodedslashes": "",
	"deflatefilternote": "deflate", "deflatewindowsize": "deflate", "deflatebuffersize": "deflate", "deflatememlevel": "deflate", "deflatecompressionlevel": "deflate",
	"brotlifilternote": "brotli", "brotlicompressionquality": "brotli", "brotlicompressionwindow": "brotli", "brotlicompressionmaxinputblock": "brotli", "brotlialteretag": "brotli",
	"ssistarttag": "include", "ssiendtag": "include",
	"cookieexpires": "usertrack", "dumpioinput": "dumpio", "dumpiooutput": "dumpio",
	"cacheroot": "cache_disk", "cachedirlevels": "cache_disk", "cachedirlength": "cache_disk",
}

// conditions are the sections that httpd evaluates while it reads the configuration.
var conditions = []string{"ifdefine", "ifmodule", "ifversion", "iffile", "ifdirective", "ifsection"}

// HostLines returns the lines of configuration files that each virtual host must
// repeat, and the modules that provide their directives. httpd reports files that
// cannot be read.
func HostLines(root string, paths []string) (text string, modules []string) {
	r := &hostReader{root: root}
	for _, path := range paths {
		r.file(path, 0)
	}
	return r.text.String(), r.modules
}

// IncludedListens returns the addresses of the Listen directives in configuration files,
// also of those that are in a condition.
func IncludedListens(root string, paths []string) []string {
	r := &hostReader{root: root}
	for _, path := range paths {
		r.file(path, 0)
	}
	return r.listens
}

type hostReader struct {
	root    string
	text    strings.Builder
	modules []string
	listens []string
	inside  int // depth of enclosing sections that are not conditions
}

// file reads one file. As root, it skips included files that other users can change.
func (r *hostReader) file(path string, depth int) {
	info, err := os.Stat(path)
	if err != nil || !info.Mode().IsRegular() || depth > 10 || depth > 0 && host.AsRoot() && owned.Check(path) != nil {
		return
	}
	data, err := os.ReadFile(path)
	if err != nil {
		return
	}
	open := "" // a line that continues on the next one
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

// line adds a line if virtual hosts must repeat it. origin is a comment with its
// location.
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
	case word == "listen":
		if words := strings.Fields(line); len(words) > 1 {
			r.listens = append(r.listens, strings.Trim(words[1], `"'`))
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

// hostModules returns the modules whose directives each virtual host must repeat.
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

// hostKind is how a virtual host treats requests.
type hostKind int

const (
	serves        hostKind = iota
	servesLocally          // serves only requests that originate on this machine
	redirects
	refuses
)

// hostInclude returns a virtual host's directives for the included files. A virtual
// host that refuses requests does so before a rule or a Redirect in these files could
// answer, because those skip access checks. A virtual host that redirects ignores the
// rules.
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
		if kind == servesLocally { // requests that thisMachine admits skip the refusal
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

// HostsFile is the file in the server root with the lines that each virtual host must
// repeat.
const HostsFile = "hosts.conf"

// includedModules returns the modules that the user's files may rely on: those that
// upstream's launcher always loads, and those whose directives each virtual host must
// repeat.
func (i *Instance) includedModules() []module {
	list := needs(i.reads(), by(IncludeFile, RewriteRules, AllowOverride), "authz_host", "access_compat", "headers", "filter", "setenvif", "log_config")
	return append(list, needs(i.reads(), by(IncludeFile), i.hostModules()...)...)
}
