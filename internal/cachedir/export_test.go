package cachedir

// For tests outside the package, which use internal/buildstore too.

const KeptLogs = keptLogs

var (
	Parts     = parts
	PlainTemp = plainTemp
)

// SetHook sets what is called between a check and its use.
func SetHook(f func(moment, path string)) { hook = f }

// DefaultDir is the default cache directory.
func DefaultDir(env []string) (string, string, error) { return cacheDir(env) }
