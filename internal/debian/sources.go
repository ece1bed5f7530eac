package debian

import (
	"bufio"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"modwsgi/internal/digest"
	"modwsgi/internal/fault"
	"modwsgi/internal/fetch"
	"modwsgi/internal/httpc"
	"modwsgi/internal/recipe"
)

// Sources returns the upstream archives of the wanted source packages in a suite, and the
// fingerprint of the key that signed the suite's index. The index is always asked for
// anew. Errors are those of [Archive.Suite].
func (a *Archive) Sources(ctx context.Context, suite string, wanted map[string]bool) ([]fetch.SourceFile, string, error) {
	var reasons []error
	for _, m := range a.mirrors {
		files, signer, err := a.readSources(ctx, m, suite, wanted)
		if ctx.Err() != nil {
			return nil, "", context.Cause(ctx)
		}
		if err == nil {
			return files, signer, nil
		}
		reasons = append(reasons, fmt.Errorf("%s: %w", httpc.RedactText(m.Base), err))
	}
	err := errors.Join(reasons...)
	return nil, "", fault.New(fault.Source, fault.HintOr(err, "check the network, or name another mirror of Debian"), "read the source index of Debian's suite %s: %w", suite, err)
}

func (a *Archive) readSources(ctx context.Context, m fetch.Mirror, suite string, wanted map[string]bool) ([]fetch.SourceFile, string, error) {
	base := strings.TrimSuffix(m.Base, "/")
	dists := base + "/dists/" + suite
	var r *release
	if _, err := a.fetcher.Text(ctx, dists+"/InRelease", true, func(data []byte) (err error) {
		r, err = a.release(m, suite, data)
		return err
	}); err != nil {
		return nil, "", err
	}
	index, ok := r.files["main/source/Sources.gz"]
	if !ok {
		return nil, "", &NoSuite{suite, "source"}
	}
	at := dists + "/main/source"
	file, err := a.fetcher.FetchIndexed(ctx, recipe.Archive{
		Component: "Debian " + suite, Version: "source index", File: "Sources-" + suite + ".gz", Size: index.size, SHA256: index.sha256,
		URLs: []string{at + "/by-hash/SHA256/" + index.sha256, at + "/Sources.gz"}, Trust: recipe.Signed,
	})
	if err != nil {
		return nil, "", err
	}
	f, err := digest.OpenHere(file.Path)
	if err != nil {
		return nil, "", err
	}
	defer func() { _ = f.Close() }()
	sum := digest.NewReader(f)
	z, err := gzip.NewReader(bufio.NewReaderSize(sum, 256<<10))
	if err != nil {
		return nil, "", err
	}
	files, err := fetch.ParseSources(io.LimitReader(z, maxIndex), base, suite, wanted)
	if err == nil {
		_, err = io.Copy(io.Discard, sum)
	}
	if err == nil && sum.Sum() != index.sha256 {
		err = &digest.Changed{File: file.Path, Want: index.sha256, Got: sum.Sum()}
	}
	return files, r.signer, err
}
