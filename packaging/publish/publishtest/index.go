package publishtest

import (
	"crypto/md5" // #nosec G501 -- a field of the upload form
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"html"
	"io"
	"net/http"
	"net/http/httptest"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"

	"golang.org/x/crypto/blake2b"
)

// Upload is what the index got with one file.
type Upload struct {
	Fields map[string][]string
	Name   string
	Data   []byte
}

// Index is a package index with the upload API of PyPI and the simple API. It is stricter
// than PyPI: it refuses unknown fields, and forms without hashes.
type Index struct {
	URL            string // of the server, with a slash at the end
	User, Password string
	HTML           bool                                                     // the simple API has no JSON, and no hashes
	Before         func(w http.ResponseWriter, r *http.Request) (done bool) // may answer in place of the index
	Strict         bool                                                     // refuses wheels that PyPI refuses ([Refuses])
	Classifiers    []string                                                 // of a strict index; nil accepts any
	After          func(Upload) (status int)                                // replaces the answer to a stored upload; 0 does not
	mu             sync.Mutex
	files          map[string]Upload
	order          []string
	requests       []string
}

// NewIndex starts an index on the loopback interface: legacy/ takes uploads, simple/
// lists files. It ends with the test.
func NewIndex(t testing.TB) *Index {
	t.Helper()
	x := &Index{User: "__token__", Password: "pypi-s3cret", files: map[string]Upload{}}
	server := httptest.NewServer(x)
	t.Cleanup(server.Close)
	x.URL = server.URL + "/"
	return x
}

// Order are the names of the uploaded files, in the order in which they came.
func (x *Index) Order() []string {
	x.mu.Lock()
	defer x.mu.Unlock()
	return slices.Clone(x.order)
}

// Requests are the methods and paths of all requests.
func (x *Index) Requests() []string {
	x.mu.Lock()
	defer x.mu.Unlock()
	return slices.Clone(x.requests)
}

// Get returns what came with a file.
func (x *Index) Get(name string) (Upload, bool) {
	x.mu.Lock()
	defer x.mu.Unlock()
	u, ok := x.files[name]
	return u, ok
}

// Remove forgets all files.
func (x *Index) Remove() {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.files, x.order = map[string]Upload{}, nil
}

// Put stores a file without an upload.
func (x *Index) Put(project, name string, data []byte) {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.files[name] = Upload{Fields: map[string][]string{"name": {project}}, Name: name, Data: data}
}

func (x *Index) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	x.mu.Lock()
	x.requests = append(x.requests, r.Method+" "+r.URL.Path)
	x.mu.Unlock()
	if x.Before != nil && x.Before(w, r) {
		return
	}
	switch {
	case r.Method == http.MethodPost && r.URL.Path == "/legacy/":
		x.upload(w, r)
	case r.Method == http.MethodGet && strings.HasPrefix(r.URL.Path, "/simple/"):
		x.simple(w, r)
	case r.Method == http.MethodGet && strings.HasPrefix(r.URL.Path, "/files/"):
		u, ok := x.Get(strings.TrimPrefix(r.URL.Path, "/files/"))
		if !ok {
			http.NotFound(w, r)
			return
		}
		_, _ = w.Write(u.Data)
	default:
		http.Error(w, "no such page", http.StatusNotFound)
	}
}

// known are the fields of the form (https://docs.pypi.org/api/upload/), with whether
// there may be several.
var known = map[string]bool{
	":action": false, "protocol_version": false, "filetype": false, "pyversion": false, "metadata_version": false, "name": false, "version": false, "summary": false,
	"home_page": false, "download_url": false, "author": false, "author_email": false, "maintainer": false, "maintainer_email": false, "license": false,
	"license_expression": false, "license_file": true, "keywords": false, "platform": true, "supported_platform": true, "classifiers": true, "requires": true,
	"provides": true, "obsoletes": true, "requires_dist": true, "provides_dist": true, "obsoletes_dist": true, "requires_external": true, "requires_python": false,
	"project_urls": true, "provides_extra": true, "provides_extras": true, "description": false, "description_content_type": false, "dynamic": true,
	"sha256_digest": false, "blake2_256_digest": false, "md5_digest": false, "comment": false,
}

var separators = regexp.MustCompile(`[-_.]+`)

func normal(name string) string {
	return strings.ToLower(separators.ReplaceAllString(name, "-"))
}

// read reads the form, and says what is wrong with it.
func (x *Index) read(r *http.Request) (u Upload, wrong string) {
	form, err := r.MultipartReader()
	if err != nil {
		return u, "not a form"
	}
	u.Fields = map[string][]string{}
	for {
		part, err := form.NextPart()
		if err == io.EOF {
			break
		}
		if err != nil {
			return u, "the form is cut off"
		}
		data, err := io.ReadAll(part)
		if err != nil {
			return u, "the form is cut off"
		}
		name := part.FormName()
		several, ok := known[name]
		switch {
		case name == "content":
			if u.Name != "" || part.Header.Get("Content-Type") != "application/octet-stream" {
				return u, "several files, or an unexpected type"
			}
			u.Name, u.Data = part.FileName(), data
		case !ok:
			return u, "unknown field " + name
		case !several && len(u.Fields[name]) > 0:
			return u, "several fields " + name
		default:
			u.Fields[name] = append(u.Fields[name], string(data))
		}
	}
	return u, x.wrong(u)
}

func (x *Index) wrong(u Upload) string {
	get := func(name string) string {
		if all := u.Fields[name]; len(all) > 0 {
			return all[0]
		}
		return ""
	}
	sum, blake, md := sha256.Sum256(u.Data), blake2b.Sum256(u.Data), md5.Sum(u.Data) // #nosec G401 -- as above
	kinds := map[string]string{"bdist_wheel": ".whl", "sdist": ".tar.gz"}
	parts := strings.SplitN(strings.TrimSuffix(u.Name, ".tar.gz"), "-", 3)
	switch {
	case get(":action") != "file_upload" || get("protocol_version") != "1":
		return "not an upload"
	case u.Name == "" || len(u.Data) == 0 || strings.Contains(u.Name, "/"):
		return "no file"
	case get("metadata_version") == "" || get("version") == "" || get("name") == "":
		return "no metadata"
	case kinds[get("filetype")] == "" || !strings.HasSuffix(u.Name, kinds[get("filetype")]):
		return "wrong filetype"
	case get("filetype") == "sdist" && get("pyversion") != "source", get("filetype") == "bdist_wheel" && !strings.Contains(u.Name, "-"+get("pyversion")+"-"):
		return "wrong pyversion"
	case len(parts) < 2 || normal(parts[0]) != normal(get("name")) || parts[1] != get("version"):
		return "the file has another name or version"
	case get("sha256_digest") != hex.EncodeToString(sum[:]), get("blake2_256_digest") != hex.EncodeToString(blake[:]), get("md5_digest") != hex.EncodeToString(md[:]):
		return "wrong digest"
	}
	if x.Strict && get("filetype") == "bdist_wheel" {
		return strings.Join(Refuses(u.Name, u.Data, x.Classifiers), "; ")
	}
	return ""
}

func (x *Index) upload(w http.ResponseWriter, r *http.Request) {
	user, password, _ := r.BasicAuth()
	if user != x.User || password != x.Password {
		http.Error(w, "<html>wrong credentials: "+r.Header.Get("Authorization")+" "+html.EscapeString(password)+"</html>", http.StatusForbidden)
		return
	}
	if r.ContentLength <= 0 {
		http.Error(w, "no length", http.StatusLengthRequired)
		return
	}
	u, wrong := x.read(r)
	if wrong != "" {
		http.Error(w, wrong, http.StatusBadRequest)
		return
	}
	x.mu.Lock()
	_, exists := x.files[u.Name]
	if !exists {
		x.files[u.Name], x.order = u, append(x.order, u.Name)
	}
	x.mu.Unlock()
	if exists {
		http.Error(w, "File already exists", http.StatusBadRequest)
		return
	}
	if x.After != nil {
		if status := x.After(u); status != 0 {
			w.WriteHeader(status)
		}
	}
}

// simple lists the files of a project.
func (x *Index) simple(w http.ResponseWriter, r *http.Request) {
	project := strings.Trim(strings.TrimPrefix(r.URL.Path, "/simple/"), "/")
	if project == "" {
		return
	}
	type file struct {
		Filename string            `json:"filename"`
		URL      string            `json:"url"`
		Hashes   map[string]string `json:"hashes"`
	}
	var all []file
	x.mu.Lock()
	for name, u := range x.files {
		if normal(u.Fields["name"][0]) == project {
			all = append(all, file{name, "../../files/" + name, map[string]string{"sha256": fmt.Sprintf("%x", sha256.Sum256(u.Data))}})
		}
	}
	x.mu.Unlock()
	if len(all) == 0 {
		http.NotFound(w, r)
		return
	}
	if !x.HTML && strings.Contains(r.Header.Get("Accept"), "application/vnd.pypi.simple.v1+json") {
		w.Header().Set("Content-Type", "application/vnd.pypi.simple.v1+json")
		_ = json.NewEncoder(w).Encode(map[string]any{"meta": map[string]string{"api-version": "1.0"}, "name": project, "files": all})
		return
	}
	w.Header().Set("Content-Type", "text/html")
	for _, f := range all {
		fragment := "#sha256=" + f.Hashes["sha256"]
		if x.HTML {
			fragment = ""
		}
		_, _ = fmt.Fprintf(w, "<!DOCTYPE html><html><body><a href=\"%s%s\" data-x=\"a>b\">%s</a><br/></body></html>\n", f.URL, fragment, f.Filename)
	}
}
