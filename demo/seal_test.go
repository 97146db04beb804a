package demo

import (
	"context"
	"log/slog"
	"strings"
	"testing"
	"time"

	"milterd/signer/csc/csctest"
	"milterd/validate"
	"milterd/workflow"
)

// The organisation's seal is a qualified one whose key is at a provider, a
// stand-in: documents at level Standard are sealed by it, evidence too; while the
// provider is away they wait, and nothing else seals in its place.
func TestQualifiedSeal(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
	defer cancel()
	cast, err := everybody()
	if err != nil {
		t.Fatal(err)
	}
	h, err := start(ctx, Options{provider: true, seal: true}, cast, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	defer h.close()
	r := &run{house: h, out: t.Output(), dir: t.TempDir()}
	if err := clear(r.dir); err != nil {
		t.Fatal(err)
	}
	h.provider.Behave(csctest.Down, "signatures/signHash")
	go func() {
		time.Sleep(3 * time.Second)
		h.provider.Behave("", "signatures/signHash")
	}()
	c := scenarios(h.people)[0]
	v := &visitor{scenario: c}
	ok := r.invite(ctx, v) && r.openByCode(ctx, v) && r.step("signature taken", func() (string, error) {
		_, _, err := v.b.Post(ctx, "sign", map[string]any{"code": v.code, "shown": v.shown, "appearance": c.appearance}, nil)
		return "", err
	}) && r.result(ctx, v, nil)
	if !ok || r.failed > 0 {
		t.Fatal("see above")
	}
	res, err := validate.Validate(v.content, validate.Options{Anchors: h.anchors()})
	if err != nil {
		t.Fatal(err)
	}
	seals := 0
	for _, s := range res.Signatures {
		if s.Kind != validate.KindSignature {
			continue
		}
		if seals++; !strings.Contains(s.Issuer, "Test QTSP") {
			t.Errorf("sealed by a certificate of %s", s.Issuer)
		}
	}
	if seals != 2 {
		t.Errorf("%d signatures of the seal\n%s", seals, res.Text())
	}
	all, err := h.program.Store.List(ctx, workflow.Filter{Limit: 1})
	if err != nil || len(all) != 1 {
		t.Fatalf("%d sessions, %v", len(all), err)
	}
	if _, err := h.program.Evidence(ctx, all[0].ID); err != nil {
		t.Error(err)
	}
	if odd := h.provider.Refused(); len(odd) > 0 {
		t.Errorf("the provider had to refuse: %q", odd)
	}
}
