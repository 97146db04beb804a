package intake

import (
	"context"
	"slices"
	"strings"

	"milterd/directory"
	"milterd/workflow"
)

// mayAsk refuses people whom the configuration keeps from asking.
func (in *Intake) mayAsk(ctx context.Context, p workflow.Person) error {
	for _, b := range in.Config.Blocked {
		if strings.EqualFold(b, p.Mail) {
			return errBlocked(p)
		}
	}
	for _, b := range in.Config.Blocked { // another address of theirs
		owns, err := in.owns(ctx, p, b)
		if err != nil {
			return err
		}
		if owns {
			return errBlocked(p)
		}
	}
	return nil
}

// allowed refuses a request at a level that its sender may not ask for, or a
// signatory may not sign at.
func (in *Intake) allowed(ctx context.Context, level workflow.Level, sender workflow.Person, signatories []workflow.Person) error {
	switch in1, err := in.member(ctx, sender, in.Config.Request[level]); {
	case err != nil:
		return err
	case !in1:
		return errMayNotRequest(sender, level, in.Config.Request[level])
	}
	for _, p := range signatories {
		switch in1, err := in.member(ctx, p, in.Config.Sign[level]); {
		case err != nil:
			return err
		case !in1:
			return errMayNotSign(p, level, in.Config.Sign[level])
		}
	}
	return nil
}

// member reports whether a person is in one of the groups. Everybody is in none.
func (in *Intake) member(ctx context.Context, p workflow.Person, groups []string) (bool, error) {
	if len(groups) == 0 {
		return true, nil
	}
	of, err := in.Directory.Groups(ctx, p.Mail)
	if err != nil && !isAnswer(err) {
		return false, errDirectory(err)
	}
	return slices.ContainsFunc(groups, func(g string) bool { return slices.Contains(of, directory.GroupName(g)) }), nil
}
