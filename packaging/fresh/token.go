package main

import (
	"context"

	"milterd/demo"
)

// token moves the seal's key into a PKCS#11 token as docs/pki.md says, and has
// the service seal a document with it: its sandbox must let the library in. Then
// the key is a file again.
func (t *trial) token(ctx context.Context) error {
	const (
		milterd = "runuser -u milterd -- "
		sample  = "/etc/milterd/milterd.toml"
		key     = "/var/lib/milterd/keys/seal.key"
	)
	if err := t.all(ctx,
		"apt install softhsm2",
		"usermod -aG softhsm milterd",
		// The one folder that the service may write.
		"sed -i 's|^directories.tokendir = .*|directories.tokendir = /var/lib/milterd/tokens|' /etc/softhsm/softhsm2.conf",
		"printf 1234 > /etc/milterd/token.pin && chown milterd: /etc/milterd/token.pin && chmod 600 /etc/milterd/token.pin",
		milterd+"mkdir -m 700 /var/lib/milterd/tokens",
		milterd+"softhsm2-util --init-token --free --label milterd --so-pin 12345678 --pin 1234",
		milterd+"softhsm2-util --import "+key+" --token milterd --label seal --id 01 --pin 1234",
		"mv "+key+" /root/ && cp "+sample+" /root/",
		`sed -i '/^\[keys\]/,/^\[/ { s|^#token = .*|token = ["seal"]|; s|^#module = |module = |; s|^#label = |label = |; s|^#pin_file = |pin_file = | }' `+sample,
		"systemctl restart milterd"); err != nil {
		return err
	}
	if _, err := t.say(ctx, "milterd check-config", "good"); err != nil {
		return err
	}
	if err := t.sign(ctx, "Lease", demo.Sample()); err != nil {
		return err
	}
	return t.all(ctx, "cat /root/milterd.toml > "+sample, "mv /root/seal.key "+key, "rm -r /var/lib/milterd/tokens /etc/milterd/token.pin", "systemctl restart milterd")
}
