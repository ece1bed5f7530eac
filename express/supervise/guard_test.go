package supervise

import (
	"slices"
	"testing"
	"time"

	"modwsgi/express/host"
)

// TestGuard: the signals that httpd receives for each request to the launcher.
func TestGuard(t *testing.T) {
	kinds := map[host.SignalKind]string{host.Drain: "drain", host.Terminate: "terminate", host.Kill: "kill", host.Restart: "restart", host.Graceful: "graceful"}
	for name, tt := range map[string]struct {
		guard    guard
		closed   bool // the terminal
		requests []host.Request
		want     []string
	}{
		"stop drains daemon processes":                 {guard{daemon: true}, false, []host.Request{host.Stop}, []string{"drain"}},
		"the second stop ends":                         {guard{daemon: true}, false, []host.Request{host.Stop, host.Stop}, []string{"drain", "terminate"}},
		"the third stop kills":                         {guard{daemon: true}, false, []host.Request{host.Stop, host.Stop, host.Stop}, []string{"drain", "terminate", "kill"}},
		"without daemon processes stop ends":           {guard{}, false, []host.Request{host.Stop}, []string{"terminate"}},
		"an interrupt ends":                            {guard{daemon: true, had: true}, false, []host.Request{host.Interrupt}, []string{"terminate"}},
		"the second interrupt kills":                   {guard{daemon: true, had: true}, false, []host.Request{host.Interrupt, host.Interrupt}, []string{"terminate", "kill"}},
		"an interrupt is for the debugger":             {guard{had: true, interactive: true}, false, []host.Request{host.Interrupt}, nil},
		"a hangup restarts":                            {guard{had: true}, false, []host.Request{host.Hangup}, []string{"restart"}},
		"a hangup of a closed terminal ends":           {guard{had: true}, true, []host.Request{host.Hangup}, []string{"terminate"}},
		"a reload is graceful":                         {guard{}, false, []host.Request{host.Reload}, []string{"graceful"}},
		"a terminal may change its size":               {guard{had: true}, false, []host.Request{host.Resized}, nil},
		"a container runtime asks for a graceful stop": {guard{}, false, []host.Request{host.Resized}, []string{"drain"}},
		"an unknown signal is ignored":                 {guard{}, false, []host.Request{host.Nothing}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			g, sent := tt.guard, []string(nil)
			g.send = func(k host.SignalKind) { sent = append(sent, kinds[k]) }
			g.terminal = func() bool { return g.had && !tt.closed }
			g.drain, g.patience, g.others = time.Hour, time.Hour, time.Hour
			for _, r := range tt.requests {
				g.handle(r)
			}
			if !slices.Equal(sent, tt.want) {
				t.Errorf("httpd received %q, want %q", sent, tt.want)
			}
			if killed := slices.Contains(sent, "kill"); g.killed != killed {
				t.Errorf("killed is %v", g.killed)
			}
			if waiting := g.stopping > 0 && !g.killed; (g.deadline != nil) != waiting {
				t.Errorf("a deadline is set: %v, want %v", g.deadline != nil, waiting)
			}
		})
	}
}

// TestGuardReloads: which requests are checked before httpd receives them.
func TestGuardReloads(t *testing.T) {
	open := &guard{had: true, terminal: func() bool { return true }}
	closed := &guard{had: true, terminal: func() bool { return false }}
	for r, want := range map[host.Request][2]bool{
		host.Reload: {true, true}, host.Hangup: {true, false}, host.Stop: {}, host.Interrupt: {}, host.Resized: {}, host.Nothing: {},
	} {
		if got := [2]bool{open.reloads(r), closed.reloads(r)}; got != want {
			t.Errorf("request %d: %v, want %v", r, got, want)
		}
	}
}

func TestGuardWithoutLimit(t *testing.T) {
	g := &guard{send: func(host.SignalKind) {}}
	g.escalate()
	if g.deadline != nil || g.rest != nil {
		t.Error("an httpd that may take any time to stop has a deadline")
	}
}
