package prove

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"syscall"
	"time"
	"unicode"

	"modwsgi/internal/run"
)

func gaveUp(ctx context.Context, limit time.Duration) error {
	if err := context.Cause(ctx); !errors.Is(err, context.DeadlineExceeded) {
		return err
	}
	return fmt.Errorf("the throwaway server did not answer within %s", limit)
}

// ask polls until the application answers, the server ends or the time is up.
func ask(ctx context.Context, server *run.Process, t *throwaway, limit time.Duration) (*Proof, error) {
	client := &http.Client{
		Timeout: limit - limit/6,
		// Another user's environment must not send root's requests elsewhere.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		Transport:     &http.Transport{DisableKeepAlives: true, DialContext: (&net.Dialer{Timeout: 5 * time.Second}).DialContext},
	}
	url := "http://" + t.address + "/" + t.secret
	for wait := 5 * time.Millisecond; ; wait = min(2*wait, 200*time.Millisecond) {
		select {
		case <-server.Done():
			if err := server.Wait(); err != nil {
				return nil, fmt.Errorf("the throwaway server ended before it answered: %w", err)
			}
			return nil, errors.New("the throwaway server ended before it answered")
		case <-ctx.Done():
			return nil, gaveUp(ctx, limit)
		case <-time.After(wait):
		}
		proof, err := get(ctx, client, url, t.nonce)
		if proof != nil {
			return proof, nil
		}
		if ctx.Err() != nil {
			return nil, gaveUp(ctx, limit)
		}
		if err != nil && !errors.Is(err, syscall.ECONNREFUSED) && !errors.Is(err, syscall.ECONNRESET) {
			return nil, err
		}
	}
}

func get(ctx context.Context, client *http.Client, url, nonce string) (*Proof, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return nil, err
	}
	resp, err := client.Do(req)
	if err != nil {
		return nil, err
	}
	defer func() { _ = resp.Body.Close() }()
	body, err := io.ReadAll(io.LimitReader(resp.Body, 64<<10))
	if err != nil {
		return nil, err
	}
	if resp.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("the application answered %s", resp.Status)
	}
	var answer struct {
		Proof
		Nonce string `json:"nonce"`
		Group string `json:"group"`
	}
	if err := json.Unmarshal(body, &answer); err != nil || answer.Nonce != nonce {
		return nil, errors.New("something else answered on the port of the throwaway server")
	}
	if answer.Group != "verify" {
		return nil, fmt.Errorf("the application ran in process group %q, not in its daemon process", answer.Group)
	}
	if p := answer.Proof; !plain(p.Prefix) || !plain(p.PythonVersion) || !plain(p.ModuleVersion) || !plain(p.Server) {
		return nil, errors.New("the application did not answer in plain text")
	}
	return &answer.Proof, nil
}

// plain reports whether a text is safe to show.
func plain(s string) bool {
	return len(s) <= 4096 && !strings.ContainsFunc(s, func(r rune) bool { return !unicode.IsPrint(r) })
}
