package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"milterd/postfix"
)

type postfixApply struct {
	postfixFlags
	Yes    bool `short:"y" help:"Do not ask. Without it, and without a terminal, nothing is changed."`
	Reload bool `help:"Make Postfix read the new settings at once."`
	Undo   bool `help:"Put back main.cf as it was before the last apply."`
}

func (postfixApply) Help() string {
	return "Shows each parameter that must change, as it is and as it becomes, with its reason. What stands in lists stays: milterd becomes the last milter, its restriction the first, its tables the last. " +
		"Changes are made with postconf, after main.cf and master.cf were copied (main.cf.milterd-DATE), and taken back if postfix check complains. A second run finds nothing to do. Run it as root."
}

func (a postfixApply) Run(c *cli) error {
	ctx := context.Background()
	if a.Undo {
		return a.undo(ctx)
	}
	cfg, err := c.load()
	if err != nil {
		return err
	}
	site, err := a.site(ctx, cfg)
	if err != nil {
		return err
	}
	plan, err := postfix.MakePlan(ctx, a.instance(), site, postfix.Settings(site))
	if err != nil {
		return err
	}
	if _, err := plan.WriteTo(os.Stdout); err != nil {
		return err
	}
	if len(plan.Changes) == 0 {
		fmt.Println("main.cf has everything that milterd needs: nothing to do")
		return nil
	}
	dir, err := a.instance().Config(ctx)
	if err != nil {
		return err
	}
	if err := a.ask(fmt.Sprintf("Change these %d parameters in %s?", len(plan.Changes), filepath.Join(dir, "main.cf"))); err != nil {
		return err
	}
	backup, err := a.instance().Apply(ctx, plan, time.Now())
	if err != nil {
		return err
	}
	fmt.Printf("changed; as it was before: %s\n", backup)
	return a.finish(ctx)
}

func (a postfixApply) undo(ctx context.Context) error {
	u, err := a.instance().Undoing(ctx)
	if err != nil {
		return err
	}
	plan := postfix.Plan{Changes: u.Changes}
	if _, err := plan.WriteTo(os.Stdout); err != nil {
		return err
	}
	if err := a.ask(fmt.Sprintf("Put %s back as main.cf?", u.Backup)); err != nil {
		return err
	}
	kept, err := a.instance().Undo(ctx, u, time.Now())
	if err != nil {
		return err
	}
	fmt.Printf("put back; what main.cf was until now: %s\n", kept)
	return a.finish(ctx)
}

// ask returns nil for yes.
func (a postfixApply) ask(question string) error {
	if a.Yes {
		return nil
	}
	if _, err := unix.IoctlGetWinsize(int(os.Stdin.Fd()), unix.TIOCGWINSZ); err != nil {
		return errors.New("nothing was changed: there is no terminal to ask at; --yes does without")
	}
	fmt.Printf("%s [y/N] ", question)
	answer, _ := bufio.NewReader(os.Stdin).ReadString('\n')
	switch strings.ToLower(strings.TrimSpace(answer)) {
	case "y", "yes":
		return nil
	}
	return errors.New("nothing was changed")
}

// finish makes Postfix read what was changed, or says how.
func (a postfixApply) finish(ctx context.Context) error {
	if a.Reload {
		if err := a.instance().Reload(ctx); err != nil {
			return err
		}
		fmt.Println("Postfix has read it")
		return nil
	}
	words := "postfix"
	if a.ConfigDir != "" {
		words += " -c " + a.ConfigDir
	}
	fmt.Printf("Next: %s reload, then milterd postfix check\n", words)
	return nil
}
