package csc

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"net/url"
	"strings"
	"time"
)

// maxAnswer bounds what is read of an answer, in bytes: the largest are chains of
// certificates, and CMS.
const maxAnswer = 1 << 20

// backOff is how long a reading call waits before its second try.
const backOff = 300 * time.Millisecond

// call is one POST.
type call struct {
	name    string // "signatures/signHash"
	url     string
	media   string
	body    []byte
	bearer  Secret
	basic   bool     // with client id and secret
	reading bool     // changes nothing there, so it may be tried twice
	secrets []Secret // in body; they must not come back in an error
}

// answer is what a provider said.
type answer struct {
	status int
	body   []byte // JSON; nil for status 204
}

// fail makes an error of a call.
func (c *Client) fail(name string, reason Reason, err error) *Error {
	return &Error{Reason: reason, Provider: c.p.Name, Call: name, Err: err}
}

// post makes a call, twice if it is a reading one and the provider is away. The
// error is an *Error.
func (c *Client) post(ctx context.Context, k call) (*answer, error) {
	a, err := c.once(ctx, k)
	var e *Error
	if !k.reading || !errors.As(err, &e) || e.Reason != Away || ctx.Err() != nil {
		return a, err
	}
	select {
	case <-ctx.Done():
		return nil, err
	case <-time.After(backOff):
	}
	return c.once(ctx, k)
}

func (c *Client) once(ctx context.Context, k call) (*answer, error) {
	ctx, cancel := context.WithTimeout(ctx, c.p.Timeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, k.url, bytes.NewReader(k.body))
	if err != nil {
		return nil, c.fail(k.name, Misconfigured, err)
	}
	req.Header.Set("Content-Type", k.media)
	req.Header.Set("Accept", "application/json")
	switch {
	case k.basic:
		// RFC 6749, 2.3.1: both are form-encoded first.
		req.SetBasicAuth(url.QueryEscape(c.p.ClientID), url.QueryEscape(string(c.p.Secret)))
	case k.bearer != "":
		req.Header.Set("Authorization", "Bearer "+string(k.bearer))
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return nil, c.fail(k.name, Away, err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer+1))
	switch {
	case err != nil:
		e := c.fail(k.name, Away, fmt.Errorf("reading the answer: %w", err))
		e.Status = resp.StatusCode
		return nil, e
	case len(body) > maxAnswer:
		return nil, c.fail(k.name, WrongAnswer, fmt.Errorf("answer of more than %d bytes", maxAnswer))
	}
	return c.judge(k, resp, body)
}

// judge tells answers from errors.
func (c *Client) judge(k call, resp *http.Response, body []byte) (*answer, error) {
	status := resp.StatusCode
	switch {
	case status == http.StatusNoContent:
		return &answer{status: status}, nil
	case status == http.StatusOK, status == http.StatusCreated, status == http.StatusAccepted:
		kind, _, _ := mime.ParseMediaType(resp.Header.Get("Content-Type"))
		if kind != "application/json" {
			e := c.fail(k.name, WrongAnswer, fmt.Errorf("answers with %q, want application/json", clean(kind, maxCode)))
			e.Status = status
			return nil, e
		}
		return &answer{status, body}, nil
	case status < 400:
		e := c.fail(k.name, WrongAnswer, errors.New("neither an answer nor an error; redirects are not followed"))
		e.Status = status
		return nil, e
	}
	e := c.fail(k.name, "", nil)
	e.Status = status
	// Basic's value is no secret's form, so it is one of its own.
	_, basic, _ := strings.Cut(resp.Request.Header.Get("Authorization"), " ")
	e.Code, e.Said = errorAnswer(body, append(k.secrets, k.bearer, c.p.Secret, Secret(basic)))
	e.Reason = reasonFor(status, e.Code, e.Said)
	if status == http.StatusTooManyRequests || status == http.StatusServiceUnavailable {
		e.RetryAfter = retryAfter(resp.Header.Get("Retry-After"), c.now())
	}
	return nil, e
}

// decode reads an answer's JSON, the whole of it and nothing behind it. Fields that
// nobody here knows are passed over: providers add their own.
func (c *Client) decode(name string, a *answer, into any) error {
	if a.body == nil {
		return c.fail(name, WrongAnswer, errors.New("no content"))
	}
	if err := json.Unmarshal(a.body, into); err != nil {
		// The decoder's errors can quote the answer, tokens included.
		return c.fail(name, WrongAnswer, fmt.Errorf("no JSON of the expected form (%T)", err))
	}
	return nil
}

// method calls an API method with a token: user's, or the service's own if user is
// nil. A refused token of our own is fetched anew, once; only a reading call is
// then made again.
func (c *Client) method(ctx context.Context, user *Token, k call, params any, into any) (*answer, error) {
	var err error
	if k.body, err = json.Marshal(params); err != nil {
		return nil, c.fail(k.name, Misconfigured, err)
	}
	k.url, k.media = c.p.URL+"/"+k.name, "application/json"
	token := user
	if user == nil {
		if token, err = c.own(ctx); err != nil {
			return nil, err
		}
	} else if !c.now().Before(user.Expires) {
		return nil, c.fail(k.name, Expired, errors.New("the token's time is over"))
	}
	k.bearer = token.value
	a, err := c.post(ctx, k)
	var e *Error
	if errors.As(err, &e) && e.Status == http.StatusUnauthorized && user == nil {
		c.forget(token)
		if k.reading {
			if token, err = c.own(ctx); err != nil {
				return nil, err
			}
			k.bearer = token.value
			a, err = c.post(ctx, k)
		}
	}
	if err != nil {
		return nil, err
	}
	if into == nil || a.status == http.StatusNoContent {
		return a, nil
	}
	return a, c.decode(k.name, a, into)
}
