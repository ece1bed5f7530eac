package fetch

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"time"

	"modwsgi/internal/digest"
	"modwsgi/internal/httpc"
	"modwsgi/internal/recipe"
	"modwsgi/internal/run"
)

// aptDir is the directory inside an entry that apt downloads to.
const aptDir = "apt"

// fromDebian gets the archive from a Debian source package: one file of it, from the
// first suite and mirror that still has it. The file is checked twice, against the
// mirror's signed index and after the download.
func (f *Fetcher) fromDebian(ctx context.Context, s *search) (*File, error) {
	a, e, missing, q := s.archive, s.entry, s.missing, s.queue
	places := f.debianPlaces(a)
	if len(places) == 0 {
		return nil, nil
	}
	name := places[0]
	t := q.turn(f.opts.MinRate)
	if q.debian {
		t.rate = 0 // it was too slow, but no other has it
	}
	outer := ctx
	ctx, cancel := context.WithTimeoutCause(ctx, t.time, &httpc.Late{Limit: t.time})
	defer cancel()
	index, err := f.sourceIndex(ctx)
	if outer.Err() != nil {
		return nil, context.Cause(outer)
	}
	if err != nil {
		missing.add(Debian, name, err)
		return nil, nil
	}
	found := index.find(a.SHA256)
	if len(found) == 0 {
		missing.add(Debian, name, errors.New("no suite of the mirror has a source package with this file"))
	}
	for _, src := range found {
		file, err := f.takeFrom(ctx, a, e, index, src, s.progress, t.rate)
		var local *localError
		var bad *BadSignature
		switch {
		case outer.Err() != nil:
			return nil, context.Cause(outer)
		case errors.As(err, &local):
			return nil, cacheFault(e.dir, local.err)
		case file != nil:
			return file, nil
		case errors.As(err, &bad):
			return nil, err
		}
		q.debian = q.debian || httpc.TooSlow(err)
		missing.add(Debian, fmt.Sprintf("%s (%s)", httpc.RedactText(src.URL), src.Suite), err)
	}
	return nil, nil
}

// takeFrom downloads, verifies and places the file, with its signature if the source
// package has one.
func (f *Fetcher) takeFrom(ctx context.Context, a recipe.Archive, e *entry, index *sourceIndex, src indexFile, p *progress, rate int64) (*File, error) {
	// Use a separate directory: apt renames what fails.
	dir := e.path(aptDir)
	defer func() { _ = e.root.RemoveAll(aptDir) }()
	if err := errors.Join(e.root.RemoveAll(aptDir), e.root.Root().Mkdir(aptDir, 0o700)); err != nil {
		return nil, &localError{err}
	}
	archive, signature := filepath.Join(dir, "archive"), filepath.Join(dir, "archive.asc")
	if err := f.aptDownload(ctx, index, src, archive, p, rate); err != nil {
		return nil, err
	}
	if err := verifyFile(archive, a, digest.OpenHere); err != nil {
		return nil, err
	}
	signer := ""
	if sig, ok := index.beside(src); ok && signersOf(a.Component) != "" && sig.Size <= maxSignature {
		sctx, cancel := context.WithTimeout(ctx, signatureTimeout)
		defer cancel()
		quiet := &progress{}
		if err := f.aptDownload(sctx, index, sig, signature, quiet, 0); err == nil {
			if signer, err = f.checkSignatureFile(a, archive, signature); err != nil {
				return nil, err
			}
		}
	}
	if signer != "" {
		if err := e.rename(signature, a.File+".asc"); err != nil {
			return nil, &localError{err}
		}
	}
	path, err := e.place(archive, a)
	if err != nil {
		return nil, &localError{err}
	}
	e.drop(partialName)
	return &File{Path: path, Archive: a, Provider: Debian, From: httpc.RedactText(src.URL) + " (" + src.Suite + ")", Trust: a.Trust, Signer: signer}, nil
}

// aptDownload has apt get one file, with apt's proxies, credentials and transports. apt
// does not limit what a server sends, so the size is monitored.
func (f *Fetcher) aptDownload(ctx context.Context, index *sourceIndex, src indexFile, target string, p *progress, rate int64) error {
	if u, err := url.Parse(src.URL); err != nil || u.Scheme == "" {
		return fmt.Errorf("invalid address of the mirror: %q", httpc.RedactText(src.URL))
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	proc, err := f.opts.Runner.Start(ctx, run.Cmd{
		Argv: []string{aptHelper, "download-file", src.URL, target, "SHA256:" + src.SHA256},
		Env:  f.aptEnv(index.conf),
	})
	if err != nil {
		return err
	}
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	since, had := time.Now(), int64(0)
	for {
		select {
		case <-proc.Done():
			if err := proc.Wait(); err != nil {
				if cause := context.Cause(ctx); cause != nil {
					return cause
				}
				return aptReason(err)
			}
			return syncFile(target)
		case <-tick.C:
			size := int64(0)
			if fi, err := os.Stat(target); err == nil {
				size = fi.Size()
				if size > src.Size {
					cancel(fmt.Errorf("the server sends more than %d bytes", src.Size))
				}
				p.bytes(min(size, src.Size), src.Size)
			}
			// apt does not report a server that sends a byte now and then.
			if spent := time.Since(since); spent >= f.opts.StallTimeout && size < src.Size {
				if float64(size-had) < float64(rate)*spent.Seconds() {
					cancel(&httpc.Slow{Got: size - had, Over: spent, Rate: rate})
				}
				since, had = time.Now(), size
			}
		}
	}
}

func syncFile(path string) error {
	file, err := digest.OpenHere(path)
	if err != nil {
		return &localError{err}
	}
	defer file.Close()
	if err := file.Chmod(0o600); err != nil {
		return &localError{err}
	}
	if err := file.Sync(); err != nil {
		return &localError{err}
	}
	return nil
}
