package catalogue

import (
	"encoding/json"
	"errors"
	"fmt"

	"github.com/theupdateframework/go-tuf/v2/metadata"

	"modwsgi/internal/fault"
)

// Rejected is the error for metadata or a catalogue that a repository has, but that is
// not valid.
type Rejected struct {
	Why    Reason
	Detail string // the library's message, without its name of the kind
	Err    error  // the library's
}

// Reason is why something is rejected.
type Reason string

// The reasons.
const (
	Stale     Reason = "its signed metadata has expired"
	Rollback  Reason = "it offers older metadata than before"
	Unsigned  Reason = "a signature is missing or wrong"
	Mismatch  Reason = "a file does not match its signed length and hash"
	Malformed Reason = "its metadata is not valid"
)

func (r *Rejected) Error() string { return fmt.Sprintf("%s (%s)", r.Why, r.Detail) }

func (r *Rejected) Unwrap() error { return r.Err }

// Hint returns what to do about it.
func (r *Rejected) Hint() string {
	switch r.Why {
	case Stale:
		return "the repository is not maintained, or somebody keeps newer metadata from you: check the clock, try another network, and ask whoever runs the repository"
	case Rollback:
		return "the repository was restored from a backup, or somebody shows you an old copy of it: try another network, and ask whoever runs the repository"
	case Unsigned:
		return "this is another repository than the trusted one, or somebody has changed it: check the address and --root, and ask whoever runs the repository"
	}
	return "try again later, as the repository may be changing; if that does not help, ask whoever runs it"
}

// explain turns an error of the library into one for people.
func explain(err error) error {
	var (
		done    *Rejected
		expired *metadata.ErrExpiredMetadata
		version *metadata.ErrBadVersionNumber
		sign    *metadata.ErrUnsignedMetadata
		hash    *metadata.ErrLengthOrHashMismatch
		other   *metadata.ErrRepository
		value   *metadata.ErrValue
		kind    *metadata.ErrType
		syntax  *json.SyntaxError
		field   *json.UnmarshalTypeError
	)
	switch {
	case errors.As(err, &done):
		return err
	case errors.As(err, &expired):
		return &Rejected{Stale, expired.Msg, err}
	case errors.As(err, &version):
		return &Rejected{Rollback, version.Msg, err}
	case errors.As(err, &sign):
		return &Rejected{Unsigned, sign.Msg, err}
	case errors.As(err, &hash):
		return &Rejected{Mismatch, hash.Msg, err}
	case errors.As(err, &other):
		return &Rejected{Malformed, other.Msg, err}
	case errors.As(err, &value):
		return &Rejected{Malformed, value.Msg, err}
	case errors.As(err, &kind):
		return &Rejected{Malformed, kind.Msg, err}
	case errors.As(err, &syntax) || errors.As(err, &field):
		return &Rejected{Malformed, err.Error(), err}
	}
	return err
}

// hint returns what to do about a failed update.
func hint(err error) string {
	return fault.HintOr(explain(err), "check the network and the address; the present catalogue is still used")
}
