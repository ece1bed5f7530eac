package archive

import (
	"path"
	"strings"
)

// kind is the type of an entry.
type kind int

const (
	implied kind = iota // a directory that exists only because entries are in it
	directory
	regular
	symlink
	hardlink
	other
)

// tree records the name and type of every entry, so that conflicts and escapes are found
// without examining the disk.
type tree struct {
	nodes map[string]kind
	links map[string]string // symbolic link -> target
}

func newTree() *tree {
	return &tree{nodes: map[string]kind{}, links: map[string]string{}}
}

// add records a clean name, or returns why it cannot be added.
func (t *tree) add(name string, k kind) string {
	for i := 0; i < len(name); i++ {
		if name[i] != '/' {
			continue
		}
		switch parent := name[:i]; t.nodes[parent] {
		case implied:
			t.nodes[parent] = implied
		case directory:
		case symlink:
			return "it is below the symbolic link " + parent
		default:
			return "it is below " + parent + ", which is a file"
		}
	}
	old, there := t.nodes[name]
	switch {
	case there && old == implied && k == directory:
	case there && old == implied:
		return "the same name is a directory"
	case there:
		return "the same name occurs twice"
	}
	t.nodes[name] = k
	return ""
}

// maxLinks is the maximum number of symbolic links on a path.
const maxLinks = 40

// resolves follows the symbolic link at name through all other links of the archive and
// returns why it is refused, or "". The target need not exist, but no step may leave the
// tree.
func (t *tree) resolves(name string) string {
	at := parents(name)
	todo := strings.Split(t.links[name], "/")
	for hops := 0; len(todo) > 0; {
		element := todo[0]
		todo = todo[1:]
		switch element {
		case "", ".":
			continue
		case "..":
			if len(at) == 0 {
				return "it links to " + t.links[name] + ", which is outside of the archive"
			}
			at = at[:len(at)-1]
			continue
		}
		at = append(at, element)
		target, isLink := t.links[path.Join(at...)]
		if !isLink {
			continue
		}
		if hops++; hops > maxLinks {
			return "it links in a circle"
		}
		at = at[:len(at)-1]
		todo = append(strings.Split(target, "/"), todo...)
	}
	return ""
}

func parents(name string) []string {
	elements := strings.Split(name, "/")
	return append([]string(nil), elements[:len(elements)-1]...)
}
