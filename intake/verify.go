package intake

import (
	"context"
	"crypto/sha256"
	"errors"
	"slices"
	"strings"

	"milterd/mailparse"
	"milterd/milter"
	"milterd/workflow"
)

// Verifier judges the signatures in a file. Detached ones may be for others: those
// that are given for them, or else those that fit among what came along. Its error
// is temporary.
type Verifier interface {
	Verify(ctx context.Context, file workflow.NamedFile, others []workflow.NamedFile, given bool) (workflow.VerifiedFile, error)
}

// Answerer plans the mail with the verdicts; workflow.Desk is one.
type Answerer interface {
	Verified(ctx context.Context, v workflow.Verification, key [32]byte) (created bool, err error)
}

// Verify is what answers mail to verify@.
type Verify struct {
	Verifier Verifier
	Desk     Answerer
}

// toVerify reports whether a mail goes to verify@; with another address of the
// desk beside it, nobody could tell what is asked.
func (in *Intake) toVerify(asked []address) (bool, error) {
	if in.Verify == nil || !slices.ContainsFunc(asked, func(a address) bool { return a.word() == verify }) {
		return false, nil
	}
	for _, a := range asked {
		if a.word() != verify {
			return true, in.errVerifyAlone()
		}
	}
	return true, nil
}

// verify judges the files of a mail whose sender is proven, before that hears
// 250. Unlike a request it may be an answer in a thread of ours: results are what
// people want to have verified.
func (in *Intake) verify(ctx context.Context, e milter.Envelope, r *mailparse.Request, p proof) error {
	person, err := in.sender(ctx, p, r.From)
	if err != nil {
		return err
	}
	if err := in.mayAsk(ctx, person); err != nil {
		return err
	}
	if len(r.Documents) == 0 {
		return errNothingToVerify()
	}
	if n := in.Config.Documents; n > 0 && len(r.Documents) > n {
		return errTooManyDocuments(n)
	}
	v := workflow.Verification{Person: person, Thread: r.Thread()}
	var files []workflow.NamedFile
	for _, d := range r.Documents {
		files = append(files, workflow.NamedFile{Name: d.Name, Content: d.Content})
	}
	var signed []string
	for i, f := range files {
		one, err := in.Verify.Verifier.Verify(ctx, f, slices.Concat(files[:i], files[i+1:]), false)
		if err != nil {
			return errInspection(err)
		}
		v.Files, signed = append(v.Files, one), append(signed, one.Signs...)
	}
	// A file without signatures of its own is told of with the one that is for it.
	v.Files = slices.DeleteFunc(v.Files, func(f workflow.VerifiedFile) bool {
		return slices.Contains(signed, f.Name) && (f.Verdict == workflow.VerdictUnsigned || f.Verdict == workflow.VerdictUnreadable)
	})
	key := sha256.Sum256([]byte(strings.Join([]string{verify, strings.ToLower(person.Mail), r.MessageID, string(r.BodyHash[:])}, "\x00")))
	created, err := in.Verify.Desk.Verified(ctx, v, key)
	var refusal *workflow.Refusal
	if err != nil && !errors.As(err, &refusal) {
		err = errAway(err)
	}
	if err != nil {
		return err
	}
	outcome := "verified"
	if !created {
		outcome = "repeated"
	}
	in.count(outcome)
	in.Log.Info("mail to verify@ "+outcome, "queue", e.QueueID, "sender", person.Mail, "proven", p.by, "files", len(v.Files))
	return nil
}
