//go:build unix

package sign

import "os"

// openToOthers says whether more than the owner may read a file.
func openToOthers(info os.FileInfo) bool { return info.Mode().Perm()&0o077 != 0 }
