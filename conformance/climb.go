package main

import (
	"milterd/signature/cms"
	"milterd/validate"
)

// climber makes what is no PDF, one level after the other: everybody signs, with or
// without a time; then comes evidence, then an archive timestamp.
type climber struct {
	sign     func(stamped bool) ([]byte, error)
	evidence func(data []byte) ([]byte, error)
	archive  func(data []byte) ([]byte, error)
}

// only is the clock where a signature gets its time, and nil where it does not.
func (l *lastToken) only(stamped bool) cms.Timestamper {
	if !stamped {
		return nil
	}
	return l
}

// climb adds B-B, B-T, B-LT, B-LTA and a renewed B-LTA of one kind; lists are the
// published CRLs, which the first two need, and stamps is how many timestamps an
// archive adds. One signatory's B-B and B-T come once more without the lists.
func (m *maker) climb(base file, name string, lists []string, levels [4]validate.Level, stamps int, c climber) error {
	bare, err := c.sign(false)
	if err != nil {
		return err
	}
	stamped, err := c.sign(true)
	if err != nil {
		return err
	}
	lt, err := c.evidence(stamped)
	if err != nil {
		return err
	}
	lta, err := c.archive(lt)
	if err != nil {
		return err
	}
	renewed, err := c.evidence(lta)
	if err != nil {
		return err
	}
	if renewed, err = c.archive(renewed); err != nil {
		return err
	}
	for i, made := range []struct {
		level  validate.Level
		data   []byte
		suffix string
		stamps int
	}{
		{levels[0], bare, " with the published CRLs", 0}, {levels[1], stamped, " with the published CRLs", 0},
		{levels[2], lt, "", 0}, {levels[3], lta, "", stamps}, {levels[3], renewed, " renewed", 2 * stamps},
	} {
		one := base
		one.level, one.stamps, one.name = made.level, made.stamps, name+", "+short(made.level)+made.suffix
		if i < 2 {
			one.crls = lists
			if base.signatures == 1 {
				alone := one
				alone.crls, alone.indication, alone.name = nil, indeterminate, name+", "+short(made.level)+" without revocation data"
				if _, err := m.add(alone, made.data); err != nil {
					return err
				}
			}
		}
		if _, err := m.add(one, made.data); err != nil {
			return err
		}
	}
	return nil
}
