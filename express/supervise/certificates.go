package supervise

import (
	"context"
	"errors"
	"fmt"
	"os"
	"reflect"
	"strings"
	"time"

	"modwsgi/express/acme"
	"modwsgi/express/host"
	"modwsgi/express/instance"
	"modwsgi/express/logwriter"
	"modwsgi/internal/fault"
)

// certificates is what keeps the certificate of --https-auto valid while the instance runs.
type certificates struct {
	asked  chan<- request // as another process asks
	keeper *acme.Settings // of what runs; nil for nothing
	kick   chan struct{}
	ended  chan struct{}
	cancel context.CancelFunc
}

// keepCertificate begins to obtain and renew the certificate of the present httpd. If that
// is done already, something has been changed since, such as the DNS, so it is tried again.
func (s *succession) keepCertificate(ctx context.Context) {
	c := &s.certificates
	wanted := s.present().launch.ACME
	if c.keeper != nil && reflect.DeepEqual(c.keeper, wanted) {
		select {
		case c.kick <- struct{}{}:
		default:
		}
		return
	}
	before := c.ended
	c.stop()
	if wanted == nil {
		return
	}
	ctx, c.cancel = context.WithCancel(ctx)
	c.keeper, c.kick, c.ended = wanted, make(chan struct{}, 1), make(chan struct{})
	k := &acme.Keeper{
		Settings: wanted, Program: s.program, Kick: c.kick, Log: s.tell, Reload: s.reloadCertificate,
		Loaded: func() string { return s.present().certificate },
	}
	go func(ended chan<- struct{}) {
		defer close(ended)
		if before != nil {
			<-before
		}
		select {
		case <-s.begun:
		case <-ctx.Done():
			return
		}
		select {
		case <-s.present().link.Listens(): // the authority may ask at once
			k.Run(ctx)
		case <-ctx.Done():
		}
	}(c.ended)
}

func (c *certificates) stop() {
	if c.cancel != nil {
		c.cancel()
	}
	c.keeper, c.cancel = nil, nil
}

// cleanUpTime is the time for what an attempt has to undo when the process ends, such as a
// record in the DNS.
const cleanUpTime = 5 * time.Second

// end ends what keeps the certificate valid.
func (c *certificates) end() {
	ended := c.ended
	c.stop()
	if ended == nil {
		return
	}
	select {
	case <-ended:
	case <-time.After(cleanUpTime):
	}
}

// readsCertificate notes which certificate an httpd reads that is about to be started.
func (g *generation) readsCertificate() {
	if g.launch.ACME != nil {
		g.certificate = g.launch.ACME.Version()
	}
}

// program runs a program for the keeper of the certificate.
func (s *succession) program(ctx context.Context, argv []string) (string, error) {
	exit, output, err := host.Collect(ctx, argv[0], argv, s.checks.Environ)
	switch {
	case err != nil:
		return output, err
	case exit.Killed:
		return output, errors.New("it was killed by a signal")
	case exit.Code != 0:
		return output, fmt.Errorf("exit code %d", exit.Code)
	}
	return output, nil
}

// reloadCertificate replaces httpd by one that has read the certificate.
func (s *succession) reloadCertificate(ctx context.Context) error {
	for {
		result := make(chan error, 1)
		select {
		case s.certificates.asked <- request{wantReload, result}:
		case <-ctx.Done():
			return ctx.Err()
		}
		var err error
		select {
		case err = <-result:
		case <-ctx.Done():
			return ctx.Err()
		}
		if !errors.Is(err, errStopped) {
			return err
		}
		select { // it is about to be stopped, but that can fail
		case <-time.After(lastRequests):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// tell reports what happens without anybody having asked for it: on standard error in the
// foreground, and in the error log if that is a file.
func (s *succession) tell(bad bool, text string) {
	l := s.present().launch
	if !s.background {
		if bad {
			s.console.Warn(text)
		} else {
			s.console.Note(text)
		}
	}
	if err := host.AppendText(l.ErrorLog, logLine(l, bad, text)); err != nil && !errors.Is(err, os.ErrNotExist) && !s.background {
		s.console.Warn(err.Error())
	}
}

// logLine returns a line for the error log.
func logLine(l *instance.Launch, bad bool, text string) []byte {
	level := "notice"
	if bad {
		level = "error"
	}
	now := time.Now()
	if l.JSONLog {
		return logwriter.ErrorObject(now, level, "acme", os.Getpid(), text)
	}
	return fmt.Appendf(nil, "[%s] [acme:%s] [pid %d] %s\n", now.Format("Mon Jan 02 15:04:05.000000 2006"), level, os.Getpid(), strings.ReplaceAll(text, "\n", " "))
}

// addCertificate adds the certificate of --https-auto to a report.
func (r *Report) addCertificate(l *instance.Launch) {
	if l.ACME == nil {
		return
	}
	status, err := l.ACME.Status()
	if err != nil {
		status = &acme.Status{Names: l.ACME.Names, Authority: l.ACME.Authority(), LastError: err.Error(), Hint: fault.HintOf(err)}
	}
	r.Certificate = status
}

// writeCertificate prints the certificate for people.
func writeCertificate(p func(name, format string, args ...any), c *acme.Status, now time.Time) {
	names := strings.Join(c.Names, ", ")
	switch left := c.NotAfter.Sub(now); {
	case !c.Issued:
		p("certificate", "%s: none yet from %s", names, c.Authority)
	case left <= 0:
		p("certificate", "%s: EXPIRED %s", names, Ago(now, c.NotAfter))
	default:
		p("certificate", "%s: valid for %s more, will be renewed %s", names, span(left), in(c.Renewal.Sub(now)))
	}
	if c.LastError == "" {
		return
	}
	p("", "last error, %s: %s", Ago(now, c.Failed), c.LastError)
	if c.Hint != "" {
		p("", "what to do: %s", c.Hint)
	}
	how := " (reload tries at once)"
	if c.Limited {
		how = ", as the authority demands"
	}
	p("", "next try %s%s", in(c.NextTry.Sub(now)), how)
}

// span is a duration in the words of people.
func span(d time.Duration) string {
	switch {
	case d < 2*time.Minute:
		return fmt.Sprintf("%d s", int(d.Seconds()))
	case d < 2*time.Hour:
		return fmt.Sprintf("%d min", int(d.Minutes()))
	case d < 48*time.Hour:
		return fmt.Sprintf("%d h", int(d.Hours()))
	}
	return fmt.Sprintf("%d days", int(d.Hours()/24))
}

// in is how long it takes until something happens.
func in(d time.Duration) string {
	if d <= 0 {
		return "now"
	}
	return "in " + span(d)
}
