package config

import (
	"math"

	"modwsgi/express/option"
)

// Machine is what this machine allows a server. Zero means unknown.
type Machine struct {
	Memory    int64 // bytes
	OpenFiles int   // of one process
	Tasks     int   // processes and threads
}

// Sizes are the sizes of an MPM. Those that an MPM does not have are 0.
type Sizes struct {
	ServerLimit, ThreadLimit, ThreadsPerChild int
	StartServers, MaxWorkers                  int
	MinSpare, MaxSpare                        int // servers for prefork, threads otherwise
	// Factor is the number of idle connections that a process holds for each idle thread
	// (AsyncRequestWorkerFactor); 0 for httpd's default.
	Factor int
}

// Connections is the maximum number of open connections, idle ones included.
func (z Sizes) Connections() int { return z.idle() * (1 + z.Factor) }

// idle is the number of threads that are usually idle at most, each of which allows some
// idle connections.
func (z Sizes) idle() int {
	if z.ThreadsPerChild == parkingThreads && z.MaxWorkers > idleParking {
		return idleParking
	}
	return z.MaxWorkers
}

// OpenFiles is the number of files that a process of httpd can have open: each
// connection, for each request a second one to its daemon process, and logs, libraries
// and listening sockets. It is 0 without a factor.
func (z Sizes) OpenFiles() int {
	if z.Factor == 0 {
		return 0
	}
	return z.ThreadsPerChild*(2+z.Factor) + otherFiles
}

// Measured with httpd 2.4.68 on amd64, 10,000 idle connections and 1,000 that send a byte
// every ten seconds (docs/concepts/clients.md).
const (
	mostThreads = 2400 // more than twice what such slow clients occupy
	started     = 2    // processes of httpd, for many threads

	// Where httpd waits for slow clients without a thread:
	parkingThreads = 600                      // of a process: what many of them send at once needs threads for a moment
	idleParking    = started * parkingThreads // that are idle

	threadShare   = 1 << 20  // bytes of memory for which there is one thread; each needs 13 KiB before its first request and 40 after it
	perConnection = 60 << 10 // bytes; half of the memory may be used for connections
	otherFiles    = 64
	mostFactor    = 40
)

// Sizes computes the number of httpd's processes and threads. Slow clients occupy
// threads, and idle ones need one idle thread for some of them, so there are many more
// threads than the daemon processes have.
func (i *Instance) Sizes() Sizes {
	processes, threads := max(Processes.In(i), 1), Threads.In(i)
	switch {
	case DebugMode.In(i):
		return Sizes{ServerLimit: 1, ThreadLimit: 1, ThreadsPerChild: 1, StartServers: 1, MaxWorkers: 1, MinSpare: 1, MaxSpare: 1}
	case EmbeddedMode.In(i):
		return i.idle(embeddedSizes(i.MPM, processes, threads))
	case i.MPM == "winnt": // one process, with a thread per connection, including idle ones
		n := max(64, threads)
		if i.Given(MaxClients) {
			n = max(threads, MaxClients.In(i))
		}
		return embeddedSizes(i.MPM, 1, n)
	case i.MPM == "prefork":
		return i.preforkSizes(processes * threads)
	}
	return i.idle(i.threadSizes(processes * threads))
}

// few is the number of clients that keeps the daemon processes busy.
func (i *Instance) few(capacity int) int {
	if i.Given(MaxClients) {
		return max(capacity, MaxClients.In(i))
	}
	return 10 + max(10, capacity*3/2)
}

// shares are the fractions of workers that are started, and kept idle at least and at
// most.
func (i *Instance) shares(initial, most float64) (first, low, high float64) {
	or := func(o option.Handle[float64], other float64) float64 {
		if i.Given(o) {
			return o.In(i)
		}
		return other
	}
	first = or(InitialWorkers, initial)
	return first, or(MinimumSpareWorkers, first), or(MaximumSpareWorkers, most)
}

func part(f float64, of int) int { return int(math.Floor(f * float64(of))) }

// preforkSizes are those of prefork, where each client needs a process.
func (i *Instance) preforkSizes(capacity int) Sizes {
	clients := i.few(capacity)
	first, low, high := i.shares(0.05, 0.1)
	return Sizes{
		ServerLimit: clients, MaxWorkers: clients, StartServers: max(1, part(first, clients)),
		MinSpare: max(1, part(low, clients)), MaxSpare: max(1, part(high, clients)),
	}
}

// threadSizes are those of event and worker. They are upstream's if the number of clients
// is given, or a fraction of them.
func (i *Instance) threadSizes(capacity int) Sizes {
	clients := i.few(capacity)
	many := i.many()
	if many > clients && !i.Given(MaxClients) && !i.Given(InitialWorkers) && !i.Given(MinimumSpareWorkers) && !i.Given(MaximumSpareWorkers) {
		return i.manySizes(many)
	}
	per := 10
	if clients > 20 {
		per = clients / (clients/20 + 1)
	}
	servers := (clients + per - 1) / per
	first, low, high := i.shares(0.2, 0.6)
	z := Sizes{
		ServerLimit: servers, ThreadLimit: per, ThreadsPerChild: per, MaxWorkers: servers * per,
		StartServers: max(1, part(first, servers)), MinSpare: max(per, part(low, servers)*per),
		MaxSpare: max(per, part(high, servers)*per),
	}
	z.MaxSpare = max(z.MaxSpare, z.MinSpare+per) // or httpd would adjust it, with a warning
	return z
}

// many is the number of threads that this machine allows; 0 if that is unknown.
func (i *Instance) many() int {
	m := i.Machine
	if m.Memory == 0 {
		return 0
	}
	n := min(mostThreads, int(m.Memory/threadShare))
	if m.Tasks > 0 {
		n = min(n, m.Tasks/4) // during a reload there are twice as many
	}
	if m.OpenFiles > 0 {
		n = min(n, 2*max(0, m.OpenFiles-otherFiles)/6) // two processes with four connections for each thread
	}
	return n
}

// manySizes are two processes, both of which are started: a connection that was accepted
// stays with its process, and new ones must not wait for the start of another. With four,
// each request takes a tenth more processor time.
//
// Where httpd waits for slow clients without a thread, the processes are small, and more
// are started when few threads are idle: threads take turns, so with many of them each
// finds little of what it needs in the caches of the processor.
func (i *Instance) manySizes(threads int) Sizes {
	z := Sizes{StartServers: started, ServerLimit: started, ThreadsPerChild: threads / started}
	z.MinSpare = z.ThreadsPerChild // if more have ended, they are replaced
	z.MaxSpare = (started + 1) * z.ThreadsPerChild
	if i.parks() && threads >= 2*idleParking {
		z.ThreadsPerChild = parkingThreads
		if !i.Given(MaxConnections) { // each process more could have as many again
			z.ServerLimit = threads / parkingThreads
		}
		z.MinSpare = parkingThreads           // otherwise more are started
		z.MaxSpare = threads + parkingThreads // a process that ended would close its idle connections
	}
	z.ThreadLimit, z.MaxWorkers = z.ThreadsPerChild, z.ServerLimit*z.ThreadsPerChild
	return z
}

// parks reports whether clients that send the head of a request slowly need no thread.
func (i *Instance) parks() bool { return i.Parks && i.MPM == "event" }

// idle adds the number of idle connections, which only event holds without a thread for
// each.
func (i *Instance) idle(z Sizes) Sizes {
	m := i.Machine
	if i.MPM != "event" {
		return z
	}
	idle := z.idle()
	if i.Given(MaxConnections) {
		z.Factor = max(1, MaxConnections.In(i)/idle-1)
		return z
	}
	if m.Memory == 0 || m.OpenFiles == 0 {
		return z
	}
	most := mostFactor * max(1, mostThreads/idle)
	byMemory := int(m.Memory/2/perConnection)/idle - 1
	byFiles := (m.OpenFiles-otherFiles)/z.ThreadsPerChild - 2
	z.Factor = max(2, min(most, byMemory, byFiles))
	return z
}

func embeddedSizes(mpm string, processes, threads int) Sizes {
	n := processes * threads
	if mpm == "prefork" {
		return Sizes{ServerLimit: n, MaxWorkers: n, StartServers: n, MinSpare: n, MaxSpare: n}
	}
	return Sizes{
		ServerLimit: processes, StartServers: processes, ThreadLimit: threads, ThreadsPerChild: threads,
		MaxWorkers: n, MinSpare: n, MaxSpare: n + threads,
	}
}
