package registry

import (
	"errors"
	"net"
	"net/http"

	"github.com/google/go-containerregistry/pkg/v1/remote/transport"

	"modwsgi/internal/httpc"
)

// Hint tells what to do about an answer of a registry. ca and insecure are the options for
// a certificate of its authority and for one without TLS; other is the hint if nothing is
// known about the error.
func Hint(err error, ca, insecure, other string) string {
	var answer *transport.Error
	var op *net.OpError
	switch {
	case errors.As(err, &answer) && answer.StatusCode == http.StatusUnauthorized:
		return "log in first, with docker login or podman login; DOCKER_CONFIG or REGISTRY_AUTH_FILE names the location of the credentials"
	case errors.As(err, &answer) && answer.StatusCode == http.StatusForbidden:
		return "log in with an account that may do this"
	case errors.As(err, &answer) && answer.StatusCode == http.StatusNotFound:
		return "check the name and the tag"
	case httpc.Untrusted(err):
		return "pass the certificate of the registry's authority with " + ca
	case httpc.WithoutTLS(err):
		return "pass " + insecure + " for a registry without TLS"
	case errors.As(err, &op) && op.Op == "dial":
		return "check that the registry is running and that its address is right"
	}
	return other
}
