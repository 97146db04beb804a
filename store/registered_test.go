package store

import (
	"errors"
	"sync"
	"testing"

	"milterd/workflow"
)

// A person's credentials are read within a transaction, and one certificate is registered
// once, however many ask for it at the same time.
func TestCredentialsOf(t *testing.T) {
	onBoth(t, func(t *testing.T, s *Store) {
		c := credential("passkey", john)
		c.Name = "Safari on iPhone"
		other := credential("other", jane)
		other.Kind, other.Data = workflow.QualifiedCertificate, []byte("DER")
		do(t, s, func(tx workflow.Tx) error { return errors.Join(tx.SaveCredential(c), tx.SaveCredential(other)) })
		var wg sync.WaitGroup
		for _, id := range []string{"a", "b", "c", "d"} {
			wg.Go(func() {
				if err := s.Do(bg, func(tx workflow.Tx) error {
					all, err := tx.CredentialsOf("JOHN.DOE@corp.test")
					if err != nil {
						return err
					}
					for _, k := range all {
						if k.Kind == workflow.QualifiedCertificate {
							return nil
						}
					}
					cert := credential(id, john)
					cert.Kind, cert.Data = workflow.QualifiedCertificate, []byte("DER")
					return tx.SaveCredential(cert)
				}); err != nil {
					t.Error(err)
				}
			})
		}
		wg.Wait()
		do(t, s, func(tx workflow.Tx) error {
			all, err := tx.CredentialsOf(john.Mail)
			if err != nil || len(all) != 2 || all[0].ID != "passkey" || all[1].Kind != workflow.QualifiedCertificate || string(all[1].Data) != "DER" {
				t.Errorf("%+v, %v", all, err)
			}
			if none, err := tx.CredentialsOf("nobody@corp.test"); err != nil || len(none) != 0 {
				t.Errorf("%+v, %v", none, err)
			}
			return nil
		})
	})
}
