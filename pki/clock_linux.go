package pki

import (
	"errors"
	"fmt"

	"golang.org/x/sys/unix"
)

// synchronised asks the kernel whether something disciplines the clock.
func synchronised() error {
	var t unix.Timex // Modes 0: only asks
	state, err := unix.Adjtimex(&t)
	if err != nil {
		return fmt.Errorf("asking the kernel: %w", err)
	}
	if state == unix.TIME_ERROR || t.Status&unix.STA_UNSYNC != 0 {
		return errors.New("it is not synchronised (install chrony, or allow it in the configuration)")
	}
	return nil
}
