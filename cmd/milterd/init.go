package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"milterd/config"
	"milterd/pki"
	"milterd/program"
)

type initCmd struct {
	Key string `enum:"rsa-3072,p-256" default:"rsa-3072" help:"Kind of the keys: ${enum}. Default: ${default}, which every PDF reader verifies."`
}

func (initCmd) Help() string {
	return "Without a configuration, writes a sample and stops: set its four fields and run init again. With one, makes the data folder, the master key and the keys of the certificate authority, the seal and the timestamps. Where root runs it, what it makes belongs to the owner of the data folder. What is there already stays as it is, so it can be run again at any time."
}

func (i initCmd) Run(c *cli) error {
	cfg, err := c.loadAsOwner()
	if errors.Is(err, fs.ErrNotExist) {
		if err := writeNew(c.Config, config.Sample); err != nil {
			return err
		}
		fmt.Printf("made %s\n\nNext: set its four fields (domain, url, organisation), then run: milterd init -c %s\n", c.Config, c.Config)
		return nil
	}
	if err != nil {
		return err
	}
	made, err := program.Init(cfg, pki.KeyType(i.Key))
	for _, m := range made {
		fmt.Println("made " + m)
	}
	if err != nil {
		return err
	}
	if len(made) == 0 {
		fmt.Println("everything is there already, nothing was changed")
	}
	fmt.Printf(`
Next:
  1. List the people who may ask and sign in %s.
  2. milterd check-config -c %s
  3. systemctl enable --now milterd.socket milterd, or: milterd serve -c %s
  4. milterd postfix apply -c %s
  5. Back up %s: without its keys no link works and nothing more can be sealed.
`, cfg.Directory.Users, c.Config, c.Config, c.Config, cfg.Data)
	return nil
}

// writeNew writes a file that is not there yet.
func writeNew(path string, content []byte) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
	if err != nil {
		return err
	}
	_, err = f.Write(content)
	return errors.Join(err, f.Close())
}
