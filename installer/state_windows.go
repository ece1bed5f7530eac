package installer

import (
	"fmt"
	"os"
)

// stateOf returns a text that changes when a file is replaced or changed.
func stateOf(path string) string {
	info, err := os.Stat(path)
	if err != nil {
		return "none"
	}
	return fmt.Sprint(info.ModTime().UnixNano(), info.Size(), info.Mode())
}
