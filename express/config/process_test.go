package config

import (
	"strconv"
	"testing"
)

func TestSizes(t *testing.T) {
	for _, c := range []struct {
		processes, threads, most int
		prefork, worker          Sizes
	}{
		{1, 5, 0, Sizes{20, 0, 0, 1, 20, 1, 2, 0}, Sizes{2, 10, 10, 1, 20, 10, 20, 0}},
		{2, 5, 0, Sizes{25, 0, 0, 1, 25, 1, 2, 0}, Sizes{3, 12, 12, 1, 36, 12, 24, 0}},
		{4, 10, 0, Sizes{70, 0, 0, 3, 70, 3, 7, 0}, Sizes{5, 17, 17, 1, 85, 17, 51, 0}},
		{8, 25, 0, Sizes{310, 0, 0, 15, 310, 15, 31, 0}, Sizes{17, 19, 19, 3, 323, 57, 190, 0}},
		{2, 5, 100, Sizes{100, 0, 0, 5, 100, 5, 10, 0}, Sizes{7, 16, 16, 1, 112, 16, 64, 0}},
	} {
		line := []string{"--processes", strconv.Itoa(c.processes), "--threads", strconv.Itoa(c.threads)}
		if c.most > 0 {
			line = append(line, "--max-clients", strconv.Itoa(c.most))
		}
		s, err := parseLine(line...)
		if err != nil {
			t.Fatal(err)
		}
		if got := (&Instance{Server: s, MPM: "prefork"}).Sizes(); got != c.prefork {
			t.Errorf("prefork %d*%d: %+v, want %+v", c.processes, c.threads, got, c.prefork)
		}
		if got := (&Instance{Server: s, MPM: "event"}).Sizes(); got != c.worker {
			t.Errorf("event %d*%d: %+v, want %+v", c.processes, c.threads, got, c.worker)
		}
	}
}

// TestSizesOfMachines: whatever a machine has, the server does not need more of it, and
// large machines hold the clients that the manual promises.
func TestSizesOfMachines(t *testing.T) {
	const mega = 1 << 20
	for _, c := range []struct {
		line    []string
		machine Machine
		idle    int // connections that are held while 1,000 threads wait for slow clients
	}{
		{nil, Machine{24576 * mega, 20000, 0}, 10000},
		{nil, Machine{4096 * mega, 1 << 20, 30000}, 10000},
		{nil, Machine{2048 * mega, 65536, 0}, 7000},
		{nil, Machine{512 * mega, 4096, 1024}, 0},
		{nil, Machine{4096 * mega, 2048, 0}, 0},
		{nil, Machine{4096 * mega, 256, 0}, 0},
		{nil, Machine{128 * mega, 1024, 100}, 0},
		{[]string{"--processes", "8", "--threads", "50"}, Machine{256 * mega, 1024, 0}, 0},
		{[]string{"--max-connections", "5000"}, Machine{24576 * mega, 20000, 0}, 0},
		{[]string{"--max-clients", "100"}, Machine{24576 * mega, 20000, 0}, 0},
		{[]string{"--embedded-mode", "--processes", "2"}, Machine{24576 * mega, 20000, 0}, 0},
	} {
		s, err := parseLine(c.line...)
		if err != nil {
			t.Fatal(err)
		}
		for _, parks := range []bool{false, true} {
			i := &Instance{Server: s, MPM: "event", Machine: c.machine, Parks: parks}
			z := i.Sizes()
			servers := z.MaxWorkers / z.ThreadsPerChild
			if z.MaxWorkers < max(Processes.In(i), 1)*Threads.In(i) || z.ServerLimit != servers || z.StartServers > servers || z.ThreadLimit < z.ThreadsPerChild ||
				z.MinSpare > z.MaxWorkers || z.MaxSpare < z.MinSpare+z.ThreadsPerChild || z.Factor < 1 {
				t.Errorf("%v on %+v: %+v", c.line, c.machine, z)
			}
			if z.OpenFiles() > c.machine.OpenFiles && len(c.line) == 0 {
				t.Errorf("%+v needs %d open files: %+v", c.machine, z.OpenFiles(), z)
			}
			if z.Factor > 2 && (z.OpenFiles() > c.machine.OpenFiles || int64(z.Connections())*perConnection > c.machine.Memory/2+int64(z.MaxWorkers)*perConnection) {
				t.Errorf("%v on %+v: %+v: %d connections, %d files", c.line, c.machine, z, z.Connections(), z.OpenFiles())
			}
			if c.machine.Tasks > 0 && z.MaxWorkers > c.machine.Tasks/2 {
				t.Errorf("%v on %+v: %+v: too many threads", c.line, c.machine, z)
			}
			if i.Given(MaxConnections) && (z.Connections() > 5000 || z.Connections() < 2500) {
				t.Errorf("%d connections, not 5000: %+v", z.Connections(), z)
			}
			// The slow ones are not spread evenly: one process has a third more than its share.
			busy := 1000 / servers * 4 / 3
			if parks && z.ThreadsPerChild == parkingThreads { // the others wait without a thread
				servers, busy = idleParking/z.ThreadsPerChild, z.ThreadsPerChild/4
			}
			if held := servers * (z.ThreadsPerChild + (z.ThreadsPerChild-busy)*z.Factor); c.idle > 0 && held < c.idle {
				t.Errorf("on %+v: %+v holds %d connections beside 1,000 slow ones", c.machine, z, held)
			}
		}
	}
}
