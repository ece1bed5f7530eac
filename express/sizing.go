package express

import (
	"math"

	"modwsgi/express/config"
)

// sizes are the numbers of an MPM. Those that an MPM does not have are 0.
type sizes struct {
	serverLimit, threadLimit, threadsPerChild int
	startServers, maxWorkers                  int
	minSpare, maxSpare                        int // servers for prefork, threads otherwise
}

// sizes computes how many of httpd's own processes and threads there are: enough
// to keep the daemon processes busy while slow clients are waited for.
func (i *instance) sizes() sizes {
	processes, threads := max(config.Processes.In(i), 1), config.Threads.In(i)
	if config.DebugMode.In(i) {
		return sizes{1, 1, 1, 1, 1, 1, 1}
	}
	if config.EmbeddedMode.In(i) {
		return embeddedSizes(i.mpm, processes, threads)
	}
	if i.mpm == "winnt" { // one process; a thread for each connection, also for one that is kept open
		n := max(64, threads)
		if i.Given(config.MaxClients) {
			n = max(threads, config.MaxClients.In(i))
		}
		return embeddedSizes(i.mpm, 1, n)
	}
	capacity := processes * threads
	clients := 10 + max(10, capacity*3/2)
	if i.Given(config.MaxClients) {
		clients = max(capacity, config.MaxClients.In(i))
	}
	initial, high := 0.2, 0.6
	if i.mpm == "prefork" {
		initial, high = 0.05, 0.1
	}
	if i.Given(config.InitialWorkers) {
		initial = config.InitialWorkers.In(i)
	}
	low := initial
	if i.Given(config.MinimumSpareWorkers) {
		low = config.MinimumSpareWorkers.In(i)
	}
	if i.Given(config.MaximumSpareWorkers) {
		high = config.MaximumSpareWorkers.In(i)
	}
	part := func(f float64, of int) int { return int(math.Floor(f * float64(of))) }
	if i.mpm == "prefork" {
		return sizes{
			serverLimit: clients, maxWorkers: clients, startServers: max(1, part(initial, clients)),
			minSpare: max(1, part(low, clients)), maxSpare: max(1, part(high, clients)),
		}
	}
	per := 10
	if clients > 20 {
		per = clients / (clients/20 + 1)
	}
	servers := (clients + per - 1) / per
	s := sizes{
		serverLimit: servers, threadLimit: per, threadsPerChild: per, maxWorkers: servers * per,
		startServers: max(1, part(initial, servers)), minSpare: max(per, part(low, servers)*per),
		maxSpare: max(per, part(high, servers)*per),
	}
	s.maxSpare = max(s.maxSpare, s.minSpare+per) // httpd would correct it, and complain
	return s
}

func embeddedSizes(mpm string, processes, threads int) sizes {
	n := processes * threads
	if mpm == "prefork" {
		return sizes{serverLimit: n, maxWorkers: n, startServers: n, minSpare: n, maxSpare: n}
	}
	return sizes{
		serverLimit: processes, startServers: processes, threadLimit: threads, threadsPerChild: threads,
		maxWorkers: n, minSpare: n, maxSpare: n + threads,
	}
}
