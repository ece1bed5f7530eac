package acme

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"

	rfc8555 "github.com/mholt/acmez/v3/acme"
)

// Failure is an attempt that failed.
type Failure struct {
	Reason string    // what happened, and to what
	Hint   string    // what to do about it
	Until  time.Time // the authority accepts nothing before; zero if it has not told
	Soon   bool      // nobody checked anything, so trying again costs nothing
}

func (f *Failure) Error() string { return f.Reason }

// wrongClock is a difference of clocks that matters: authorities date certificates back
// by an hour.
const wrongClock = 5 * time.Minute

// explain returns why an attempt failed, for people.
func (st *store) explain(err error, seen *responses) *Failure {
	var mine localError
	if errors.As(err, &mine) {
		return &Failure{Reason: oneLine(mine.Error()), Hint: mine.hint, Soon: !mine.late}
	}
	f := &Failure{}
	ahead := time.Duration(0)
	if seen != nil {
		seen.mu.Lock()
		ahead, f.Until = seen.clock, seen.again
		seen.mu.Unlock()
	}
	var p rfc8555.Problem
	if errors.As(err, &p) {
		st.explainProblem(f, p)
	} else {
		st.explainOther(f, err)
	}
	if ahead > wrongClock || ahead < -wrongClock {
		f.Reason += fmt.Sprintf("; the clock of this machine differs from the authority's by %s", ahead.Abs().Round(time.Second))
		f.Hint = "set the clock, for example with timedatectl set-ntp true"
	}
	return f
}

// explainOther explains errors without an answer of the authority.
func (st *store) explainOther(f *Failure, err error) {
	var unknown x509.UnknownAuthorityError
	var invalid x509.CertificateInvalidError
	var dns *net.DNSError
	var op *net.OpError
	f.Soon = true
	at := "the authority " + st.Authority() + " (" + st.Directory + ")"
	switch {
	case errors.As(err, &invalid) && invalid.Reason == x509.Expired:
		f.Reason = at + " cannot be trusted: by the clock of this machine (" + time.Now().UTC().Format("2006-01-02 15:04 MST") + "), its own certificate is expired, or not valid yet"
		f.Hint = "set the clock, for example with timedatectl set-ntp true"
	case errors.As(err, &unknown):
		f.Reason = at + " cannot be trusted: its own certificate is signed by an authority that this machine does not know"
		f.Hint = "install the package ca-certificates; for an authority of your own, name its certificate with --acme-ca"
	case errors.As(err, &dns):
		f.Reason = at + " cannot be reached: the name " + dns.Name + " cannot be resolved: " + dns.Err
		f.Hint = "see /etc/resolv.conf"
	case errors.As(err, &op), errors.Is(err, context.DeadlineExceeded):
		f.Reason = at + " cannot be reached: " + innermost(err)
		f.Hint = "see whether a firewall or a proxy is in between (HTTPS_PROXY)"
	default:
		f.Reason = at + ": " + oneLine(err.Error())
	}
}

// explainProblem explains an answer of the authority.
func (st *store) explainProblem(f *Failure, p rfc8555.Problem) {
	if len(p.Subproblems) > 0 { // the first one is an example
		sub := p.Subproblems[0]
		if p.Detail = sub.Detail; sub.Identifier.Value != "" {
			p.Detail = sub.Identifier.Value + ": " + sub.Detail
		}
		if p.Type == "" || strings.HasSuffix(p.Type, ":compound") {
			p.Type = sub.Type
		}
	}
	name := st.Names[0]
	authz, ofName := p.Resource.(rfc8555.Authorization)
	if ofName {
		name = authz.IdentifierValue()
	}
	detail := oneLine(p.Detail)
	if detail == "" {
		detail = strings.TrimPrefix(p.Type, rfc8555.ProblemTypeNamespace)
	}
	f.Reason = "the authority " + st.Authority() + " refuses a certificate for " + name + ": " + detail
	switch kindOf(p, detail, ofName) {
	case rfc8555.ProblemTypeConnection:
		f.Reason = "the authority " + st.Authority() + " cannot connect to " + st.asked(name) + ": " + detail
		f.Hint = st.reach(name)
	case rfc8555.ProblemTypeTLS:
		f.Reason = "the authority " + st.Authority() + " gets no answer for " + st.Challenge + " from " + st.asked(name) + ": " + detail
		f.Hint = st.reach(name) + ". Another server may answer there"
	case rfc8555.ProblemTypeDNS:
		f.Hint = "the name needs an A or AAAA record with the address of this machine, which everybody can resolve"
		if st.Challenge == DNS01 {
			f.Hint = "see whether the program of --acme-dns-command sets the TXT record _acme-challenge." + strings.TrimPrefix(name, "*.")
		}
	case rfc8555.ProblemTypeUnauthorized, rfc8555.ProblemTypeIncorrectResponse:
		if !ofName {
			f.Hint = "the account at the authority is not accepted: remove " + st.State + "/accounts, and reload"
			break
		}
		f.Reason = "the authority " + st.Authority() + " gets a wrong answer from " + st.asked(name) + ": " + detail
		f.Hint = "the name may lead to another machine (compare its A and AAAA records with the addresses of this one), or " + st.reach(name)
		if st.Challenge == DNS01 {
			f.Hint = "see whether the program of --acme-dns-command sets the TXT record _acme-challenge." + strings.TrimPrefix(name, "*.") + ", and waits until it can be seen"
		}
	case rfc8555.ProblemTypeRateLimited:
		f.Reason = "the authority " + st.Authority() + " issues no more certificates for now: " + detail
		f.Hint = "nothing: it will be tried again. Use --acme-staging for trials"
	case rfc8555.ProblemTypeCAA:
		f.Hint = "a CAA record of the name, or of its domain, names other authorities: add this one"
	case rfc8555.ProblemTypeRejectedIdentifier, rfc8555.ProblemTypeUnsupportedIdentifier:
		f.Hint = "this authority issues nothing for this name, for example because it is not a public one: remove it from --https-auto, or name another authority with --acme-directory"
	case rfc8555.ProblemTypeExternalAccountRequired:
		f.Reason = "the authority " + st.Authority() + " wants an account that it knows already: " + detail
		f.Hint = "write the key identifier and the key that it gave you into a file, and name that with --acme-external-account"
	case rfc8555.ProblemTypeInvalidContact, rfc8555.ProblemTypeUnsupportedContact:
		f.Reason = "the authority " + st.Authority() + " does not accept the address of --acme-email: " + detail
		f.Hint = "name another one with --acme-email"
	case rfc8555.ProblemTypeUserActionRequired:
		f.Reason = "the authority " + st.Authority() + " wants you to do something: " + detail
		if p.Instance != "" {
			f.Hint = "see " + oneLine(p.Instance)
		}
	case rfc8555.ProblemTypeServerInternal:
		f.Reason, f.Soon = "the authority "+st.Authority()+" has an error: "+detail, true
	default:
		f.Soon = p.Status >= 500 || p.Status == 0
	}
}

// kindOf returns the type of a problem. Some authorities give a name that cannot be
// resolved, or a port that is closed, the type of the check that it is part of.
func kindOf(p rfc8555.Problem, detail string, ofName bool) string {
	has := func(words ...string) bool {
		text := strings.ToLower(detail)
		return slices.ContainsFunc(words, func(w string) bool { return strings.Contains(text, w) })
	}
	switch {
	case !ofName || p.Type != rfc8555.ProblemTypeConnection && p.Type != rfc8555.ProblemTypeUnauthorized:
	case has("could not resolve", "no such host", "nxdomain", "servfail"):
		return rfc8555.ProblemTypeDNS
	case has("failed to connect", "connection refused", "no route to host"):
		return rfc8555.ProblemTypeConnection
	}
	return p.Type
}

// asked is what the authority asks for.
func (st *store) asked(name string) string {
	if st.Challenge == TLSALPN01 {
		return name + ", port 443"
	}
	return "http://" + name + "/.well-known/acme-challenge/"
}

// reach is how the authority reaches this server.
func (st *store) reach(name string) string {
	port, scheme := "80", "HTTP"
	if st.Challenge == TLSALPN01 {
		port, scheme = "443", "HTTPS"
	}
	text := "port " + port + " of " + name + " must lead to this server"
	if strconv.Itoa(st.Port) != port {
		text += ", which listens on port " + strconv.Itoa(st.Port)
	}
	return text + ": see firewalls and port forwarding (" + scheme + ")"
}

// innermost returns the last part of a chain of errors.
func innermost(err error) string {
	for {
		next := errors.Unwrap(err)
		if next == nil {
			return oneLine(err.Error())
		}
		if op, ok := err.(*net.OpError); ok { //nolint:errorlint // this one of the chain
			return oneLine(op.Error())
		}
		err = next
	}
}

// mostText is the number of bytes of such a text that is passed on.
const mostText = 1000

// oneLine returns text of a program or an authority for a log and a terminal.
func oneLine(s string) string {
	s = strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return ' '
		}
		return r
	}, s)
	s = strings.Join(strings.Fields(s), " ")
	if len(s) > mostText {
		s = strings.ToValidUTF8(s[:mostText], "") + " ..."
	}
	return s
}
