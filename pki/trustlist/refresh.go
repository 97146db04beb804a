package trustlist

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"time"
)

const (
	maxRedirects = 5
	retryAfter   = time.Second
)

// Refresh downloads the list of the lists and those that it points to, verifies
// them, and keeps those that are newer. A download that fails, or brings a list that does
// not count, leaves the old list in place, which counts until its NextUpdate. The
// error joins an *Error for each list that could not be refreshed. Without an
// address of the list of the lists nothing is fetched: the folder is read again.
//
// Only https is followed, in redirects, too. That is not what makes lists trustworthy, their
// signatures do; it keeps others from seeing what is fetched.
func (l *Lists) Refresh(ctx context.Context) error {
	if l.c.LOTL == "" {
		if err := l.Reload(); err != nil {
			return fmt.Errorf("reading trusted lists: %w", err)
		}
		return nil
	}
	if err := l.download(ctx); err != nil {
		return fmt.Errorf("refreshing trusted lists: %w", err)
	}
	return nil
}

func (l *Lists) download(ctx context.Context) error {
	l.refresh.Lock()
	defer l.refresh.Unlock()
	f, err := openFolder(l.c.Folder)
	if err != nil {
		return err
	}
	lotl, problem := l.renewLOTL(ctx, f)
	problems := []error{problem}
	all, order := map[string]*standing{lotlTerritory: lotl}, []string{lotlTerritory}
	if lotl.list != nil {
		for _, p := range l.wanted(lotl.list) {
			all[p.territory], problem = l.renew(ctx, f, p)
			order, problems = append(order, p.territory), append(problems, problem)
		}
	}
	problems = append(problems, f.save())
	l.show(all, order)
	return errors.Join(problems...)
}

// renewLOTL renews the list of the lists. When it is signed by nobody who is known, its
// signers may have changed: then its pivots are asked.
func (l *Lists) renewLOTL(ctx context.Context, f *folder) (*standing, error) {
	turns, err := f.pivots()
	if err != nil {
		return &standing{err: &Error{ListMissing, lotlTerritory, err}}, err
	}
	p := pointer{territory: lotlTerritory, location: l.c.LOTL}
	p.signers, _ = l.pivots(turns)
	lotl, problem := l.renew(ctx, f, p)
	var e *Error
	if !errors.As(problem, &e) || e.Reason != ListTampered {
		return lotl, problem
	}
	raw, _, err := l.fetch(ctx, p, mark{})
	if err != nil {
		return lotl, problem
	}
	signers, err := l.fetchPivots(ctx, f, raw)
	if signers == nil || slices.EqualFunc(signers, p.signers, (*x509.Certificate).Equal) {
		return lotl, errors.Join(problem, err)
	}
	p.signers = signers
	return l.renew(ctx, f, p)
}

// renew gives the newest list of a territory that counts: the one on the server,
// or else the one in the folder, with what kept the other from being taken.
func (l *Lists) renew(ctx context.Context, f *folder, p pointer) (*standing, error) {
	old := l.load(f, p.territory, p.signers)
	raw, head, err := l.fetch(ctx, p, f.condition(p, old))
	switch {
	case err != nil:
		return old, &Error{ListUnreachable, p.territory, err}
	case raw == nil:
		return old, nil // not modified
	}
	fresh := l.judge(f, raw, p.territory, p.signers)
	if fresh.err != nil {
		return old, fresh.err
	}
	if old.list == nil || old.list.sum != fresh.list.sum {
		if err := f.put(p.territory, raw); err != nil {
			return fresh, &Error{ListUnreachable, p.territory, fmt.Errorf("keeping the list: %w", err)}
		}
	}
	// Only now: an old file beside the mark of a newer one would count as rolled back.
	f.seen(fresh.list)
	f.from(p.territory, p.location, head.Get("ETag"), head.Get("Last-Modified"))
	return fresh, nil
}

// condition is what a request asks the server to compare with: only where the file
// is the very one that came from there.
func (f *folder) condition(p pointer, old *standing) mark {
	m := f.seenNow[p.territory]
	if old.list == nil || old.list.sum != m.SHA256 || m.From != p.location {
		return mark{}
	}
	return m
}

// fetch gives a list's bytes, or none if the server says that they are the same.
// It tries twice.
func (l *Lists) fetch(ctx context.Context, p pointer, have mark) (raw []byte, head http.Header, err error) {
	if err := checkAddress(p.location); err != nil {
		return nil, nil, err
	}
	for try := range 2 {
		if try > 0 {
			select {
			case <-ctx.Done():
				return nil, nil, errors.Join(ctx.Err(), err)
			case <-time.After(retryAfter):
			}
		}
		if raw, head, err = l.once(ctx, p.location, have); err == nil {
			break
		}
	}
	return raw, head, err
}

func (l *Lists) once(ctx context.Context, url string, have mark) ([]byte, http.Header, error) {
	ctx, cancel := context.WithTimeout(ctx, l.c.Timeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return nil, nil, err
	}
	if have.ETag != "" {
		req.Header.Set("If-None-Match", have.ETag)
	}
	if have.Modified != "" {
		req.Header.Set("If-Modified-Since", have.Modified)
	}
	resp, err := l.c.Client.Do(req)
	if err != nil {
		return nil, nil, err
	}
	defer resp.Body.Close()
	switch {
	case resp.StatusCode == http.StatusNotModified && have.SHA256 != "":
		return nil, resp.Header, nil
	case resp.StatusCode != http.StatusOK:
		return nil, nil, fmt.Errorf("%s answers %s", url, resp.Status)
	}
	raw, err := readAll(resp.Body, maxList)
	if err != nil {
		return nil, nil, fmt.Errorf("reading %s: %w", url, err)
	}
	return raw, resp.Header, nil
}

func checkAddress(address string) error {
	u, err := url.Parse(address)
	if err != nil {
		return err
	}
	if u.Scheme != "https" || u.Host == "" || u.User != nil {
		return fmt.Errorf("%s: only https is fetched; put the list into the folder by hand", u.Redacted())
	}
	return nil
}

// client is a copy of a client that follows redirects to https only.
func client(of *http.Client) *http.Client {
	c := &http.Client{}
	if of != nil {
		*c = *of
	}
	c.CheckRedirect = func(req *http.Request, via []*http.Request) error {
		if len(via) >= maxRedirects {
			return fmt.Errorf("more than %d redirects", maxRedirects)
		}
		return checkAddress(req.URL.String())
	}
	return c
}
