//go:build !linux

package convert

import (
	"context"
	"errors"
	"os/exec"
	"time"
)

var errLinux = errors.New("the sandbox needs Linux")

func startable(context.Context) (*exec.Cmd, error) { return nil, errors.Join(ErrUnavailable, errLinux) }

func explain(err error) error { return err }

func enclose(order) error { return errLinux }

func start(order, string, *tail, time.Time) (int, error) { return -1, errLinux }
