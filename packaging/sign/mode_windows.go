package sign

import "os"

// openToOthers knows nothing about access lists.
func openToOthers(os.FileInfo) bool { return false }
