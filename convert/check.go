package convert

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"

	"milterd/workflow"
)

// program is the file that is run: not the script soffice, which needs a shell,
// but what the script would run.
func (c *Converter) program() (string, error) {
	name := c.config.Program
	if name == "" {
		name = "soffice"
	}
	found, err := exec.LookPath(name)
	if err == nil {
		found, err = filepath.Abs(found)
	}
	if err == nil {
		found, err = filepath.EvalSymlinks(found)
	}
	if err != nil {
		return "", fmt.Errorf("%w: LibreOffice is not installed: %w; on Debian: %s", ErrUnavailable, err, install(c.modules()))
	}
	if bin := filepath.Join(filepath.Dir(found), "soffice.bin"); bin != found {
		if _, err := os.Stat(bin); err == nil {
			return bin, nil
		}
	}
	return found, nil
}

// modules are those of LibreOffice that the kinds of files need.
func (c *Converter) modules() []string {
	var out []string
	for _, k := range c.config.Kinds {
		out = append(out, kinds[k].module)
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// install is what an administrator of Debian types.
func install(modules []string) string {
	s := "apt-get install --no-install-recommends"
	for _, m := range modules {
		s += " libreoffice-" + m + "-nogui"
	}
	return s
}

func has(program, module string) bool {
	_, err := os.Stat(filepath.Join(filepath.Dir(program), fmt.Sprintf(registry, module)))
	return err == nil
}

// Check tries it: LibreOffice is there with all modules that the kinds need, and a
// small file becomes a PDF within the sandbox. It gives LibreOffice's version. Its
// error, which wraps ErrUnavailable, says what would help.
func (c *Converter) Check(ctx context.Context) (string, error) {
	at, err := c.program()
	if err != nil {
		return "", err
	}
	missing := slices.DeleteFunc(c.modules(), func(m string) bool { return has(at, m) })
	if len(missing) > 0 {
		return "", fmt.Errorf("%w: LibreOffice in %s lacks %s; on Debian: %s", ErrUnavailable, filepath.Dir(at), strings.Join(missing, ", "), install(missing))
	}
	o, trial := order{Program: at, Filter: kinds["rtf"].filter, Kind: "rtf"}, `{\rtf1 trial}`
	if !has(at, "writer") { // a site of pictures
		o.Filter, o.Kind, trial = kinds["svg"].filter, "svg", `<svg xmlns="http://www.w3.org/2000/svg" width="9" height="9"><path d="M0 0h9"/></svg>`
	}
	if _, err := c.sandboxed(ctx, o, []byte(trial)); err != nil {
		var r *workflow.Refusal
		if errors.As(err, &r) && r.Err != nil {
			err = r.Err
		}
		if !errors.Is(err, ErrUnavailable) {
			err = fmt.Errorf("%w: a trial: %w", ErrUnavailable, err)
		}
		return "", err
	}
	return version(at), nil
}
