//go:build unix

package cachedir

// plainTemp is where a run works if the path of the cache has characters that make and
// configure scripts do not support.
const plainTemp = "/tmp"
