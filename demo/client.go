package demo

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"milterd/workflow"
)

// Browser speaks to the signing pages as their own script does: the token from
// the link's fragment, JSON by POST, one cookie for the device.
type Browser struct {
	Client string // sent as X-Forwarded-For, if not empty: a visitor behind a proxy

	base   string
	token  string
	cookie string // of the remembered device, NAME=VALUE
	http   *http.Client
}

// Follow opens a link.
func Follow(link string) (*Browser, error) {
	u, err := url.Parse(link)
	if err != nil || u.Fragment == "" {
		return nil, fmt.Errorf("%q is no link to a signing page", link)
	}
	return &Browser{base: u.Scheme + "://" + u.Host, token: u.Fragment, http: &http.Client{Timeout: time.Minute}}, nil
}

// Post calls the pages' API. The answer is decoded into out, if it is not nil.
func (b *Browser) Post(ctx context.Context, call string, in map[string]any, out any) (*http.Response, []byte, error) {
	if in == nil {
		in = map[string]any{}
	}
	in["token"] = b.token
	body, err := json.Marshal(in)
	if err != nil {
		return nil, nil, err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, b.base+"/api/"+call, bytes.NewReader(body))
	if err != nil {
		return nil, nil, err
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Milterd-Request", "1")
	req.Header.Set("Origin", b.base)
	if b.Client != "" {
		req.Header.Set("X-Forwarded-For", b.Client)
	}
	if b.cookie != "" {
		req.Header.Set("Cookie", b.cookie)
	}
	resp, err := b.http.Do(req)
	if err != nil {
		return nil, nil, err
	}
	defer resp.Body.Close()
	content, err := io.ReadAll(io.LimitReader(resp.Body, 64<<20))
	if err != nil {
		return nil, nil, err
	}
	if resp.StatusCode/100 != 2 {
		refused := &Refused{Call: call, Status: resp.Status, Body: string(bytes.TrimSpace(content))}
		if json.Unmarshal(content, refused) != nil {
			refused.Reason = "" // a proxy's page, perhaps
		}
		return nil, nil, refused
	}
	for _, c := range resp.Cookies() {
		if strings.HasSuffix(c.Name, "milterd-device") {
			b.cookie = c.Name + "=" + c.Value
		}
	}
	if out != nil {
		if err := json.Unmarshal(content, out); err != nil {
			return nil, nil, fmt.Errorf("answer to %s: %w", call, err)
		}
	}
	return resp, content, nil
}

// Refused is a refusal of the pages.
type Refused struct {
	Call   string `json:"-"`
	Status string `json:"-"` // 403 Forbidden
	Body   string `json:"-"`
	Reason string `json:"reason"` // stable word
	Text   string `json:"text"`   // for people
}

func (r *Refused) Error() string {
	return fmt.Sprintf("page said to %s: %s: %s", r.Call, r.Status, r.Body)
}

// Document fetches a document and checks the digest that the page would bind
// the signature to against the bytes that came.
func (b *Browser) Document(ctx context.Context, n int) (workflow.Shown, []byte, error) {
	resp, content, err := b.Post(ctx, "document", map[string]any{"document": n}, nil)
	if err != nil {
		return workflow.Shown{}, nil, err
	}
	sum := sha256.Sum256(content)
	if h := resp.Header.Get("Milterd-SHA256"); h != hex.EncodeToString(sum[:]) {
		return workflow.Shown{}, nil, fmt.Errorf("document %d has digest %x, but the page says %s", n, sum, h)
	}
	revision, err := strconv.Atoi(resp.Header.Get("Milterd-Revision"))
	if err != nil {
		return workflow.Shown{}, nil, fmt.Errorf("document %d has no revision: %w", n, err)
	}
	return workflow.Shown{Document: n, Revision: revision, SHA256: sum}, content, nil
}
