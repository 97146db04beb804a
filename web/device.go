package web

import (
	"context"
	"net/http"
	"strings"
	"time"
)

// deviceCookie remembers proven devices.
const deviceCookie = "milterd-device"

// cookieName is deviceCookie with the prefix that makes browsers insist on Secure,
// Path=/ and no Domain (RFC 6265bis, section 4.1.3.2); but for plain HTTP on localhost,
// where Safari keeps no secure cookie, and nobody listens.
func (s *site) cookieName() string {
	if s.base.Scheme == "http" {
		return deviceCookie
	}
	return "__Host-" + deviceCookie
}

// maxDevices is how many people's proofs one browser keeps: a family's tablet,
// or somebody with two mailboxes. The newest stands first.
const maxDevices = 4

// cookies splits the cookie into its values. They are base64url, so a dot parts them.
func (s *site) cookies(c *call) []string {
	k, err := c.Cookie(s.cookieName())
	if err != nil || len(k.Value) > 1024 {
		return nil
	}
	all := strings.Split(k.Value, ".")
	return all[:min(len(all), maxDevices)]
}

// remembered reports whether one of the cookie's values proves the visitor's mailbox,
// and as which enrolled device.
func (s *site) remembered(ctx context.Context, c *call) (enrolled string, ok bool) {
	for _, v := range s.cookies(c) {
		if v == "" {
			continue
		}
		if enrolled, ok = s.Mailbox.Remembered(ctx, c.visit, v); ok {
			return enrolled, true
		}
	}
	return "", false
}

// remember adds a proof to the cookie; an older one of the same person goes.
func (s *site) remember(ctx context.Context, c *call, value string, expires time.Time) {
	values := []string{value}
	for _, v := range s.cookies(c) {
		if v == "" || len(values) == maxDevices {
			continue
		}
		if _, own := s.Mailbox.Remembered(ctx, c.visit, v); !own {
			values = append(values, v)
		}
	}
	http.SetCookie(c.ResponseWriter, &http.Cookie{
		Name:     s.cookieName(),
		Value:    strings.Join(values, "."),
		Path:     "/",
		MaxAge:   int(expires.Sub(s.now()).Seconds()),
		Secure:   s.base.Scheme == "https",
		HttpOnly: true,
		SameSite: http.SameSiteStrictMode,
	})
}

// browser names a browser as a person would, for the list of devices; a whole
// User-Agent tells more than anyone needs.
func browser(agent string) string {
	name := "Browser"
	for _, b := range []struct{ mark, name string }{ // in this order: they all claim to be the ones after
		{"Edg/", "Edge"}, {"OPR/", "Opera"}, {"SamsungBrowser/", "Samsung Internet"}, {"Firefox/", "Firefox"},
		{"FxiOS/", "Firefox"}, {"CriOS/", "Chrome"}, {"Chrome/", "Chrome"}, {"Safari/", "Safari"},
	} {
		if strings.Contains(agent, b.mark) {
			name = b.name
			break
		}
	}
	for _, o := range []struct{ mark, name string }{
		{"iPhone", "iPhone"}, {"iPad", "iPad"}, {"Android", "Android"}, {"Windows", "Windows"}, {"Mac OS X", "Mac"}, {"Linux", "Linux"},
	} {
		if strings.Contains(agent, o.mark) {
			return name + " on " + o.name
		}
	}
	return name
}
