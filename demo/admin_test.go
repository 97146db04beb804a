package demo

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"milterd/auth"
)

// office is an administrator.
type office struct{ approved string }

func (o *office) Pending(context.Context, string) ([]*auth.Enrolment, error) {
	if o.approved != "" {
		return nil, nil
	}
	return []*auth.Enrolment{{ID: "e1", Mail: "john.doe@corp.test", Number: "0042", Agent: "<b>Chromium</b>"}}, nil
}

func (o *office) Approve(_ context.Context, id, by string) error {
	if id != "e1" || by != "administrator" {
		return errors.New("this enrolment has expired")
	}
	o.approved = id
	return nil
}

func approve(h http.Handler, id string, header http.Header) *httptest.ResponseRecorder {
	form := url.Values{"id": {id}, "box": {"john.doe@corp.test"}}
	r := httptest.NewRequest("POST", "http://localhost:8480/approve", strings.NewReader(form.Encode()))
	r.Header = header
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w
}

// The panel shows what waits, approves it, and lets no other site do so.
func TestAdministratorApproves(t *testing.T) {
	h, _, _ := testPage(t)
	before := visit(t, h, "/version").Body.String()
	page := visit(t, h, "/box/jane.roe@corp.test").Body.String()
	for _, want := range []string{"john.doe@corp.test", "0042", "&lt;b&gt;Chromium", `action="/approve"`, `data-version="` + before + `"`} {
		if !strings.Contains(page, want) {
			t.Errorf("the panel lacks %q", want)
		}
	}
	if w := approve(h, "e1", http.Header{"Sec-Fetch-Site": {"cross-site"}}); w.Code != http.StatusForbidden {
		t.Errorf("a post from elsewhere gets %d", w.Code)
	}
	to := approve(h, "e2", http.Header{}).Header().Get("Location")
	if page := visit(t, h, to).Body.String(); !strings.Contains(page, "this enrolment has expired") || !strings.Contains(page, "0042") {
		t.Error("a refusal is not shown, or what waits is gone")
	}
	to = approve(h, "e1", http.Header{}).Header().Get("Location")
	if page := visit(t, h, to).Body.String(); !strings.HasPrefix(to, "/box/john.doe@corp.test?sent=") || strings.Contains(page, "0042") ||
		!strings.Contains(page, "No device waits") {
		t.Errorf("after the approval, at %s", to)
	}
	if visit(t, h, "/version").Body.String() == before {
		t.Error("other windows do not hear of it")
	}
}
