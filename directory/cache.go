package directory

import (
	"context"
	"errors"
	"fmt"
	"time"

	lru "github.com/hashicorp/golang-lru/v2"
	"golang.org/x/sync/singleflight"
)

// What is kept at most, those that were not asked for the longest go first: some
// 10 MB of people, and usually less of groups, members and certificates.
const (
	maxPeople = 20000
	maxLists  = 1000
)

// maxNo is how long an answer of no is kept: who is entered now wants to be
// found soon.
const maxNo = 30 * time.Second

// answers keeps what the directory said. Nothing is kept of a directory that
// did not answer.
type answers struct {
	age     time.Duration
	kept    *lru.Cache[string, answer]
	flights singleflight.Group
	clock   func() time.Time
}

type answer struct {
	value any
	err   error
	until time.Time
}

func newAnswers(age time.Duration, size int) *answers {
	kept, err := lru.New[string, answer](size)
	if err != nil {
		panic(err) // only for a size below 1
	}
	return &answers{age: age, kept: kept, clock: time.Now}
}

// kept gives the answer that is known to a question, or asks. Who asks what is
// just being asked waits for that answer. The asking itself goes on when the
// one who began it has left, for at most Limit.
func kept[T any](ctx context.Context, a *answers, key string, ask func(context.Context) (T, error)) (T, error) {
	if k, ok := a.kept.Get(key); ok && a.clock().Before(k.until) {
		return k.value.(T), k.err
	}
	flight := a.flights.DoChan(key, func() (any, error) {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), Limit)
		defer cancel()
		v, err := ask(ctx)
		age := a.age
		if isAnswer := errors.Is(err, ErrNotFound) || errors.Is(err, ErrAmbiguous) || errors.Is(err, ErrTooMany); err != nil && !isAnswer {
			return v, err
		} else if isAnswer {
			age = min(age, maxNo)
		}
		if age > 0 {
			a.kept.Add(key, answer{v, err, a.clock().Add(age)})
		}
		return v, err
	})
	select {
	case r := <-flight:
		return r.Val.(T), r.Err
	case <-ctx.Done():
		var none T
		return none, fmt.Errorf("asking the directory: %w", ctx.Err())
	}
}
