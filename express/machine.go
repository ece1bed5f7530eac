package express

import (
	"modwsgi/express/config"
	"modwsgi/express/host"
	"modwsgi/internal/cgroup"
)

// localFiles returns what finds out whether files are on this machine.
func (inv *Invocation) localFiles() func(string) bool {
	if inv.Machine != nil {
		return nil
	}
	return host.HasLocalFiles
}

// machine returns what this machine allows a server.
func (inv *Invocation) machine() config.Machine {
	if inv.Machine != nil {
		return *inv.Machine
	}
	limits := cgroup.Read()
	m := config.Machine{Memory: limits.Memory, OpenFiles: host.OpenFiles(), Tasks: limits.Tasks}
	if n := host.Tasks(); n > 0 && (m.Tasks == 0 || n < m.Tasks) {
		m.Tasks = n
	}
	return m
}
