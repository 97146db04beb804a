package web

import (
	"context"
	"time"

	"milterd/workflow"
)

// Credentials lists what people have enrolled; workflow.Store does.
type Credentials interface {
	Credentials(ctx context.Context, mail string) ([]*workflow.Credential, error)
}

// lookDevices is the list of a person's own devices.
type lookDevices struct {
	Devices []lookDevice  `json:"devices"`
	Pending []lookPending `json:"pending"`
	Card    bool          `json:"card,omitempty"` // a card's certificate can be registered
}

type lookDevice struct {
	ID         string                  `json:"id"`
	Kind       workflow.CredentialKind `json:"kind"`
	Name       string                  `json:"name"`
	Enrolled   time.Time               `json:"enrolled"`
	ApprovedBy string                  `json:"approved_by"`
	Used       time.Time               `json:"used,omitzero"`
	Revoked    time.Time               `json:"revoked,omitzero"`
	Until      time.Time               `json:"until,omitzero"` // of a certificate
}

// lookPending is a device that asks for approval. Its handle stays with its own
// page: who reads this list cannot finish its enrolment.
type lookPending struct {
	Enrolment string    `json:"enrolment"`
	Number    string    `json:"number"`
	Device    string    `json:"device"`
	Begun     time.Time `json:"begun"`
}

func (s *site) devices(ctx context.Context, c *call) error {
	var in struct {
		Token string `json:"token"`
	}
	if err := c.decode(&in); err != nil {
		return err
	}
	return s.answerDevices(ctx, c)
}

func (s *site) answerDevices(ctx context.Context, c *call) error {
	all, err := s.credentials(ctx, c.visit)
	if err != nil {
		return err
	}
	out := lookDevices{Devices: []lookDevice{}, Pending: []lookPending{}, Card: s.Card}
	for _, d := range all {
		l := lookDevice{ID: d.ID, Kind: d.Kind, Name: d.Name, Enrolled: d.Enrolled, ApprovedBy: d.ApprovedBy, Used: d.Used, Revoked: d.Revoked}
		if cert := d.Certificate(); cert != nil {
			l.Until = cert.NotAfter
		}
		out.Devices = append(out.Devices, l)
	}
	waiting, err := s.Enrolments.Pending(ctx, c.visit.Who().Mail)
	if err != nil {
		return err
	}
	for _, e := range waiting {
		out.Pending = append(out.Pending, lookPending{e.ID, e.Number, e.Agent, e.Created})
	}
	return c.answer(out)
}

// devicesRevoke takes a device away. The mailbox alone may do that: somebody
// whose only device was stolen must be able to.
func (s *site) devicesRevoke(ctx context.Context, c *call) error {
	var in struct {
		Token string `json:"token"`
		ID    string `json:"id"`
	}
	if err := c.decode(&in); err != nil {
		return err
	}
	if err := s.Desk.RemoveDevice(ctx, c.visit, in.ID, c.client); err != nil {
		return err
	}
	return s.answerDevices(ctx, c)
}

// credentials are what the visitor has enrolled.
func (s *site) credentials(ctx context.Context, v workflow.Visit) ([]*workflow.Credential, error) {
	if s.Credentials == nil {
		return nil, nil
	}
	all, err := s.Config.Credentials.Credentials(ctx, v.Who().Mail)
	if err != nil {
		return nil, &workflow.Refusal{Code: 451, Enhanced: "4.3.0", Reason: "store-away", Err: err,
			Text: "The signature desk cannot reach its database. Please try again in a few minutes."}
	}
	return all, nil
}

// count says how many of a kind still count.
func count(all []*workflow.Credential, kind workflow.CredentialKind) (n int) {
	for _, d := range all {
		if d.Kind == kind && d.Revoked.IsZero() {
			n++
		}
	}
	return n
}
