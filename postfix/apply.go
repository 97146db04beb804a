package postfix

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
)

// Change is a parameter of main.cf that must become another one.
type Change struct {
	Setting
	Set   bool   // main.cf sets it now
	Now   string // what holds now, as it is written; Postfix's default where main.cf does not set it
	After string
	Gone  bool // it is to be set no longer; After is empty
}

// Warning is what Apply cannot or may not do by itself.
type Warning struct{ Text, Fix string }

// Plan is what is between a Postfix as it is and one that works with milterd.
type Plan struct {
	Changes  []Change
	Warnings []Warning
}

// MakePlan compares the settings with an installed Postfix. It changes nothing.
func MakePlan(ctx context.Context, i Instance, site Site, settings []Setting) (*Plan, error) {
	p := &planner{Instance: i, site: site, plan: &Plan{}}
	if err := p.read(ctx, settings); err != nil {
		return nil, fmt.Errorf("looking at Postfix: %w", err)
	}
	// Parameters that refer to others come last: what others become counts.
	ordered := slices.Clone(settings)
	slices.SortStableFunc(ordered, func(a, b Setting) int {
		return strings.Count(p.now[a.Name], "$") - strings.Count(p.now[b.Name], "$")
	})
	for _, s := range ordered {
		if err := p.compare(ctx, s); err != nil {
			return nil, fmt.Errorf("looking at Postfix: %s: %w", s.Name, err)
		}
	}
	if err := p.obsolete(ctx, settings); err != nil {
		return nil, fmt.Errorf("looking at Postfix: %w", err)
	}
	slices.SortStableFunc(p.plan.Changes, func(a, b Change) int { return index(settings, a.Name) - index(settings, b.Name) })
	if err := p.domains(ctx); err != nil {
		return nil, fmt.Errorf("looking at Postfix: %w", err)
	}
	if err := p.traps(ctx); err != nil {
		return nil, fmt.Errorf("looking at Postfix: %w", err)
	}
	p.services(settings)
	return p.plan, nil
}

func index(settings []Setting, name string) int {
	return slices.IndexFunc(settings, func(s Setting) bool { return s.Name == name })
}

type planner struct {
	Instance
	site    Site
	plan    *Plan
	version string
	known   map[string]bool   // parameters that this Postfix has
	set     map[string]bool   // those that main.cf sets
	now     map[string]string // what holds, as it is written
	master  []Service
}

func (p *planner) warn(fix, format string, args ...any) {
	p.plan.Warnings = append(p.plan.Warnings, Warning{Text: fmt.Sprintf(format, args...), Fix: fix})
}

func (p *planner) read(ctx context.Context, settings []Setting) error {
	var names []string
	for _, s := range settings {
		names = append(names, s.Name)
	}
	for _, step := range []struct {
		args []string
		use  func(string)
	}{
		{append([]string{"-d", "mail_version"}, names...), func(out string) {
			p.known = map[string]bool{}
			for name, value := range pairs(out) {
				p.known[name] = true
				if name == "mail_version" {
					p.version = value
				}
			}
		}},
		{[]string{"-n"}, func(out string) {
			p.set = map[string]bool{}
			for name := range pairs(out) {
				p.set[name] = true
			}
		}},
		{slices.Concat(names, ownDomains, traps), func(out string) { p.now = pairs(out) }},
	} {
		out, err := p.run(ctx, "postconf", step.args...)
		if err != nil {
			return err
		}
		step.use(out)
	}
	var err error
	p.master, err = p.Services(ctx)
	return err
}

// compare finds out whether one parameter must change.
func (p *planner) compare(ctx context.Context, s Setting) error {
	const update = "update Postfix to 3.7 or newer"
	if !p.known[s.Name] && !strings.HasPrefix(s.Name, ownPrefix) {
		p.warn(update, "this Postfix (%s) does not know %s, so it is left out. What it is for: %s", p.version, s.Name, s.Why)
		return nil
	}
	if !p.reads(s.Value) {
		p.warn(update, "this Postfix (%s) is too old to read the value of %s, so it is left out: %s", p.version, s.Name, s.Value)
		return nil
	}
	raw := p.now[s.Name]
	holds, err := p.expanded(ctx, s.Name, raw)
	if err != nil {
		return err
	}
	if !s.Add {
		if !satisfied(s.Name, holds, plain(s.Value)) {
			p.change(s, raw, s.Value)
		}
		return nil
	}
	where := placeOf(s.Name)
	if stands(holds, plain(s.Value), where) {
		return p.shadowed(ctx, s, holds)
	}
	// A default that comes to nothing, such as $virtual_maps, need not be kept.
	if !p.set[s.Name] && holds == "" {
		raw = ""
	}
	after := merge(raw, s.Value, where)
	p.change(s, p.now[s.Name], after)
	if holds, err = p.expanded(ctx, s.Name, after); err != nil {
		return err
	}
	if !stands(holds, plain(s.Value), where) {
		p.warn("postconf "+s.Name, "%s refers to another parameter that names milterd already, or that puts something behind it: with the change it comes to %s. Put it right by hand", s.Name, holds)
	}
	return p.shadowed(ctx, s, holds)
}

// reads reports that this Postfix knows the forms in a value: { … } and inline:
// came with 3.0, regexp:{ … } and cidr:{ … } with 3.7.
func (p *planner) reads(value string) bool {
	var major, minor int
	fmt.Sscanf(p.version, "%d.%d", &major, &minor)
	switch {
	case strings.Contains(value, "regexp:{"), strings.Contains(value, "cidr:{"):
		return major > 3 || major == 3 && minor >= 7
	case strings.Contains(value, "{"):
		return major >= 3
	}
	return true
}

func (p *planner) change(s Setting, now, after string) {
	p.plan.Changes = append(p.plan.Changes, Change{Setting: s, Set: p.set[s.Name], Now: now, After: after})
}

// expanded is what a parameter written like this comes to when the changes so
// far have been made.
func (p *planner) expanded(ctx context.Context, name, raw string) (string, error) {
	if !strings.Contains(raw, "$") {
		return raw, nil
	}
	args := []string{"-xh"}
	for _, c := range p.plan.Changes {
		args = append(args, "-o", c.Name+"="+c.After)
	}
	out, err := p.run(ctx, "postconf", append(args, name)...)
	return strings.TrimSpace(out), err
}

// satisfied reports that a value does what ours would do.
func satisfied(name, holds, want string) bool {
	if name == "smtpd_forbid_bare_newline" {
		return slices.Contains([]string{"normalize", "yes", "reject"}, holds) // yes means normalize; reject is stricter
	}
	return strings.Join(words(holds), " ") == strings.Join(words(want), " ")
}

// shadowed warns of a table before ours that has another answer for our key.
func (p *planner) shadowed(ctx context.Context, s Setting, holds string) error {
	if s.Name != "transport_maps" { // an alias of the administrator's own is as good as ours
		return nil
	}
	for _, key := range inlineKeys(s.Value) {
		for _, table := range words(holds) {
			if table == normal(s.Value) {
				break
			}
			answer, err := p.Lookup(ctx, table, key)
			switch {
			case errors.Is(err, ErrNone):
			case err != nil:
				p.warn("postmap -q "+key+" "+table, "%s: the table %s cannot be read: %v", s.Name, table, err)
			default:
				p.warn("take "+key+" out of "+table, "%s: %s says %q for %s, and it comes before milterd's table", s.Name, table, answer, key)
			}
		}
	}
	return nil
}

// ownPrefix marks restriction classes of ours, which no Postfix knows before
// they are written.
const ownPrefix = "milterd_"

// obsolete takes out the refusal of strangers where it is no longer wanted:
// mail that milterd is to prove or ask about must reach it.
func (p *planner) obsolete(ctx context.Context, settings []Setting) error {
	if index(settings, senders) >= 0 {
		return nil
	}
	const why = "Unproven mail must reach milterd now (senders.dkim, senders.authserv, senders.confirm): Postfix refuses it no longer."
	out, err := p.run(ctx, "postconf", "smtpd_recipient_restrictions", "smtpd_restriction_classes")
	if err != nil {
		return err
	}
	now := pairs(out)
	for _, name := range []string{"smtpd_recipient_restrictions", "smtpd_restriction_classes"} {
		if after := without(now[name], senders); after != now[name] {
			p.plan.Changes = append(p.plan.Changes, Change{Setting: Setting{Name: name, Why: why}, Set: true, Now: now[name], After: after})
		}
	}
	if p.set[senders] {
		p.plan.Changes = append(p.plan.Changes, Change{Setting: Setting{Name: senders, Why: why}, Set: true, Gone: true})
	}
	return nil
}

// ownDomains list what Postfix delivers itself.
var ownDomains = []string{"mydestination", "virtual_mailbox_domains", "virtual_alias_domains"}

// domains warns of a sign domain that Postfix holds for its own.
func (p *planner) domains(ctx context.Context) error {
	for _, name := range ownDomains {
		holds, err := p.expanded(ctx, name, p.now[name])
		if err != nil {
			return err
		}
		if slices.ContainsFunc(words(holds), func(w string) bool { return strings.EqualFold(w, p.site.SignDomain) }) {
			p.warn("take "+p.site.SignDomain+" out of "+name, "%s holds the sign domain %s, so Postfix would deliver its mail itself", name, p.site.SignDomain)
		}
	}
	return nil
}

// traps are parameters that can hurt mail to or from the sign domain.
var traps = []string{"relay_recipient_maps", "masquerade_domains"}

func (p *planner) traps(ctx context.Context) error {
	recipients, err := p.expanded(ctx, traps[0], p.now[traps[0]])
	if err != nil {
		return err
	}
	whole := "@" + p.site.SignDomain
	if tables := words(recipients); len(tables) > 0 {
		known := false
		for _, table := range tables {
			if _, err := p.Lookup(ctx, table, whole); err == nil {
				known = true
			}
		}
		if !known {
			p.warn(fmt.Sprintf("add a line to one of its tables: %s OK", whole),
				"relay_recipient_maps does not know the addresses of %s, so Postfix refuses them before milterd is asked", p.site.SignDomain)
		}
	}
	masked, err := p.expanded(ctx, traps[1], p.now[traps[1]])
	if err != nil {
		return err
	}
	for _, w := range words(masked) { // the first that fits counts; !name is an exception
		name, except := strings.CutPrefix(w, "!")
		if name != p.site.SignDomain && !strings.HasSuffix(p.site.SignDomain, "."+name) {
			continue
		}
		if !except && name != p.site.SignDomain {
			p.warn(fmt.Sprintf("postconf -e 'masquerade_domains = !%s %s'", p.site.SignDomain, p.now[traps[1]]),
				"masquerade_domains (%s) rewrites the addresses of %s, so bounces of milterd's mail do not come back", masked, p.site.SignDomain)
		}
		break
	}
	return nil
}

// services warns of what master.cf sets beside main.cf, and of what it lacks.
func (p *planner) services(settings []Setting) {
	lmtp := false
	for _, s := range p.master {
		lmtp = lmtp || s.Name == "lmtp" && s.Type == "unix"
		if s.Program != "smtpd" {
			continue
		}
		for _, want := range settings {
			value, ok := s.Options[want.Name]
			if !ok || strings.HasSuffix(want.Name, "_restrictions") || serves(value, want) {
				continue
			}
			key := s.Name + "/" + s.Type + "/" + want.Name
			p.warn(fmt.Sprintf("postconf -PX %s", key),
				"master.cf gives the service %s a %s of its own (%s), which milterd's line in main.cf does not reach", s.Name, want.Name, value)
		}
	}
	if !lmtp {
		p.warn("postconf -M 'lmtp/unix=lmtp unix - - y - - lmtp'", "master.cf has no service lmtp: mail that reaches the sign domain past the milter cannot be delivered")
	}
}

// serves reports that an override does what the setting wants.
func serves(value string, s Setting) bool {
	if strings.Contains(value, "$"+s.Name) || strings.Contains(value, "${"+s.Name+"}") {
		return true
	}
	if s.Add {
		return stands(value, s.Value, placeOf(s.Name))
	}
	return satisfied(s.Name, value, s.Value)
}

// WriteTo shows the changes, each with its reason, and the warnings.
func (p *Plan) WriteTo(w io.Writer) (int64, error) {
	var b strings.Builder
	for _, c := range p.Changes {
		fmt.Fprintf(&b, "%s\n", c.Name)
		switch {
		case c.Set:
			fmt.Fprintf(&b, "  - %s\n", c.Now)
		case c.Now == "":
			b.WriteString("  - (not set)\n")
		default:
			fmt.Fprintf(&b, "  - (not set; Postfix's default: %s)\n", c.Now)
		}
		if c.Gone {
			b.WriteString("  + (not set)\n")
		} else {
			fmt.Fprintf(&b, "  + %s\n", c.After)
		}
		for _, l := range wrap(c.Why, 96) {
			fmt.Fprintf(&b, "    %s\n", l)
		}
		b.WriteByte('\n')
	}
	for _, warning := range p.Warnings {
		for i, l := range wrap("warning: "+warning.Text+".", 100) {
			fmt.Fprintf(&b, "%*s%s\n", min(i, 1)*9, "", l)
		}
		fmt.Fprintf(&b, "         fix: %s\n\n", warning.Fix)
	}
	n, err := io.WriteString(w, b.String())
	return int64(n), err
}
