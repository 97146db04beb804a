package main

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"milterd/directory/ldaptest"
)

// An administrator looks people up in LDAP and has the configuration checked.
func TestDirectory(t *testing.T) {
	s := ldaptest.Start(t, ldaptest.Person("jane", "Jane Roe", "jane.roe@corp.test", "preferredLanguage: de")+
		ldaptest.Person("john", "John Doe", "john.doe@corp.test")+
		ldaptest.Group("board", "board@corp.test", ldaptest.DN("jane"), ldaptest.DN("john"))+
		ldaptest.Group("staff", "", ldaptest.GroupDN("board")))
	dir := t.TempDir()
	file := filepath.Join(dir, "milterd.toml")
	write := func(ldap string) {
		t.Helper()
		text := "domain = \"sign.corp.test\"\nurl = \"https://sign.corp.test\"\ndata = \"" + dir + "/data\"\n[organisation]\nname = \"Corp\"\ncountry = \"DE\"\n" +
			"[directory.ldap]\nservers = [\"ldap://127.0.0.1:1\", \"" + s.URL + "\"]\nca = \"" + s.CA + "\"\nbind_dn = \"" + s.BindDN +
			"\"\npassword_file = \"" + s.PasswordFile + "\"\n" + ldap
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	good := "base = \"" + ldaptest.People + "\"\ngroup_base = \"" + ldaptest.Groups + "\"\n"
	write(good)
	took := regexp.MustCompile(` in [0-9.]+(µs|ms|s)`)
	for key, want := range map[string]string{
		"jane.roe@corp.test": `before the @ jane.roe         Jane Roe <jane.roe@corp.test>, language de
group jane.roe                not in the directory
address jane.roe@corp.test    Jane Roe <jane.roe@corp.test>, language de
login jane.roe@corp.test      not in the directory
groups of jane.roe@corp.test  cn=board,ou=groups,dc=corp,dc=test
                              cn=staff,ou=groups,dc=corp,dc=test
away                          ldap://127.0.0.1:1: connection: dial tcp 127.0.0.1:1: connect: connection refused
answered by                   URL
`,
		"board": `before the @ board  not in the directory
group board         Jane Roe <jane.roe@corp.test>, language de
                    John Doe <john.doe@corp.test>, language en
address board       not in the directory
login board         not in the directory
away                ldap://127.0.0.1:1: connection: dial tcp 127.0.0.1:1: connect: connection refused
answered by         URL
`,
	} {
		out, errs, status := milterd(t, "directory", key, "-c", file)
		if got := took.ReplaceAllString(strings.ReplaceAll(out, s.URL, "URL"), ""); status != 0 || errs != "" || strings.ReplaceAll(got, " \n", "\n") != want {
			t.Errorf("directory %s: status %d, %s\ngot\n%s\nwant\n%s", key, status, errs, got, want)
		}
	}
	if out, errs, status := milterd(t, "directory", "nobody", "-c", file); status != exitFailed || errs != "" || strings.Count(out, "not in the directory") != 4 {
		t.Errorf("directory nobody: status %d, %s\n%s", status, errs, out)
	}

	if out, _, status := milterd(t, "directory", "--help"); status != 0 || !strings.HasPrefix(out, "Usage: milterd directory <address>") {
		t.Errorf("help: status %d\n%s", status, out)
	}
	if _, errs, status := milterd(t, "init", "--key", "p-256", "-c", file); status != 0 {
		t.Fatalf("init: status %d, %s", status, errs)
	}
	out, errs, status := milterd(t, "check-config", "-c", file)
	if status != 0 || out != file+": good\n" || !strings.HasPrefix(errs, "milterd: warning: directory: ldap://127.0.0.1:1: ") {
		t.Errorf("check-config: status %d\n%s%s", status, out, errs)
	}
	for ldap, want := range map[string]string{
		good + "addresses = [\"homePhone\"]\n":                                     "directory: nobody with a mail address is in it: see directory.ldap.base, filter and addresses\n",
		good + "[policy.sign]\nstandard = [\"cn=none," + ldaptest.Groups + "\"]\n": "policy: the group \"cn=none," + ldaptest.Groups + "\" is not below directory.ldap.group_base\n",
		"base = \"dc=elsewhere\"\n":                                                "directory: " + s.URL + ": dc=elsewhere does not exist there, or \"" + s.BindDN + "\" may not read it\n",
	} {
		write(ldap)
		if out, errs, status := milterd(t, "check-config", "-c", file); status != exitFailed || out != "" || !strings.HasSuffix(errs, want) {
			t.Errorf("check-config: status %d\n%s%swant %s", status, out, errs, want)
		}
	}
	s.Stop()
	write(good)
	if _, errs, status := milterd(t, "check-config", "-c", file); status != exitFailed || !strings.Contains(errs, "directory: "+s.URL) {
		t.Errorf("check-config without LDAP: status %d, %s", status, errs)
	}
	if _, errs, status := milterd(t, "directory", "jane", "-c", file); status != exitFailed || errs != "milterd: the directory does not answer\n" {
		t.Errorf("directory without LDAP: status %d, %s", status, errs)
	}
}
