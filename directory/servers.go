package directory

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"time"

	"github.com/go-ldap/ldap/v3"
)

const (
	maxQuestions = 16               // at the same time, and so connections to a server
	leftOut      = 30 * time.Second // how long others are asked before a server that was away
	pause        = time.Second      // before a server that was away is asked again, if no other is left
	refusedPause = time.Minute      // the same after a refused login, which can lock the account
	maxFits      = 10               // entries for one question about one person
	page         = 500              // entries in one message (RFC 2696)
)

// servers are asked in order until one answers.
type servers struct {
	list     []*server
	startTLS bool
	bindDN   string
	password string
	log      *slog.Logger
	slots    chan struct{}
}

// errAway is the error where no server answered.
var errAway = errors.New("no LDAP server answers")

// search asks for entries. With an error from the size limit come those that
// the server gave before it: never the whole answer.
func (s *servers) search(ctx context.Context, request *ldap.SearchRequest) ([]*ldap.Entry, error) {
	return s.ask(ctx, func(c *ldap.Conn) (*ldap.SearchResult, error) { return c.Search(request) })
}

// searchAll asks page by page, for at most limit entries.
func (s *servers) searchAll(ctx context.Context, request *ldap.SearchRequest, limit int) ([]*ldap.Entry, error) {
	var all []*ldap.Entry
	return s.ask(ctx, func(c *ldap.Conn) (*ldap.SearchResult, error) {
		all = nil // another server begins anew
		paging := ldap.NewControlPaging(page)
		for {
			part := *request
			part.Controls = []ldap.Control{paging}
			result, err := c.Search(&part)
			if err != nil {
				return nil, err
			}
			if all = append(all, result.Entries...); len(all) > limit {
				return nil, fmt.Errorf("more than %d entries fit", limit)
			}
			next, ok := ldap.FindControl(result.Controls, ldap.ControlTypePaging).(*ldap.ControlPaging)
			if !ok || len(next.Cookie) == 0 {
				result.Entries = all
				return result, nil
			}
			paging.SetCookie(next.Cookie)
		}
	})
}

// ask puts a question to the first server that answers. While there is another
// one to ask, a server gets its share of the time only. Referrals are not
// followed: they would lead to servers that nobody configured.
func (s *servers) ask(ctx context.Context, question func(*ldap.Conn) (*ldap.SearchResult, error)) ([]*ldap.Entry, error) {
	select {
	case s.slots <- struct{}{}:
		defer func() { <-s.slots }()
	case <-ctx.Done():
		return nil, fmt.Errorf("waiting for the directory: %w", ctx.Err())
	}
	candidates, why := s.candidates(time.Now())
	for i, sv := range candidates {
		attempt, cancel := share(ctx, len(candidates)-i)
		result, err := sv.ask(attempt, s, question)
		cancel()
		if !isAway(err) {
			sv.answered(s.log)
			if result == nil {
				return nil, err
			}
			return result.Entries, err
		}
		if errors.Is(ctx.Err(), context.Canceled) {
			return nil, ctx.Err() // nobody waits any more; it says nothing of the server
		}
		sv.failed(s.log, s.bindDN, err)
		why = append(why, sv.url+": "+err.Error())
		if ctx.Err() != nil {
			break
		}
	}
	return nil, fmt.Errorf("%w: %s", errAway, strings.Join(why, "; "))
}

// candidates are the servers to ask, those that were away lately last or not at
// all, and what went wrong with the ones that are left out.
func (s *servers) candidates(now time.Time) (ask []*server, why []string) {
	var away []*server
	for _, sv := range s.list {
		switch asked, err := sv.turn(now); {
		case asked == first:
			ask = append(ask, sv)
		case asked == later:
			away = append(away, sv)
		default:
			why = append(why, sv.url+": "+err.Error())
		}
	}
	return slices.Concat(ask, away), why
}

// share gives a server its part of the time that is left for n servers.
func share(ctx context.Context, n int) (context.Context, context.CancelFunc) {
	deadline, ok := ctx.Deadline()
	if !ok || n == 1 {
		return context.WithCancel(ctx)
	}
	return context.WithTimeout(ctx, time.Until(deadline)/time.Duration(n))
}

// isAway tells a server that could not answer from one that did: another one
// may know more.
func isAway(err error) bool {
	return errors.Is(err, errConnection) || ldap.IsErrorAnyOf(err, ldap.ErrorNetwork, ldap.ErrorUnexpectedResponse,
		ldap.ErrorUnexpectedMessage, ldap.ErrorMalformedPacket, ldap.LDAPResultBusy, ldap.LDAPResultUnavailable,
		ldap.LDAPResultUnwillingToPerform, ldap.LDAPResultOperationsError, ldap.LDAPResultProtocolError, ldap.LDAPResultOther,
		ldap.LDAPResultStrongAuthRequired, ldap.LDAPResultConfidentialityRequired)
}

// close gives back the connections.
func (s *servers) close() {
	for _, sv := range s.list {
		sv.closeIdle(true)
	}
}
