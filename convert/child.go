package convert

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"image"
	_ "image/gif" // their headers tell a picture's size
	_ "image/jpeg"
	_ "image/png"
	"io"
	"os"
	"path/filepath"
	"time"
)

// childMark in the environment says that this process is a sandbox's first.
const childMark = "MILTERD_CONVERT_CHILD"

// maxPoints is how many points a picture may have: an A3 page at 600 dpi has 70
// million. LibreOffice needs 4 bytes or more for each.
const maxPoints = 100 * 1000 * 1000

// work is the sandbox's only folder that can be written, in memory. LibreOffice
// insists on the name: its socket for itself is there.
const work = "/tmp"

// ChildMain does the work of a sandbox's first process if this process was
// started as one, and says so.
func ChildMain() bool {
	if os.Getenv(childMark) == "" {
		return false
	}
	in, out := bufio.NewReader(os.Stdin), os.Stdout
	r, pdf := childWork(in)
	r.Size = len(pdf)
	line, err := json.Marshal(r)
	if err != nil {
		return true
	}
	out.Write(append(line, '\n'))
	out.Write(pdf)
	return true // all other processes end with this one
}

func childWork(in *bufio.Reader) (reply, []byte) {
	line, err := in.ReadBytes('\n')
	var o order
	if err == nil {
		err = json.Unmarshal(line, &o)
	}
	if err != nil {
		return reply{Outcome: noSandbox, Said: "reading the order: " + err.Error()}, nil
	}
	if err := enclose(o); err != nil {
		return reply{Outcome: noSandbox, Said: explain(err).Error()}, nil
	}
	content := make([]byte, o.Size)
	if _, err := io.ReadFull(in, content); err != nil {
		return reply{Outcome: failed, Said: "reading the file: " + err.Error()}, nil
	}
	go func() { // nobody waits for the result any more
		io.Copy(io.Discard, in)
		os.Exit(1)
	}()
	if n, err := countPoints(o.Kind, content); err != nil || n > maxPoints {
		return reply{Outcome: points, Said: fmt.Sprintf("%d points: %v", n, err)}, nil
	}
	source := filepath.Join(work, "in."+o.Kind)
	for _, f := range []struct {
		name    string
		content []byte
	}{{source, content}, {work + "/profile/user/registrymodifications.xcu", []byte(settings)}} {
		if err = os.MkdirAll(filepath.Dir(f.name), 0o700); err == nil {
			err = os.WriteFile(f.name, f.content, 0o600)
		}
		if err != nil {
			return reply{Outcome: failed, Said: err.Error()}, nil
		}
	}
	return run(o, source)
}

// countPoints is how many a picture has.
func countPoints(kind string, content []byte) (int64, error) {
	switch kind {
	case "png", "jpg", "jpeg", "gif":
		c, _, err := image.DecodeConfig(bytes.NewReader(content))
		return int64(c.Width) * int64(c.Height), err
	}
	return 0, nil
}

// Exit statuses of soffice.bin that ask for being started again, as the script
// soffice does: it has made its profile.
const (
	exitRestart = 81
	exitCrash   = 79
)

// run has LibreOffice convert the file.
func run(o order, source string) (reply, []byte) {
	end := time.Now().Add(o.Time)
	said, result := "", filepath.Join(work, "out", "in.pdf")
	for range 3 {
		var complaint tail
		status, err := start(o, source, &complaint, end)
		said = fmt.Sprintf("%v: %s", err, complaint.String())
		if time.Now().After(end) {
			return reply{Outcome: tooLong, Said: said}, nil
		}
		if status != exitRestart && status != exitCrash {
			break
		}
	}
	info, err := os.Lstat(result)
	switch {
	case err != nil || !info.Mode().IsRegular():
		return reply{Outcome: failed, Said: said}, nil
	case info.Size() > MaxPDF:
		return reply{Outcome: tooLarge, Said: fmt.Sprintf("%d bytes", info.Size())}, nil
	}
	pdf, err := os.ReadFile(result)
	if err != nil {
		return reply{Outcome: failed, Said: err.Error()}, nil
	}
	return reply{Outcome: done, Said: said}, pdf
}

// arguments are those of soffice.bin.
func arguments(o order, source string) []string {
	return []string{"--headless", "--nologo", "--norestore", "--nodefault", "--nolockcheck", "--nofirststartwizard",
		"-env:UserInstallation=file://" + work + "/profile", "--infilter=" + o.Filter,
		"--convert-to", "pdf", "--outdir", filepath.Join(work, "out"), source}
}

// environment is all that LibreOffice learns of us. Without /proc the loader does
// not know where the program is, and has to be told.
func environment(program string) []string {
	return []string{"LD_LIBRARY_PATH=" + filepath.Dir(program), "HOME=" + work, "TMPDIR=" + work, "LANG=C.UTF-8", "SAL_USE_VCLPLUGIN=svp", "SAL_DISABLE_OPENCL=1"}
}

// settings are those of LibreOffice that count here: no macro runs, nothing is
// fetched, no link brings anything up to date, and what can be filled in becomes
// part of the page, because a PDF with fields of its own changes after signing.
const settings = `<?xml version="1.0" encoding="UTF-8"?>
<oor:items xmlns:oor="http://openoffice.org/2001/registry" xmlns:xs="http://www.w3.org/2001/XMLSchema" xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance">
<item oor:path="/org.openoffice.Office.Common/Security/Scripting"><prop oor:name="MacroSecurityLevel" oor:op="fuse"><value>3</value></prop></item>
<item oor:path="/org.openoffice.Office.Common/Security/Scripting"><prop oor:name="DisableMacrosExecution" oor:op="fuse"><value>true</value></prop></item>
<item oor:path="/org.openoffice.Office.Common/Security/Scripting"><prop oor:name="BlockUntrustedRefererLinks" oor:op="fuse"><value>true</value></prop></item>
<item oor:path="/org.openoffice.Office.Common/Filter/PDF/Export"><prop oor:name="ExportFormFields" oor:op="fuse"><value>false</value></prop></item>
<item oor:path="/org.openoffice.Office.Writer/Content/Update"><prop oor:name="Link" oor:op="fuse"><value>0</value></prop></item>
<item oor:path="/org.openoffice.Office.Calc/Content/Update"><prop oor:name="Link" oor:op="fuse"><value>2</value></prop></item>
</oor:items>
`
