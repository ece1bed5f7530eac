//go:build unix

package cachedir

// plainTemp is where a run works if the path of the cache has characters that make
// and configure scripts cannot take.
const plainTemp = "/tmp"
