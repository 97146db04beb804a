package main

import (
	"context"
	"errors"
	"os"

	"milterd/demo"
)

// office follows docs/admin.md, "Office files and pictures", for texts: LibreOffice
// runs within the service's sandbox as convert.conf leaves it, and what it
// makes is signed. Then the unit is as strict as before.
func (t *trial) office(ctx context.Context) error {
	const (
		sample = "/etc/milterd/milterd.toml"
		dropIn = "/etc/systemd/system/milterd.service.d/convert.conf"
	)
	word, err := os.ReadFile("convert/testdata/agree.doc")
	if err != nil {
		return err
	}
	if err := t.all(ctx,
		"cp "+sample+" /root/",
		`sed -i '/^\[documents\]/,/^\[/ s|^#*convert = .*|convert = ["doc"]|' `+sample,
		"systemctl restart milterd"); err != nil {
		return err
	}
	// Without LibreOffice, and within a unit that forbids namespaces, nothing is
	// converted, and the administrator hears so.
	if err := t.refused(ctx, "milterd check-config", "good without LibreOffice"); err != nil {
		return err
	}
	if err := t.all(ctx, "apt-get install --no-install-recommends "+office); err != nil {
		return err
	}
	file := demo.Part{Name: "agree.doc", Type: "application/msword", Content: word}
	if _, err := t.submit(ctx, "john@sign.corp.com", "[Standard] Too strict", file); err == nil {
		return errors.New("an Office file is taken although the unit forbids namespaces")
	}
	if err := t.all(ctx,
		"install -m 644 -D /usr/share/milterd/convert.conf "+dropIn+" && systemctl daemon-reload",
		"systemctl restart milterd"); err != nil {
		return err
	}
	if _, err := t.say(ctx, "milterd check-config", "good"); err != nil {
		return err
	}
	if err := t.sign(ctx, "Office agreement", file); err != nil {
		return err
	}
	return t.all(ctx, "cat /root/milterd.toml > "+sample, "rm "+dropIn, "systemctl daemon-reload", "systemctl restart milterd")
}
