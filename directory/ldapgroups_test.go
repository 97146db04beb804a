package directory

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/go-ldap/ldap/v3"

	"milterd/directory/ldaptest"
)

func mails(t *testing.T, d Directory, local string) ([]string, error) {
	t.Helper()
	people, err := d.Group(t.Context(), local)
	var all []string
	for _, p := range people {
		all = append(all, p.Mail)
	}
	return all, err
}

// TestLDAPGroups: groups in groups, in circles, with members who are nobody.
func TestLDAPGroups(t *testing.T) {
	const outside = "uid=outside,ou=services," + ldaptest.Base
	s := ldaptest.Start(t, staff+
		ldaptest.Group("board", "board@corp.test", ldaptest.DN("jane"), ldaptest.GroupDN("directors"), "UID=John, OU=people, DC=corp,DC=test")+
		ldaptest.Group("directors", "", ldaptest.DN("john"), ldaptest.GroupDN("circle"))+
		ldaptest.Group("circle", "circle@corp.test", ldaptest.GroupDN("directors"), ldaptest.DN("ad"))+
		ldaptest.Group("odd", "odd@corp.test", ldaptest.DN("robot"), ldaptest.DN("deleted"), ldaptest.BindDN, "cn=elsewhere,dc=other", outside, ldaptest.DN("star"))+
		strings.Replace(ldaptest.Person("outside", "Out Side", "out.side@corp.test"), ldaptest.DN("outside"), outside, 1)+
		ldaptest.Group("nobody", "nobody@corp.test", ldaptest.DN("deleted"))+
		ldaptest.Group("proxied", "", ldaptest.DN("star"))+
		ldaptest.Group("twice a", "twice@corp.test", ldaptest.DN("star"))+
		ldaptest.Group("twice b", "twice@other.test", ldaptest.DN("star")))
	if err := s.Change(func(c *ldap.Conn) error {
		m := ldap.NewModifyRequest(ldaptest.GroupDN("proxied"), nil)
		m.Add("proxyAddresses", []string{"SMTP:proxied@corp.test"})
		return c.Modify(m)
	}); err != nil {
		t.Fatal(err)
	}
	l := openLDAP(t, config(s))
	circle := []string{"ad.user@corp.test", "john.doe@corp.test"}
	for _, c := range []struct {
		local string
		want  []string
		err   error
	}{
		{"board", append([]string{"Jane.Roe@corp.test"}, circle...), nil},
		{"CIRCLE", circle, nil},
		{"directors", nil, ErrNotFound}, // no address
		{"odd", []string{"a*b@corp.test"}, nil},
		{"nobody", nil, nil},
		{"proxied", []string{"a*b@corp.test"}, nil},
		{"twice", nil, ErrAmbiguous},
		{"jane.roe", nil, ErrNotFound},
		{"boar", nil, ErrNotFound},
	} {
		got, err := mails(t, l, c.local)
		if !slices.Equal(got, c.want) || !errors.Is(err, c.err) || c.err == nil && err != nil {
			t.Errorf("group %q: got %v, %v, want %v, %v", c.local, got, err, c.want, c.err)
		}
	}
	dn := func(names ...string) (all []string) {
		for _, n := range names {
			all = append(all, ldaptest.GroupDN(n))
		}
		return all
	}
	for addr, want := range map[string][]string{
		"jroe@corp.test":     dn("board"),
		"john.doe@corp.test": dn("board", "circle", "directors"),
		"ad.user@corp.test":  dn("board", "circle", "directors"),
		"other@corp.test":    {},
	} {
		if got, err := l.Groups(t.Context(), addr); err != nil || !slices.Equal(got, want) {
			t.Errorf("groups of %s: got %v, %v, want %v", addr, got, err, want)
		}
	}
	if _, err := l.Groups(t.Context(), "stranger@corp.test"); !errors.Is(err, ErrNotFound) {
		t.Errorf("a stranger's groups: %v", err)
	}
	policy := append(dn("board"), "CN=Directors,ou=groups, dc=corp,dc=test", ldaptest.GroupDN("none"), ldaptest.DN("jane"), "staff")
	if got, err := l.Missing(t.Context(), policy); err != nil || !slices.Equal(got, policy[2:]) {
		t.Errorf("missing: %v, %v", got, err)
	}

	c := config(s)
	c.GroupAddresses = []string{"cn"} // where groups have no mail attribute
	if got, err := mails(t, openLDAP(t, c), "directors"); err != nil || !slices.Equal(got, circle) {
		t.Errorf("by name: %v, %v", got, err)
	}
	c.GroupBase = ""
	l = openLDAP(t, c)
	if _, err := mails(t, l, "directors"); !errors.Is(err, ErrNotFound) {
		t.Errorf("without groups: %v", err)
	}
	if got, err := l.Groups(t.Context(), "jroe@corp.test"); err != nil || len(got) != 0 {
		t.Errorf("without groups: %v, %v", got, err)
	}
}

// TestLargeGroups: 5,000 members are too many to ask, which is said at once,
// and no trouble for the policy; 900 are found in time. A person in many groups
// is read page by page, and groups in groups end.
func TestLargeGroups(t *testing.T) {
	var ldif strings.Builder
	members := make([]string, 5000)
	for i := range members {
		uid := fmt.Sprintf("p%04d", i)
		members[i] = ldaptest.DN(uid)
		ldif.WriteString(ldaptest.Person(uid, "Person "+uid, uid+"@corp.test"))
	}
	ldif.WriteString(ldaptest.Group("everybody", "everybody@corp.test", members...))
	ldif.WriteString(ldaptest.Group("half", "half@corp.test", members[:900]...))
	ldif.WriteString(ldaptest.Group("sum", "sum@corp.test", append(members[:101:101], ldaptest.GroupDN("rest"))...))
	ldif.WriteString(ldaptest.Group("rest", "", members[101:1002]...))
	const groups = 700
	for i := range groups {
		ldif.WriteString(ldaptest.Group(fmt.Sprintf("g%03d", i), "", members[4999]))
	}
	for i := range maxDepth + 2 {
		inner := ldaptest.GroupDN(fmt.Sprintf("deep%d", i+1))
		if i == maxDepth+1 {
			inner = members[4998]
		}
		ldif.WriteString(ldaptest.Group(fmt.Sprintf("deep%d", i), fmt.Sprintf("deep%d@corp.test", i), inner))
	}
	s := ldaptest.StartWith(t, ldaptest.Options{LDIF: ldif.String(), Config: "sizelimit size.soft=500 size.hard=500 size.prtotal=unlimited"})
	l := openLDAP(t, config(s))
	for _, local := range []string{"everybody", "sum", "deep0"} {
		begin := time.Now()
		if got, err := mails(t, l, local); !errors.Is(err, ErrTooMany) || len(got) != 0 {
			t.Errorf("%s: %d members, %v", local, len(got), err)
		}
		t.Logf("%s: refused in %v", local, time.Since(begin))
	}
	begin := time.Now()
	if got, err := mails(t, l, "half"); err != nil || len(got) != 900 {
		t.Errorf("half: %d members, %v", len(got), err)
	}
	t.Logf("900 members: %v", time.Since(begin))
	begin = time.Now()
	if got, err := l.Groups(t.Context(), "p0000@corp.test"); err != nil || len(got) != 3 {
		t.Errorf("groups of one in a large group: %v, %v", got, err)
	}
	t.Logf("groups of one of 5,000: %v", time.Since(begin))
	if got, err := l.Groups(t.Context(), "p4999@corp.test"); err != nil || len(got) != groups+1 {
		t.Errorf("%d groups, %v", len(got), err)
	}
	if _, err := l.Groups(t.Context(), "p4998@corp.test"); err == nil || errors.Is(err, ErrNotFound) {
		t.Errorf("too deep: %v", err)
	}
}

// TestRange: Active Directory's way to give a part of the members is not taken
// for the whole.
func TestRange(t *testing.T) {
	l := &LDAP{config: LDAPConfig{Member: "member"}}
	for name, want := range map[string]error{"member;range=0-1499": ErrTooMany, "Member;Range=0-*": nil, "member": nil} {
		e := &ldap.Entry{Attributes: []*ldap.EntryAttribute{{Name: "member"}, {Name: name, Values: []string{"cn=a"}}, {Name: "memberOf", Values: []string{"cn=b"}}}}
		if got, err := l.members(e); !errors.Is(err, want) || want == nil && !slices.Equal(got, []string{"cn=a"}) {
			t.Errorf("%s: got %v, %v", name, got, err)
		}
	}
}
