package web

import (
	"errors"
	"fmt"
	"net/http"

	"milterd/auth"
	"milterd/workflow"
)

// ownKeyRoutes are the calls about passkeys, devices and keys of people's own.
// Where a room is missing, its calls do not exist.
func (s *site) ownKeyRoutes(mux *http.ServeMux) {
	if s.Passkeys != nil {
		mux.Handle("POST /api/passkey/begin", s.api(16<<10, s.passkeyBegin))
		mux.Handle("POST /api/passkey/open", s.api(16<<10, s.passkeyOpen))
		mux.Handle("POST /api/enrol/approve", s.api(16<<10, s.proven(s.enrolApprove)))
	}
	if s.Enrolments != nil {
		mux.Handle("POST /api/enrol/begin", s.api(4<<10, s.proven(s.enrolBegin)))
		mux.Handle("POST /api/enrol/state", s.api(4<<10, s.proven(s.enrolState)))
		mux.Handle("POST /api/enrol/password", s.api(4<<10, s.proven(s.enrolPassword)))
		mux.Handle("POST /api/enrol/options", s.api(4<<10, s.proven(s.enrolOptions)))
		mux.Handle("POST /api/enrol/finish", s.api(32<<10, s.proven(s.enrolFinish)))
		if s.Card {
			mux.Handle("POST /api/enrol/card/begin", s.api(4<<10, s.proven(s.enrolCardBegin)))
			mux.Handle("POST /api/enrol/card", s.api(24<<10, s.proven(s.enrolCard)))
			mux.Handle("POST /api/enrol/certificate", s.api(16<<10, s.proven(s.enrolCertificate)))
		}
		mux.Handle("POST /api/devices", s.api(4<<10, s.proven(s.devices)))
		mux.Handle("POST /api/devices/revoke", s.api(4<<10, s.proven(s.devicesRevoke)))
	}
	if s.TOTP != nil {
		mux.Handle("POST /api/totp/begin", s.api(4<<10, s.proven(s.totpBegin)))
		mux.Handle("POST /api/totp/finish", s.api(16<<10, s.proven(s.totpFinish)))
	}
	if s.Passkeys != nil || s.TOTP != nil {
		mux.Handle("POST /api/key/issue", s.api(32<<10, s.proven(s.keyIssue)))
		mux.Handle("POST /api/key/renew", s.api(16<<10, s.proven(s.keyRenew)))
		mux.Handle("POST /api/prepare", s.api(maxSignBody, s.proven(s.prepare)))
		mux.Handle("POST /api/finish", s.api(64<<10, s.proven(s.finish)))
	}
	if s.Passkeys != nil || s.TOTP != nil || s.Remote != nil || s.Card || s.Phones != nil {
		s.preparedRoutes(mux)
	}
}

// preparedRoutes are what a page does with a preparation until it is finished.
func (s *site) preparedRoutes(mux *http.ServeMux) {
	mux.Handle("POST /api/prepared", s.api(4<<10, s.proven(s.prepared)))
	mux.Handle("POST /api/keep", s.api(4<<10, s.proven(s.keep)))
	mux.Handle("POST /api/abandon", s.api(4<<10, s.proven(s.abandon)))
}

// checkProofs wants a room for each proof that a level accepts. Without any,
// Standard is signed by code.
func (c *Config) checkProofs() error {
	if (c.Passkeys != nil || c.TOTP != nil) && (c.Enrolments == nil || c.Credentials == nil) {
		return errors.New("web: enrolments and credentials are needed for passkeys and one-time passwords")
	}
	if c.Proofs == nil {
		c.Proofs = auth.Proofs{workflow.Standard: {auth.ProofCode}}
	}
	for level, accepted := range c.Proofs {
		for _, p := range accepted {
			switch {
			case p == auth.ProofCode && level != workflow.Advanced: // a mailbox alone never signs with a named certificate
			case p == auth.ProofPasskey && c.Passkeys != nil:
			case p == auth.ProofTOTP && c.TOTP != nil:
			default:
				return fmt.Errorf("web: %s signatures cannot be proven by %q", level, p)
			}
		}
	}
	return nil
}
