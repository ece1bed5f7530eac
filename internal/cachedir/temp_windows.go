package cachedir

import "os"

// plainTemp is where a run works if the path of the cache has unsupported characters.
var plainTemp = os.TempDir()

// writable returns true: access control lists are not read.
func writable(string) bool { return true }
