//go:build !linux

package pki

import "errors"

// synchronised cannot tell on this system.
func synchronised() error {
	return errors.New("this system does not say whether it is synchronised (allow it in the configuration)")
}
