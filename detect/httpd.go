package detect

// Provenance is how an httpd was found.
type Provenance string

// The ways to find an httpd, highest priority first: an explicit one, then the
// environment's, then the system's.
const (
	Explicit Provenance = "explicit" // --httpd PATH, APXS, HTTPD or MOD_WSGI_APACHE_ROOTDIR
	Bundled  Provenance = "bundled"  // built into the Python prefix, by modwsgi or by PyPI's mod_wsgi-httpd
	System   Provenance = "system"   // the host's
)

// HTTPD is a candidate: an Apache httpd for which a module could be built. Paths are
// absolute.
type HTTPD struct {
	Provenance  Provenance `json:"provenance"`
	Root        string     `json:"root"`              // the tree of a bundled one; else its prefix
	Executable  string     `json:"executable"`        // httpd or apache2
	APXS        string     `json:"apxs"`              // the apxs that was queried, "" for a tree read directly
	Version     string     `json:"version"`           // "2.4.68"
	MMN         int        `json:"mmn"`               // MODULE_MAGIC_NUMBER_MAJOR, 20120211 for 2.4
	MMNMinor    int        `json:"mmn_minor"`         //
	APRVersion  string     `json:"apr_version"`       //
	APUVersion  string     `json:"apu_version"`       //
	Machine     string     `json:"machine"`           // of the executable: "x86_64", "aarch64"
	MPMs        []string   `json:"mpms"`              // available ones, loadable or built in
	ModulesDir  string     `json:"modules_dir"`       // directory of LoadModule's files
	IncludeDirs []string   `json:"include_dirs"`      // httpd's, apr's and apr-util's headers
	CPPFlags    []string   `json:"cppflags"`          // required to compile a module
	CFlags      []string   `json:"cflags"`            //
	LibDirs     []string   `json:"lib_dirs"`          // with libraries that the executable needs, if it is not in the system's path
	Rotatelogs  string     `json:"rotatelogs"`        // "" if not found
	Refused     string     `json:"refused,omitempty"` // why it cannot be used; "" if it can
	Evidence    []Evidence `json:"evidence,omitempty"`

	program program
	dated   bool // the headers contain their release
}

// program is what the program's file contains, as opposed to the headers.
type program struct {
	mmn, mmnMinor int    // 0 if unknown
	version       string // "" if unknown
	damaged       string // why it cannot be read as an ELF file
	other         bool   // it lacks what every httpd contains
}
