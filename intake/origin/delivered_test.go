package origin_test

import (
	"strings"
	"testing"
	"time"

	"milterd/intake/origin"
	"milterd/intake/origin/origintest"
)

// own is a Received line as Postfix 3.7 writes it; what stands in the middle is
// for the tests.
const (
	ownFirst = "Received: from client.corp.test (localhost [127.0.0.1])\r\n"
	ownLast  = "\tby mx.corp.test (Postfix) with ESMTPSA id 4F2A1C0D3\r\n\tfor <team@corp.test>; Mon, 23 Nov 2026 10:00:00 +0000 (UTC)\r\n"
	jane     = "\t(Authenticated sender: jane)\r\n"
	noLogin  = ownFirst + "\tby mx.corp.test (Postfix) with ESMTP id 4F2A1C0D3\r\n\tfor <team@corp.test>; Mon, 23 Nov 2026 10:00:00 +0000 (UTC)\r\n"
)

// TestLogin reads the login of the topmost Received line, and nothing that a
// client could have written. postfix_test.go makes real lines.
func TestLogin(t *testing.T) {
	tls := "\t(using TLSv1.3 with cipher TLS_AES_256_GCM_SHA384 (256/256 bits)\r\n\t key-exchange X25519 server-signature RSA-PSS (2048 bits) server-digest SHA256)\r\n"
	for name, c := range map[string]struct{ header, want string }{
		"plain":              {ownFirst + jane + ownLast, "jane"},
		"TLS":                {ownFirst + tls + "\t(No client certificate requested)\r\n" + jane + ownLast, "jane"},
		"client certificate": {ownFirst + tls + "\t(Client CN \"x\", Issuer \"y\" (not verified))\r\n" + jane + ownLast, "jane"},
		"IPv6, address HELO": {replace(ownFirst, "client.corp.test (localhost [127.0.0.1])", "[IPv6:::1] (unknown [IPv6:2001:db8::1])") + jane + ownLast, "jane"},
		"several recipients": {ownFirst + jane + "\tby mx.corp.test (Postfix) with ESMTPA id 4F2;\r\n\tMon, 23 Nov 2026 10:00:00 +0000 (UTC)\r\n", "jane"},
		"SMTPUTF8":           {ownFirst + jane + replace(ownLast, "ESMTPSA", "UTF8SMTPSA"), "jane"},
		"address as login":   {ownFirst + "\t(Authenticated sender: jane@corp.test)\r\n" + ownLast, "jane@corp.test"},
		"below other fields": {"Authentication-Results: x; none\r\nDKIM-Signature: a\r\n\tb\r\n" + ownFirst + jane + ownLast, "jane"},
		"host in capitals":   {ownFirst + jane + replace(ownLast, "mx.corp.test", "MX.corp.TEST"), "jane"},

		"no Received":                 {"X: y\r\n", ""},
		"no login":                    {noLogin, ""},
		"client's own line below":     {noLogin + ownFirst + jane + ownLast, ""},
		"other host":                  {ownFirst + jane + replace(ownLast, "mx.corp.test", "mx.evil.test"), ""},
		"without AUTH":                {ownFirst + jane + replace(ownLast, "ESMTPSA", "ESMTPS"), ""},
		"login in the HELO":           {replace(noLogin, "client.corp.test", "x(Authenticated sender: jane)"), ""},
		"login behind the HELO":       {replace(noLogin, "[127.0.0.1])", "[127.0.0.1]) (Authenticated sender: jane)"), ""},
		"login in the host name":      {replace(noLogin, "localhost", "x\t(Authenticated sender: jane)"), ""},
		"login in a certificate":      {ownFirst + "\t(Client CN \"(Authenticated sender: jane)\", Issuer \"y\" (not verified))\r\n" + strings.SplitAfterN(noLogin, "\r\n", 2)[1], ""},
		"certificate cut in lines":    {ownFirst + "\t(Client CN \"xxx\r\n (Authenticated sender: jane)\", Issuer \"y\" (not verified))\r\n" + ownLast, ""},
		"login line with a space":     {ownFirst + " (Authenticated sender: jane)\r\n" + ownLast, ""},
		"login in parentheses":        {ownFirst + "\t(Authenticated sender: jane (work))\r\n" + ownLast, ""},
		"two logins":                  {ownFirst + jane + "\t(Authenticated sender: bob)\r\n" + ownLast, ""},
		"login with unpaired signs":   {ownFirst + "\t(Authenticated sender: jane? ?Authenticated sender: bob)\r\n" + ownLast, ""},
		"text behind the login":       {ownFirst + "\t(Authenticated sender: jane) x\r\n" + ownLast, ""},
		"by in the login line":        {ownFirst + "\t(Authenticated sender: jane)\tby mx.corp.test (Postfix) with ESMTPA id 4F2\r\n" + replace(ownLast, "ESMTPSA", "ESMTP"), ""},
		"text between":                {ownFirst + "\t(anything)\r\n" + jane + ownLast, ""},
		"from a local program":        {"Received: by mx.corp.test (Postfix, from userid 0)\r\n\tid 17AEC; Mon, 23 Nov 2026 10:00:00 +0000\r\n", ""},
		"hidden client":               {"Received: by mx.corp.test (Postfix) id 17AEC\r\n\tfor <a@b>; Mon, 23 Nov 2026 10:00:00 +0000\r\n", ""},
		"hidden client, forged below": {"Received: by mx.corp.test (Postfix) id 17AEC\r\n\tfor <a@b>; Mon, 23 Nov 2026 10:00:00 +0000\r\n" + ownFirst + jane + ownLast, ""},
		"odd, forged below":           {ownFirst + jane + replace(ownLast, "ESMTPSA", "ESMTPS") + ownFirst + jane + ownLast, ""},
		"odd first line":              {replace(ownFirst, "])", "]) x") + jane + ownLast, ""},
		"on one line":                 {"Received: from a (b [1.2.3.4]) (Authenticated sender: jane) by mx.corp.test (Postfix) with ESMTPA id 4F2; x\r\n", ""},
		"blank before the colon":      {"Received : from a\r\n" + ownFirst + jane + ownLast, ""},
		"odd line":                    {"no field\r\n" + ownFirst + jane + ownLast, ""},
		"nothing":                     {"", ""},
	} {
		if got := login(checker(nil), c.header+mail); got != c.want {
			t.Errorf("%s: got %q, want %q", name, got, c.want)
		}
	}
	c := checker(nil)
	c.ReceivedBy = ""
	if got := login(c, ownFirst+jane+replace(ownLast, "mx.corp.test", "x")+mail); got != "" {
		t.Errorf("nobody's line is believed: %q", got)
	}
}

func login(c *origin.Checker, raw string) string {
	return c.Delivered([]byte(raw)).Login
}

// TestRequeued: below the line that postsuper -r brings, and of no other, the
// next one counts.
func TestRequeued(t *testing.T) {
	again := "Received: by mx.corp.test (Postfix, from userid 102)\r\n\tid 17AEC; Mon, 23 Nov 2026 10:00:00 +0000 (UTC)\r\n"
	program := replace(again, "102", "1000")
	login := ownFirst + jane + ownLast
	filter := "Authentication-Results: mx.corp.test; none\r\n"
	for name, c := range map[string]struct{ header, login, client, id string }{
		"once":                        {again + login, "jane", "127.0.0.1", "17AEC"},
		"twice":                       {again + again + login, "jane", "127.0.0.1", "17AEC"},
		"with a filter's field":       {filter + again + filter + login, "jane", "127.0.0.1", "17AEC"},
		"without a login":             {again + replace(noLogin, "127.0.0.1", "192.0.2.10"), "", "192.0.2.10", "17AEC"},
		"a program's":                 {again + program, "", "127.0.0.1", "17AEC"},
		"forged by a program":         {program + again + login, "", "127.0.0.1", "17AEC"},
		"forged, queued again":        {again + program + again + login, "", "127.0.0.1", "17AEC"},
		"forged by a client":          {replace(noLogin, "127.0.0.1", "192.0.2.10") + again + login, "", "192.0.2.10", "4F2A1C0D3"},
		"forged by root":              {replace(again, "102", "0") + again + login, "", "127.0.0.1", "17AEC"},
		"a number that begins alike":  {replace(again, "102", "1020") + login, "", "127.0.0.1", "17AEC"},
		"another host's":              {replace(again, "mx.corp.test", "mx.evil.test") + login, "", "invalid IP", ""},
		"another host's below":        {again + replace(login, "mx.corp.test", "mx.evil.test"), "", "invalid IP", ""},
		"sent on by local(8)":         {again + "Received: by mx.corp.test (Postfix)\r\n\tid 17AEB; x\r\nDelivered-To: desk@mx.corp.test\r\n" + login, "", "invalid IP", ""},
		"sent on by Postfix's user":   {again + "Delivered-To: postfix@mx.corp.test\r\n" + login, "", "invalid IP", ""},
		"kept by a delivery":          {again + "X-Original-To: desk@mx.corp.test\r\n" + login, "", "invalid IP", ""},
		"with a return path":          {again + "Return-Path: <jane@corp.test>\r\n" + login, "", "invalid IP", ""},
		"nothing below":               {again + "X: y\r\n", "", "invalid IP", ""},
		"delivered later, login kept": {again + login + "Delivered-To: x@corp.test\r\n", "jane", "127.0.0.1", "17AEC"},
	} {
		got := checker(nil).Delivered([]byte(c.header + mail))
		if got.Login != c.login || got.Client.String() != c.client || got.QueueID != c.id {
			t.Errorf("%s: got %+v, want %+v", name, got, c)
		}
	}
	c := checker(nil)
	c.Requeued = ""
	if got := c.Delivered([]byte(again + login + mail)); got.Login != "" {
		t.Errorf("where nobody is Postfix's user: %+v", got)
	}
}

// TestAgain tells what local(8) sent on from everything else.
func TestAgain(t *testing.T) {
	forwarded := "Received: by mx.corp.test (Postfix)\r\n\tid 17AEB; Mon, 23 Nov 2026 10:00:00 +0000 (UTC)\r\nDelivered-To: desk@mx.corp.test\r\n"
	for name, c := range map[string]struct {
		header string
		want   bool
	}{
		"sent on":           {forwarded + noLogin, true},
		"by another":        {replace(forwarded, "mx.corp.test (", "mx.evil.test (") + noLogin, false},
		"a bounce":          {strings.SplitAfter(forwarded, "(UTC)\r\n")[0], false},
		"from a program":    {replace(forwarded, "(Postfix)", "(Postfix, from userid 1000)") + noLogin, false},
		"below a line":      {noLogin + forwarded, false},
		"without a line":    {"Delivered-To: desk@mx.corp.test\r\n", false},
		"no header of mail": {"x\r\n", false},
	} {
		if got := checker(nil).Again([]byte(c.header + mail)); got != c.want {
			t.Errorf("%s: %v", name, got)
		}
	}
}

// TestClient reads the address of who brought the mail.
func TestClient(t *testing.T) {
	for name, c := range map[string]struct{ header, want string }{
		"IPv4":              {noLogin, "127.0.0.1"},
		"IPv6":              {replace(noLogin, "127.0.0.1", "IPv6:2001:db8::1"), "2001:db8::1"},
		"mapped":            {replace(noLogin, "127.0.0.1", "IPv6:::ffff:192.0.2.10"), "192.0.2.10"},
		"local program":     {"Received: by mx.corp.test (Postfix, from userid 1000)\r\n\tid 17AEC; Mon, 23 Nov 2026 10:00:00 +0000\r\n", "127.0.0.1"},
		"unknown":           {replace(noLogin, "127.0.0.1", "unknown"), "invalid IP"},
		"other host":        {replace(noLogin, "mx.corp.test", "mx.evil.test"), "invalid IP"},
		"other's program":   {"Received: by mx.evil.test (Postfix, from userid 1000)\r\n\tid 17AEC; x\r\n", "invalid IP"},
		"address as HELO":   {replace(noLogin, "client.corp.test (localhost", "[192.0.2.10] (unknown"), "127.0.0.1"},
		"client's own line": {replace(noLogin, "127.0.0.1", "198.51.100.7") + noLogin, "198.51.100.7"},
	} {
		got := checker(nil).Delivered([]byte(c.header + mail))
		if got.Client.String() != c.want || got.Client.IsValid() && got.QueueID == "" {
			t.Errorf("%s: got %+v, want %s", name, got, c.want)
		}
	}
}

// TestResults: a filter's word counts above our own Received line, for a
// signature that is sound, and nowhere else.
func TestResults(t *testing.T) {
	signed := sign(mail)
	_, b, _ := strings.Cut(signed, " b=")
	mark := b[:8]
	pass := "Authentication-Results: mx.corp.test;\r\n\tdkim=pass (2048-bit key; unprotected) header.d=corp.test header.i=@corp.test header.s=sel header.b=\"" + mark + "\"\r\n"
	// The signature does not verify any more: only the filter's word can prove it.
	requeued := "Received: by mx.corp.test (Postfix, from userid 102)\r\n\tid 17AEC; Mon, 23 Nov 2026 10:00:00 +0000 (UTC)\r\n"
	changed := replace(signed, "Some  words", "Other words")
	const yes, no = "dkim corp.test checked by mx.corp.test", "its DKIM signature does not verify"
	for name, c := range map[string]struct{ raw, want string }{
		"opendkim":                      {pass + noLogin + changed, yes},
		"rspamd":                        {strings.TrimSuffix(strings.ReplaceAll(pass, "\"", ""), "\r\n") + ";\r\n\tspf=pass (mx: domain of \"jane@corp.test\" designates 1.2.3.4) smtp.mailfrom=jane@corp.test;\r\n\tdmarc=pass (policy=none) header.from=corp.test\r\n" + noLogin + changed, yes},
		"version, capitals":             {replace(replace(pass, "mx.corp.test;", "MX.corp.test 1;"), "dkim=pass", "DKIM/1=Pass") + noLogin + changed, yes},
		"queued again":                  {requeued + pass + noLogin + changed, yes},
		"claimed to be queued again":    {replace(requeued, "102", "1000") + pass + noLogin + changed, no},
		"beside another's":              {"Authentication-Results: evil.test; dkim=fail (\r\n" + pass + noLogin + changed, yes},
		"beside another check":          {"Authentication-Results: mx.corp.test; spf=fail smtp.mailfrom=x\r\n" + pass + noLogin + changed, yes},
		"verifies anyway":               {noLogin + signed, "dkim corp.test"},
		"below our Received":            {noLogin + pass + changed, no},
		"of no authserv-id":             {replace(pass, "mx.corp.test;", ";") + noLogin + changed, no},
		"of another authserv-id":        {replace(pass, "mx.corp.test", "mx.corp.test.evil.test") + noLogin + changed, no},
		"id in a comment":               {replace(pass, "mx.corp.test", "(mx.corp.test) evil.test") + noLogin + changed, no},
		"version 2":                     {replace(pass, "mx.corp.test;", "mx.corp.test 2;") + noLogin + changed, no},
		"failed":                        {replace(pass, "dkim=pass", "dkim=fail") + noLogin + changed, no},
		"passed and failed":             {replace(pass, "mx.corp.test;", "mx.corp.test; dkim=fail header.d=corp.test header.b="+mark+";") + noLogin + changed, no},
		"failed in another field":       {replace(pass, "dkim=pass", "dkim=fail") + pass + noLogin + changed, no},
		"of another domain":             {replace(pass, "header.d=corp.test", "header.d=evil.test") + noLogin + changed, no},
		"domain given twice":            {replace(pass, "header.d=corp.test", "header.d=corp.test header.d=evil.test") + noLogin + changed, no},
		"domain given twice, ours last": {replace(pass, "header.d=corp.test", "header.d=evil.test header.d=corp.test") + noLogin + changed, no},
		"of another signature":          {replace(pass, mark, "AAAAAAAA") + noLogin + changed, no},
		"of any signature":              {replace(pass, " header.b=\""+mark+"\"", "") + noLogin + changed, no},
		"of a short mark":               {replace(pass, mark, mark[:3]) + noLogin + changed, no},
		"of the author's domain":        {replace(pass, "dkim=pass", "dmarc=pass") + noLogin + changed, no},
		"in a comment":                  {"Authentication-Results: mx.corp.test; spf=pass (dkim=pass header.d=corp.test header.b=" + mark + ")\r\n" + noLogin + changed, no},
		"in quotes":                     {"Authentication-Results: mx.corp.test; spf=pass smtp.mailfrom=\"x; dkim=pass header.d=corp.test header.b=" + mark + "\"\r\n" + noLogin + changed, no},
		"behind an open comment":        {"Authentication-Results: mx.corp.test; spf=pass (x;\r\n\tdkim=pass header.d=corp.test header.b=" + mark + "\r\n" + noLogin + changed, no},
		"with an open quote":            {replace(pass, "\""+mark+"\"", "\""+mark) + noLogin + changed, no},
		"beside a broken one of ours":   {"Authentication-Results: mx.corp.test; spf=pass (x\r\n" + pass + noLogin + changed, no},
		"with words that say nought":    {replace(pass, "header.s=sel", "really") + noLogin + changed, no},
		"our Received is missing":       {pass + changed, no},
		"Received of another host":      {pass + replace(noLogin, "mx.corp.test", "mx.evil.test") + changed, no},
		"of another's program":          {pass + "Received: by mx.evil.test (Postfix, from userid 0)\r\n\tid 1; x\r\n" + changed, no},
		"subject unsigned":              {pass + noLogin + sign(mail, without("Subject")), "its DKIM signature leaves out Subject"},
		"of a copy of the signature":    {pass + noLogin + replace(changed, "\r\nFrom:", "\r\nDKIM-Signature: v=1; d=corp.test; s=x; h=From; b="+b[:12]+"\r\nFrom:"), no},
		"stale":                         {pass + noLogin + string(key.Sign([]byte(mail), "corp.test", "sel", now.Add(-8*24*time.Hour).Unix())), "its DKIM signature is older than 7 days"},
		"part of the body":              {pass + noLogin + sign(mail, origintest.T("l", "4")), "its DKIM signature covers only a part of the body (l=)"},
	} {
		t.Run(name, func(t *testing.T) {
			if got := check(t, checker(zone()), c.raw, asked, true); got != c.want {
				t.Errorf("got  %s\nwant %s", got, c.want)
			}
			// A milter sees what the client wrote, Received lines too.
			if got := check(t, checker(zone()), c.raw, asked, false); got == yes {
				t.Error("believed at the milter")
			}
		})
	}
	for name, change := range map[string]func(c *string, by *string){
		"no authserv":    func(id, _ *string) { *id = "" },
		"no received_by": func(_, by *string) { *by = "" },
	} {
		c := checker(zone())
		change(&c.Authserv, &c.ReceivedBy)
		if got := check(t, c, pass+noLogin+changed, asked, true); got != no {
			t.Errorf("%s: %s", name, got)
		}
	}
}
