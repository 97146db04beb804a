package csc

import (
	"strings"
	"testing"
)

// A wrong configuration is refused with the field's name, and never repeats a secret.
func TestConfiguration(t *testing.T) {
	good := Provider{Name: "Example Trust", URL: "https://sign.example.com/csc/v2/", ClientID: "milterd", Secret: "s3cret", ClientCredentials: true,
		AuthorizeURL: "https://sign.example.com/oauth2/authorize", TokenURL: "https://sign.example.com/oauth2/token", RedirectURI: "https://sign.corp.com/qtsp"}
	c, err := New(good)
	if err != nil || c.p.URL != "https://sign.example.com/csc/v2" || c.p.Version != 2 || c.p.Timeout <= 0 {
		t.Fatalf("%+v: %v", c, err)
	}
	for name, f := range map[string]struct {
		change func(*Provider)
		want   string
	}{
		"http":             {func(p *Provider) { p.URL = "http://sign.example.com/csc/v2" }, "URL: want https"},
		"http, private":    {func(p *Provider) { p.TokenURL = "http://10.0.0.1/token" }, "TokenURL: want https"},
		"looks loopback":   {func(p *Provider) { p.URL = "http://localhost.example.com/csc/v2" }, "URL: want https"},
		"password":         {func(p *Provider) { p.URL = "https://u:s3cret@sign.example.com/csc/v2" }, "URL: name, password"},
		"query":            {func(p *Provider) { p.AuthorizeURL += "?tenant=1" }, "AuthorizeURL: name, password, query"},
		"no address":       {func(p *Provider) { p.URL = "sign.example.com" }, "URL: no address"},
		"none":             {func(p *Provider) { p.URL = "" }, "URL: no address"},
		"script":           {func(p *Provider) { p.RedirectURI = "javascript:alert(1)" }, "RedirectURI: no address"},
		"version":          {func(p *Provider) { p.Version = 3 }, "Version is 3"},
		"name":             {func(p *Provider) { p.Name = "" }, "Name is empty"},
		"client":           {func(p *Provider) { p.ClientID = "" }, "ClientID is empty"},
		"secret":           {func(p *Provider) { p.Secret = "" }, "ClientCredentials needs a Secret"},
		"token":            {func(p *Provider) { p.TokenURL = "" }, "TokenURL is empty"},
		"redirect":         {func(p *Provider) { p.RedirectURI = "" }, "RedirectURI is empty"},
		"nothing to go by": {func(p *Provider) { p.ClientCredentials, p.AuthorizeURL = false, "" }, "neither"},
		"rich in v1":       {func(p *Provider) { p.Version, p.RichRequests = 1, true }, "RichRequests is of version 2"},
		"time":             {func(p *Provider) { p.Timeout = -1 }, "Timeout is negative"},
	} {
		p := good
		f.change(&p)
		if _, err := New(p); err == nil || !strings.Contains(err.Error(), f.want) || strings.Contains(err.Error(), "s3cret") {
			t.Errorf("%s: %v, want %q", name, err, f.want)
		}
	}
	for _, address := range []string{"http://127.0.0.1:8080/csc/v2", "http://[::1]/csc/v2", "http://localhost:1/csc/v2"} {
		p := good
		p.URL = address
		if _, err := New(p); err != nil {
			t.Errorf("%s: %v", address, err)
		}
	}
}
