package supervise

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"modwsgi/express/console"
	"modwsgi/express/host"
	"modwsgi/express/instance"
	"modwsgi/internal/fault"
	"modwsgi/internal/owned"
)

// A restart of httpd loses requests: it ends the application's processes three seconds
// later, whatever they do. So a running httpd is replaced by another one. The next httpd
// gets the listening sockets of the present one (mod_handover), reads its configuration
// and loads the application before it accepts the first connection. Then the present one
// ceases to accept any, completes what it has, and ends. If the next one does not start,
// or the application does not load, nothing changes.

const (
	// begins is the time in which children of httpd create their threads. Until it is
	// over, both generations accept connections.
	begins = 500 * time.Millisecond
	// lastRequests is the time in which clients that use their connections again and again
	// learn that the server ends. Idle ones are closed then.
	lastRequests = time.Second
	// mostIdle limits the time that idle connections of a leaving httpd have for a last
	// request. Clients that keep their connections for longer open new ones.
	mostIdle = 10 * time.Second
	// mostOld limits the number of httpds that have been replaced and still run.
	mostOld = 3
	// mostWait limits the wait for an application that has no time limit for loading.
	mostWait = 5 * time.Minute
)

var (
	errStopped = fault.New(fault.Environment, "", "no reload: httpd is being stopped")
	// errNotLinked has the asking process restart httpd instead.
	errNotLinked = errors.New("httpd did not pass its listening sockets on")
)

// httpd is a running httpd.
type httpd interface {
	PID() int
	Signal(host.SignalKind)
	EndRest(atOnce bool)
	Done() <-chan host.Exit
}

// generation is one httpd of an instance.
type generation struct {
	httpd
	gone   chan struct{} // closed when it has ended
	exit   host.Exit     // valid then
	launch *instance.Launch
	link   *host.Handover // nil if it has no mod_handover
	file   string         // name of its own PID file in the server root; "" if it writes the instance's

	said   chan string // the first report of its application: "ready", or "failed" and why
	leaves atomic.Bool // it was replaced, or told to end
	failed string      // why its last process could not load the application; the ledger's

	certificate string // the version of the certificate that it has read

	reported bool // what it reports before it has an error log is in the file startLog
}

// succession replaces the httpd of an instance by the next one.
type succession struct {
	console *console.Console
	checks  *Checks
	ledger  *ledger
	since   time.Time     // of the first httpd
	begun   chan struct{} // closed when it runs
	pages   pages

	certificates certificates

	number  int                // of the last generation
	hurry   chan struct{}      // closed when the last httpd has ended
	taken   chan error         // the result of a replacement
	changed chan struct{}      // there is another present httpd
	cancel  context.CancelFunc // of the replacement that is under way; nil if none is
	asked   []chan<- error     // who waits for its result; nil is a signal
	held    int                // number of commands that stop the instance
	again   bool               // another one was asked for since
	later   []chan<- error     // by whom

	background bool // httpd continues when this process is killed

	publishing sync.Mutex

	mu      sync.Mutex
	ending  bool        // the present httpd was told to end
	drains  bool        // it is about to be told
	past    host.Counts // of the httpds that have ended
	reloads reloads
	current *generation
	old     []*generation
	retired sync.WaitGroup
}

// runs completes a generation whose httpd has been started.
func (g *generation) runs(h httpd) {
	g.httpd, g.gone = h, make(chan struct{})
	go func() {
		g.exit = <-h.Done()
		close(g.gone)
	}()
}

func newSuccession(c *console.Console, checks *Checks, first *generation) *succession {
	return &succession{
		console: c, checks: checks, current: first, ledger: newLedger(), since: time.Now(), begun: make(chan struct{}),
		taken: make(chan error, 1), changed: make(chan struct{}, 1), hurry: make(chan struct{}),
	}
}

// hear receives what the processes of a generation report.
func (s *succession) hear(g *generation) {
	if g.link == nil {
		return
	}
	g.said = make(chan string, 1)
	go g.link.Reports(func(line string) {
		r, ok := parseReport(line)
		if !ok {
			return
		}
		s.ledger.note(g, r)
		if r.kind != "stopping" {
			select {
			case g.said <- r.message():
			default:
			}
		}
		s.publish(g)
	})
}

// begins makes a generation the first one.
func (s *succession) begins(first *generation) {
	s.hear(first)
	close(s.begun)
	if first.link == nil {
		return
	}
	s.servePages(first.launch)
	go func() {
		select {
		case <-first.link.Listens():
			s.publish(first)
		case <-first.gone:
		}
	}()
}

// publish lets httpd answer requests for its health with the state of the instance. A
// process that ends does not report that, so it is called again and again.
func (s *succession) publish(g *generation) {
	if !g.answersHealth() {
		return
	}
	s.publishing.Lock()
	defer s.publishing.Unlock()
	g.link.Board().Set(s.stateOf(g))
}

// answersHealth reports whether httpd answers requests for its health.
func (g *generation) answersHealth() bool { return g.link != nil && g.launch.Health != "" }

// stale fires when publish is due again, and never if httpd does not need it: the process
// then sleeps until something happens.
func (g *generation) stale() <-chan time.Time {
	if !g.answersHealth() {
		return nil
	}
	return time.After(time.Second)
}

func (s *succession) stateOf(g *generation) host.State {
	s.mu.Lock()
	ending := s.ending || s.drains
	s.mu.Unlock()
	if ending {
		return host.Draining
	}
	state := s.ledger.state(g)
	if state == host.Starting && !g.launch.Reports { // it is loaded when a request needs it
		return host.Ready
	}
	return state
}

// drain has the present httpd tell its clients that the instance is about to end, or with
// false that it is not any more.
func (s *succession) drain(begin bool) {
	s.mu.Lock()
	s.drains = begin
	s.mu.Unlock()
	s.publish(s.present())
}

// generationFile is the name of the PID file that only one generation has.
func generationFile(number int) string { return fmt.Sprintf("generation-%d.pid", number) }

// startLog is the name of the file for what a generation reports before it writes into its
// error log.
func (g *generation) startLog() string { return strings.TrimSuffix(g.file, ".pid") + ".log" }

// ownFile returns the name of the PID file that only the present generation has, "" if
// it writes that of the instance.
func ownFile(l *instance.Launch, pid int) string {
	entries, err := l.Handle.Entries()
	if err != nil {
		return ""
	}
	for _, e := range entries {
		if number, ok := strings.CutPrefix(e.Name(), "generation-"); ok && strings.HasSuffix(number, ".pid") {
			if has, err := instance.ReadPID(l.Handle, e.Name()); err == nil && has == pid {
				return e.Name()
			}
		}
	}
	return ""
}

// hands reports whether httpds of an instance can replace each other.
func hands(l *instance.Launch) bool {
	return host.HandsOver && l.Handover != "" && l.GDB == "" && !slices.Contains(l.Args, "-DONE_PROCESS")
}

// possible reports whether the present httpd can be replaced by another one.
func (s *succession) possible() bool {
	now := s.present()
	return now.link != nil && len(now.link.Sockets()) > 0
}

// begin begins to replace the present httpd; commit continues when the result is there.
// A replacement that is under way may have read what has changed since, so another one
// follows it.
func (s *succession) begin(ctx context.Context, asked chan<- error) {
	if s.cancel != nil {
		s.again, s.later = true, append(s.later, asked)
		return
	}
	s.asked = append(s.asked, asked)
	ctx, s.cancel = context.WithCancel(ctx)
	s.number++
	now, number := s.present(), s.number
	go func() {
		next, err := s.start(ctx, now, number)
		if err == nil {
			err = s.succeed(next)
		}
		s.taken <- err
	}()
}

// commit ends a replacement, and begins another one if that was asked for meanwhile. If
// the next httpd did not start, nothing has changed.
func (s *succession) commit(ctx context.Context, err error) {
	s.cancel()
	s.cancel = nil
	if err != nil {
		s.mu.Lock()
		s.reloads.add(err)
		s.mu.Unlock()
	}
	s.servePages(s.present().launch)
	if err == nil {
		s.keepCertificate(ctx)
	}
	answerAll(s.asked, err)
	s.asked = nil
	if s.again && ctx.Err() == nil {
		s.asked, s.later, s.again = s.later, nil, false
		s.begin(ctx, nil)
	}
}

// stop ends a replacement that is under way, and returns when nothing of it is left.
func (s *succession) stop(why error) {
	s.again = false
	if s.cancel != nil {
		s.cancel()
		<-s.taken
		s.cancel = nil
	}
	answerAll(append(s.asked, s.later...), why)
	s.asked, s.later = nil, nil
}

// succeed lets the next httpd serve, and sends the present one away. It returns when
// that one accepts no more connections.
func (s *succession) succeed(next *generation) error {
	s.mu.Lock()
	last := s.current
	if s.ending {
		s.mu.Unlock()
		next.abandon()
		return errStopped
	}
	s.current, s.old = next, append(s.old, last)
	s.reloads.add(nil)
	s.mu.Unlock()
	last.leaves.Store(true)
	select {
	case s.changed <- struct{}{}:
	default: // nobody has noticed the last change yet
	}
	s.writePID()
	s.publish(next)
	next.link.Admit()
	last.link.Forget() // the next one has sent the sockets that are still used
	time.Sleep(begins)
	last.link.Leave()
	s.retired.Go(func() { s.retire(last) })
	return nil
}

// room waits until few of the httpds that have been replaced still run: each needs as
// much memory as one that serves.
func (s *succession) room(ctx context.Context) error {
	for {
		s.mu.Lock()
		n := len(s.old)
		s.mu.Unlock()
		if n < mostOld {
			return nil
		}
		select {
		case <-ctx.Done():
			return errStopped
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// writePID writes the number of the present httpd into the instance's PID file.
func (s *succession) writePID() {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := s.current
	err := now.launch.WithPIDFile(func(dir *owned.Dir, name string) error {
		return dir.WriteFile(name, []byte(strconv.Itoa(now.PID())+"\n"), 0o644)
	})
	if err != nil {
		s.console.Warn("write the PID file: " + err.Error())
	}
}

// retire ends an httpd that has been replaced: when its clients have had their last
// responses, or after the time for that.
func (s *succession) retire(g *generation) {
	defer s.forget(g)
	l := g.launch
	idle := min(time.Duration(l.KeepAlive+1)*time.Second, mostIdle)
	if s.ends(g, idle, s.hurry) {
		return
	}
	for _, step := range []struct {
		kind  host.SignalKind
		limit time.Duration // 0 is none
	}{
		{host.Drain, time.Duration(l.Drain) * time.Second},
		{host.Terminate, 15 * time.Second},
		{host.Kill, time.Second},
	} {
		g.Signal(step.kind)
		if s.ends(g, step.limit, nil) {
			return
		}
	}
	g.EndRest(true)
}

// ends waits for the end of an httpd until a limit (0 is none), or until it is time to
// hurry. An httpd that leaves removes the instance's PID file if it wrote it, which is the
// next one's by then.
func (s *succession) ends(g *generation, limit time.Duration, hurry <-chan struct{}) bool {
	var look, late <-chan time.Time
	if limit > 0 {
		late = time.After(limit)
	}
	if g.file == "" {
		ticker := time.NewTicker(10 * time.Millisecond)
		defer ticker.Stop()
		look = ticker.C
	}
	for {
		select {
		case <-g.gone:
			if g.exit.Killed {
				g.EndRest(false)
			}
			if g.file == "" && numberOf(g.launch) == 0 {
				s.writePID()
			}
			return true
		case <-look:
			if numberOf(g.launch) == 0 {
				s.writePID()
			}
		case <-late:
			return false
		case <-hurry:
			return false
		}
	}
}

// forget releases what a generation had.
func (s *succession) forget(g *generation) {
	s.mu.Lock()
	s.old = slices.DeleteFunc(s.old, func(o *generation) bool { return o == g })
	ended := g.link.Board().Counts()
	ended.Running = 0
	s.past.Add(ended)
	s.mu.Unlock()
	g.release()
}

func (g *generation) release() {
	if g.file != "" && g.launch.Handle != nil {
		_ = g.launch.Handle.Remove(g.file)
		_ = g.launch.Handle.Remove(g.startLog())
	}
	if g.link != nil {
		g.link.Close()
	}
	if g.file != "" {
		g.launch.Close() // the first one's is the caller's
	}
}

// abandon ends an httpd that has not served anything yet.
func (g *generation) abandon() {
	g.leaves.Store(true)
	g.EndRest(false)
	g.release()
}

// signal sends a signal to the present httpd. Those that have been replaced end anyway,
// but a signal that ends httpd immediately is for them, too.
func (s *succession) signal(kind host.SignalKind) {
	defer func() { s.publish(s.present()) }()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.current.Signal(kind)
	if kind == host.Drain || kind == host.Terminate || kind == host.Kill {
		s.ending = true
		s.current.leaves.Store(true)
		if s.current.link != nil {
			s.current.link.Forget()
		}
	}
	if kind != host.Terminate && kind != host.Kill {
		return
	}
	for _, g := range s.old {
		g.Signal(kind)
	}
}

// finish waits until the httpds that have been replaced have completed their requests,
// and removes what the last one, which has ended, has left.
func (s *succession) finish(atOnce bool) {
	last := s.present()
	s.pages.close()
	close(s.hurry)
	if atOnce {
		s.mu.Lock()
		for _, g := range s.old {
			g.Signal(host.Terminate)
		}
		s.mu.Unlock()
		last.EndRest(false)
	}
	if last.file != "" { // the instance's PID file is ours then
		last.launch.RemovePIDFile()
	}
	s.retired.Wait()
	if l := last.launch; l.Handle != nil {
		instance.RemoveStaleSockets(l.Handle) // of httpds that had to be killed
	}
	last.release()
}

func answer(asked chan<- error, err error) {
	if asked != nil {
		asked <- err
	}
}

func answerAll(asked []chan<- error, err error) {
	for _, a := range asked {
		answer(a, err)
	}
}

// present is the httpd that accepts connections.
func (s *succession) present() *generation {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.current
}

// start starts the next httpd and waits until it could serve.
func (s *succession) start(ctx context.Context, now *generation, number int) (*generation, error) {
	if err := s.room(ctx); err != nil {
		return nil, err
	}
	l, err := instance.ReadLaunch(now.launch.Root) // setup-server may have written another one
	if err != nil {
		return nil, err
	}
	l.Once = now.launch.Once
	next := &generation{launch: l, file: generationFile(number)}
	if err := s.run(ctx, now, next); err != nil {
		next.release()
		return nil, err
	}
	return next, nil
}

// run starts a generation, and ends it if it could not serve.
func (s *succession) run(ctx context.Context, now, next *generation) error {
	l := next.launch
	checks := *s.checks
	checks.Launch = l
	if err := checks.reloadable(ctx); err != nil {
		return err
	}
	if !hands(l) {
		return fault.New(fault.Environment, "stop it, and start it again", "no reload: the configuration is now one whose httpd cannot take over from another one")
	}
	var err error
	if next.link, err = newLink(l, true); err != nil {
		return err
	}
	c := command(l, s.console, checks.Environ, nil)
	null, err := os.Open(os.DevNull)
	if err != nil {
		return err
	}
	defer null.Close()
	c.Files[0], c.Outlives = null, s.background
	c.Env = append(c.Env, "MOD_WSGI_PREDECESSOR="+host.Birth(now.PID())) // for services, which run only once
	allowFiles(l, s.console)
	c.Argv = append(c.Argv, "-c", "PidFile "+confWord(filepath.Join(l.Root, next.file)))
	if (s.background || l.Direct) && !slices.Contains(c.Argv, "-E") {
		next.reported = true
		c.Argv = append(c.Argv, "-E", filepath.Join(l.Root, next.startLog()))
	}
	next.readsCertificate()
	child, _, err := startLinked(c, next.link, now.link.Sockets(), false)
	if err != nil {
		return err
	}
	next.runs(child)
	s.hear(next)
	if err := s.await(ctx, next); err != nil {
		next.leaves.Store(true)
		next.EndRest(false)
		return err
	}
	return nil
}

// await waits until an httpd has opened its sockets and its application is loaded.
func (s *succession) await(ctx context.Context, g *generation) error {
	l := g.launch
	said := g.said
	if !l.Reports {
		said = nil
	}
	limit := mostWait
	if l.Startup > 0 {
		limit = loadLimit(l)
	}
	late, listens := time.After(limit), g.link.Listens()
	for listens != nil || said != nil {
		select {
		case <-listens:
			listens = nil
		case message := <-said:
			if reason, bad := strings.CutPrefix(message, "failed "); bad {
				return fault.New(fault.Environment, unchanged, "no reload: the application does not load: %s\nthe complete error is in %s", reason, l.ErrorLog)
			}
			said = nil
		case <-g.gone:
			return g.ended()
		case <-late:
			return fault.New(fault.Environment, unchanged+"; see "+l.ErrorLog+", or give it more time with --startup-timeout", "no reload: the application does not load within %d seconds", int(limit/time.Second))
		case <-ctx.Done():
			return errStopped
		}
	}
	return nil
}

// ended is the error for an httpd that has ended before it could serve.
func (g *generation) ended() error {
	const text = "no reload: the next httpd has ended"
	if !g.reported {
		return fault.New(fault.Environment, unchanged, text+"; see the messages before this one, or %s", g.launch.ErrorLog)
	}
	data, _ := g.launch.Handle.ReadFile(g.startLog(), 1<<16)
	reasons := startErrors(string(data))
	switch {
	case reasons == "":
		return fault.New(fault.Environment, unchanged+"; see "+g.launch.ErrorLog, text+", and its error log contains the reason: %s", g.launch.ErrorLog)
	case strings.Contains(reasons, "AH00072"): // it cannot open a socket
		return fault.New(fault.Environment, unchanged+". If its present address overlaps with the next one, stop it and start it again", text+":\n%s", reasons)
	}
	return fault.New(fault.Environment, unchanged, text+":\n%s", reasons)
}

// startErrors returns those of httpd's messages that may be the reason for its end.
func startErrors(text string) string {
	var lines []string
	for line := range strings.Lines(text) {
		if line = strings.TrimSpace(line); line != "" && !notAnError.MatchString(line) {
			lines = append(lines, line)
		}
	}
	return strings.Join(lines[max(0, len(lines)-10):], "\n")
}

var notAnError = regexp.MustCompile(`^\[[^]]*\] \[[^]:]*:(warn|notice|info|debug|trace\d)\]`)

// reports makes the pipe on which the launcher's Python part reports that the
// application is loaded. Without all, only the first report counts.
func reports(all bool) (<-chan string, *os.File, error) {
	from, to, err := os.Pipe()
	if err != nil {
		return nil, nil, err
	}
	message := make(chan string, 1)
	go func() {
		defer from.Close() //nolint:errcheck // it was only read
		lines := bufio.NewReaderSize(from, 1024)
		for more := true; more; {
			line, err := lines.ReadSlice('\n') // without a line, httpd has ended
			if r, ok := parseReport(strings.TrimSpace(string(line))); ok && (r.kind != "stopping" || !all) {
				message <- r.message()
			}
			more = all && (err == nil || errors.Is(err, bufio.ErrBufferFull))
		}
	}()
	return message, to, nil
}

// newLink makes the connection with an httpd that is about to be started, with what that
// needs to know. With gate, it waits to be admitted.
func newLink(l *instance.Launch, gate bool) (*host.Handover, error) {
	link, err := host.NewHandover(gate)
	if err != nil {
		return nil, err
	}
	link.Board().SetHealth(l.Health)
	link.Board().SetPatience(time.Duration(l.Patience) * time.Second)
	return link, nil
}

// restartsItself has an httpd restart itself when it gets the signal for that: it cannot be
// replaced.
func (g *generation) restartsItself() {
	if g.link != nil {
		g.link.Detach()
	}
}

// startLinked starts an httpd that can hand over and, with sockets, takes over.
func startLinked(c host.Command, link *host.Handover, sockets []int, single bool) (child *host.Child, unguarded, err error) {
	if link != nil {
		variables, fds := link.Inherit(len(c.Files), sockets)
		c.Env, c.Inherit = append(c.Env, variables...), fds
		defer link.Started()
	}
	return host.StartChild(c, single)
}

// command is the command that starts an httpd in the foreground, which reports on tell
// that the application is loaded.
func command(l *instance.Launch, c *console.Console, environ []string, tell *os.File) host.Command {
	cmd := host.Command{
		Path: l.HTTPD, Argv: append([]string{l.Argv0}, l.Args...), Dir: l.Dir, Env: l.Environ(environ),
		Files: []*os.File{c.Stdin, c.Stdout, c.Stderr},
	}
	if tell != nil {
		cmd.Env, cmd.Files = append(cmd.Env, "MOD_WSGI_READY_FD=3"), append(cmd.Files, tell)
	}
	if hands(l) {
		cmd.Argv = append(cmd.Argv, loadHandover(l)...)
	}
	if host.Detaches {
		cmd.Argv = append(cmd.Argv, "-DFOREGROUND")
	}
	return cmd
}

// loadHandover are the arguments by which httpd loads mod_handover. The configuration
// does not name it, which another httpd may read as well.
func loadHandover(l *instance.Launch) []string {
	return []string{"-C", "LoadModule handover_module " + confWord(l.Handover)}
}

// confWord quotes a word of a directive. setup-server refuses paths that httpd's
// configuration cannot contain.
func confWord(s string) string {
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(s) + `"`
}
