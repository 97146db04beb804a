package web

import (
	"context"
	"net/http"
	"strings"
	"time"
)

// deviceCookie remembers proven devices. The prefix makes browsers insist on
// Secure, Path=/ and no Domain (RFC 6265bis, section 4.1.3.2).
const deviceCookie = "__Host-milterd-device"

// maxDevices is how many people's proofs one browser keeps: a family's tablet,
// or somebody with two mailboxes. The newest stands first.
const maxDevices = 4

// cookies splits the cookie into its values. They are base64url, so a dot parts them.
func (c *call) cookies() []string {
	k, err := c.Cookie(deviceCookie)
	if err != nil || len(k.Value) > 1024 {
		return nil
	}
	all := strings.Split(k.Value, ".")
	return all[:min(len(all), maxDevices)]
}

// remembered reports whether one of the cookie's values proves the visitor's mailbox,
// and as which enrolled device.
func (s *site) remembered(ctx context.Context, c *call) (enrolled string, ok bool) {
	for _, v := range c.cookies() {
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
	for _, v := range c.cookies() {
		if v == "" || len(values) == maxDevices {
			continue
		}
		if _, own := s.Mailbox.Remembered(ctx, c.visit, v); !own {
			values = append(values, v)
		}
	}
	http.SetCookie(c.ResponseWriter, &http.Cookie{
		Name:     deviceCookie,
		Value:    strings.Join(values, "."),
		Path:     "/",
		MaxAge:   int(expires.Sub(s.now()).Seconds()),
		Secure:   true,
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
