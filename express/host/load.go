package host

import "time"

// Worker is a process of an httpd.
type Worker struct {
	PID     int
	Title   string // the first word of its command line; "(wsgi:GROUP)" for a daemon process
	Started time.Time
	CPU     time.Duration
	Memory  int64 // resident bytes, shared ones included
	Sockets []uint64
	Hidden  bool // its open files may not be read
}

// Queue is what clients of a daemon process group, or of a port, wait for.
type Queue struct {
	Connected int // connections that are being served
	Waiting   int // connections that nobody has accepted yet
}
