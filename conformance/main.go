// Command conformance lets validators that are not ours judge what milterd makes:
// EU DSS and pyHanko, and as second opinions pdfsig, mutool, openssl and qpdf. What
// is no PDF, CAdES signatures and ASiC containers, DSS and openssl judge. Of
// documents of many programs it also compares the pages before and after, and
// veraPDF says whether PDF/A stays PDF/A.
//
//	go run ./conformance
//
// It makes a file of every kind that the product produces with the product's own
// packages, then damages some of them, and asks everybody about each. What the
// others say of a good file must be TOTAL-PASSED with the exact level; of a
// damaged one, package validate must not say better than any of them. Where we
// differ and mean to, differences.go says why; any other difference is an exit
// status of 1. The table goes to standard output and to docs/conformance.md.
//
// It is no part of the product and of no test run: `make conformance` brings Java
// and Python, and fetches the validators in the versions that dss/pom.xml,
// verapdf/pom.xml and pyhanko/requirements.txt pin, into .cache beside this file. The judging itself
// uses no network.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"

	"milterd/signature/pdf"
)

func main() {
	if pdf.ChildMain() {
		return
	}
	milterd := flag.String("milterd", "bin/milterd", "binary whose demo makes mails' worth of documents")
	page := flag.String("page", "docs/conformance.md", "where the table goes")
	keep := flag.String("keep", "", "folder to leave the judged files in; default: none")
	only := flag.String("only", "", "make only these, with commas: levels, product, inputs, demo, damaged, cades, xades; the page is then left as it is")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	good, err := run(ctx, *milterd, *page, *keep, *only)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "conformance:", err)
	}
	if err != nil || !good {
		os.Exit(1)
	}
}

func run(ctx context.Context, milterd, page, keep, only string) (good bool, err error) {
	dir := keep
	if dir == "" {
		if dir, err = os.MkdirTemp("", "milterd-conformance-"); err != nil {
			return false, err
		}
		defer os.RemoveAll(dir)
	} else if dir, err = filepath.Abs(dir); err != nil {
		return false, err
	}
	began := time.Now()
	m := &maker{ctx: ctx, dir: dir}
	defer m.close()
	if err := m.everything(milterd, only); err != nil {
		return false, fmt.Errorf("making files: %w", err)
	}
	fmt.Printf("%d files made in %.0fs\n", len(m.files), time.Since(began).Seconds())
	began = time.Now()
	opinions, err := ask(ctx, dir, m.files)
	if err != nil {
		return false, fmt.Errorf("judging: %w", err)
	}
	fmt.Printf("judged in %.0fs\n\n", time.Since(began).Seconds())
	v := compare(m.files, opinions, declared)
	if only != "" { // what is declared of other files cannot be met
		v.unexplained, v.unseen = v.unexplained-len(v.unseen), nil
	}
	fmt.Print(v.text())
	if only != "" {
		fmt.Println(v.closing())
		return len(m.files) > 0 && v.failed == 0 && v.unexplained == 0, nil
	}
	if err := os.WriteFile(page, []byte(v.page(m)), 0o644); err != nil {
		return false, err
	}
	fmt.Println(v.closing())
	if len(m.files) == 0 {
		return false, errors.New("no cases")
	}
	return v.failed == 0 && v.unexplained == 0, nil
}
