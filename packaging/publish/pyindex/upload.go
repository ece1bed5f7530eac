package pyindex

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"mime/multipart"
	"net/http"
	"net/textproto"
	"regexp"
	"strings"

	"modwsgi/internal/fault"
	"modwsgi/internal/httpc"
	"modwsgi/packaging/publish"
)

// refused is an answer to an upload that is not a success.
type refused struct {
	Status int
	Text   string // the server's, shortened
}

func (r *refused) Error() string {
	text := fmt.Sprintf("the index answers %d %s", r.Status, http.StatusText(r.Status))
	if r.Text != "" {
		text += " (" + r.Text + ")"
	}
	return text
}

// send uploads one file once.
func (x *Index) send(ctx context.Context, d *dist) error {
	f, err := x.set.Open(d.artifact.Name)
	if err != nil {
		return httpc.Final(err)
	}
	defer func() { _ = f.Close() }()
	var head, tail bytes.Buffer
	w := multipart.NewWriter(&head)
	for _, field := range d.form {
		if err := w.WriteField(field[0], field[1]); err != nil {
			return err
		}
	}
	if _, err := w.CreatePart(textproto.MIMEHeader{
		"Content-Disposition": {fmt.Sprintf(`form-data; name="content"; filename="%s"`, d.artifact.Name)},
		"Content-Type":        {"application/octet-stream"},
	}); err != nil {
		return err
	}
	fmt.Fprintf(&tail, "\r\n--%s--\r\n", w.Boundary())
	open := func() io.Reader {
		return io.MultiReader(bytes.NewReader(head.Bytes()), f.Checked(), bytes.NewReader(tail.Bytes()))
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, x.upload.String(), io.NopCloser(open()))
	if err != nil {
		return httpc.Final(err)
	}
	// Some servers refuse a body without a length.
	req.ContentLength = int64(head.Len()) + f.Size + int64(tail.Len())
	req.GetBody = func() (io.ReadCloser, error) { return io.NopCloser(open()), nil }
	req.Header.Set("Content-Type", w.FormDataContentType())
	req.Header.Set("User-Agent", agent)
	if x.login.some() {
		req.SetBasicAuth(x.login.user, x.login.password)
	}
	resp, err := x.sender.Do(req)
	if err != nil {
		if fault.ClassOf(err) == fault.Verify {
			return httpc.Final(httpc.Plain(err))
		}
		if err = httpc.Plain(err); httpc.RefusedForGood(err) {
			return httpc.Final(err)
		}
		return err
	}
	defer func() { _ = resp.Body.Close() }()
	return x.judge(resp)
}

// judge returns nil for a success.
func (x *Index) judge(resp *http.Response) error {
	if resp.StatusCode >= 200 && resp.StatusCode < 300 {
		_, err := io.Copy(io.Discard, io.LimitReader(resp.Body, 64<<10))
		return err
	}
	if to, err := resp.Location(); err == nil && resp.StatusCode < 400 {
		return httpc.Final(&httpc.RedirectError{Text: "the index redirects uploads to " + httpc.Redact(to) + ", which are not followed"})
	}
	data, _ := io.ReadAll(io.LimitReader(resp.Body, 4<<10))
	answer := &refused{resp.StatusCode, x.login.hide(words(resp, data))}
	if err := httpc.NewStatusError(resp); errors.As(err, new(httpc.Permanent)) {
		return httpc.Final(answer)
	} else if status := new(httpc.StatusError); errors.As(err, &status) {
		return &unsettled{answer, status}
	}
	return answer
}

// unsettled is an answer after which another attempt may succeed.
type unsettled struct {
	*refused
	status *httpc.StatusError // with how long to wait
}

func (u *unsettled) Unwrap() []error { return []error{u.refused, u.status} }

var tags = regexp.MustCompile(`(?s)<(style|script|head)\b.*?</(style|script|head)>|<[^>]*>`)

// words are the reason in an answer: PyPI has it in the status line, others in the body.
func words(resp *http.Response, body []byte) string {
	_, reason, _ := strings.Cut(resp.Status, " ")
	if reason == http.StatusText(resp.StatusCode) {
		reason = ""
	}
	text := reason
	if text == "" {
		text = tags.ReplaceAllString(string(body), " ")
	}
	text = strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f || r == '\ufffd' {
			return ' '
		}
		return r
	}, text)
	return fmt.Sprintf("%.200s", strings.Join(strings.Fields(text), " "))
}

// put uploads a file, with retries. If an answer got lost, the file may be there already,
// and the index refuses it: so it is looked for before an error is reported.
func (x *Index) put(ctx context.Context, d *dist) error {
	err := x.retry().Do(ctx, func() (bool, error) { return false, x.send(ctx, d) })
	if err == nil {
		return nil
	}
	if fault.ClassOf(err) == fault.Verify || ctx.Err() != nil {
		return err
	}
	if state, reason, lerr := x.look(ctx, d); lerr == nil && state == publish.Present {
		return nil
	} else if lerr == nil && state == publish.Conflict {
		return fault.New(fault.Usage, "another run has published it meanwhile; make the artifacts again with another version", "upload %s: %s", d.artifact.Name, reason)
	}
	return x.problem("upload "+d.artifact.Name+" to "+httpc.Redact(x.upload), err)
}

// problem is the error for a failed request.
func (x *Index) problem(what string, err error) error {
	hint := "run the same command again: what was uploaded is skipped"
	status := 0
	var answer *refused
	var other *httpc.StatusError
	if errors.As(err, &answer) {
		status = answer.Status
	} else if errors.As(err, &other) {
		status = other.Status
	}
	switch {
	case status == http.StatusUnauthorized || status == http.StatusForbidden:
		hint = "set " + TokenVariable + ", or " + UserVariable + " and " + PasswordVariable + ", or pass --index-token-file"
		if x.login.some() {
			hint = "check the credentials (from " + x.login.from + ") and what they allow"
		}
	case status == http.StatusRequestEntityTooLarge:
		hint = "the index limits the size of files; ask its operators for more"
	case status == http.StatusNotFound || status == http.StatusMethodNotAllowed:
		hint = "check the address: --index-url is that of the upload API, as in https://upload.pypi.org/legacy/"
	case status == http.StatusBadRequest || status == http.StatusConflict:
		hint = "the index refuses this file; its answer names the reason"
	case errors.As(err, new(*httpc.RedirectError)):
		hint = "pass the address that the index redirects to, if you trust it"
	case httpc.Untrusted(err):
		hint = "pass the certificate of the index's authority with --ca"
	case httpc.WithoutTLS(err):
		hint = "check the scheme of the address: the server does not use TLS"
	case httpc.Unreachable(err):
		hint = "check the address and the network, then run the same command again"
	}
	return fault.New(fault.Source, hint, "%s: %w", what, err)
}
