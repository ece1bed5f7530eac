//go:build unix

package owned

import "os"

func rename(root *os.Root, from, to string) error { return root.Rename(from, to) }
