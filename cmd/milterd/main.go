// Command milterd turns e-mail into a signature desk: see README.md and
// docs/design.md. This package is a table of contents: each subcommand has its
// file, which loads, builds, serves and stops; what a subcommand does lives in
// the rooms that package program puts together.
package main

import (
	"errors"
	"fmt"
	"os"

	"github.com/alecthomas/kong"

	"milterd/config"
	"milterd/convert"
	"milterd/signature/pdf"
)

//go:generate go test milterd/cmd/milterd -run TestManual -update

// cli is everything that can be said on the command line.
type cli struct {
	Config string `short:"c" default:"/etc/milterd/milterd.toml" placeholder:"FILE" help:"Configuration file. Default: ${default}."`

	ShowVersion kong.VersionFlag `name:"version" help:"Print the version."`

	Serve       serveCmd       `cmd:"" help:"Run the signature desk: the doors for Postfix and for people, and the jobs."`
	Init        initCmd        `cmd:"" help:"Make the data folder, the keys and a sample configuration. Never overwrites anything."`
	Demo        demoCmd        `cmd:"" help:"Show the whole desk on this machine, with a mail server and mailboxes of its own."`
	Verify      verifyCmd      `cmd:"" help:"Say what a PDF is signed with, by whom, when, and whether it was changed after."`
	Session     sessionCmd     `cmd:"" help:"List, show, cancel or mail again signing sessions."`
	Device      deviceCmd      `cmd:"" help:"List, approve or remove the devices that people sign with."`
	CA          caCmd          `cmd:"" name:"ca" help:"Certificates of people's devices and of the organisation: list, revoke, publish, put below a company's CA."`
	Qualified   qualifiedCmd   `cmd:"" help:"Trusted lists, registered certificates, and whether one would be taken for a Qualified signature."`
	Archive     archiveCmd     `cmd:"" help:"Keep the archive timestamps of documents from ageing."`
	CheckConfig checkConfigCmd `cmd:"" name:"check-config" help:"Check the configuration and everything that it names."`
	Directory   directoryCmd   `cmd:"" help:"Say whom the directory finds under an address, a login or a group's name, and who answered."`
	Postfix     postfixCmd     `cmd:"" help:"Settings for Postfix."`
	Version     versionCmd     `cmd:"" help:"Print the version."`
}

// Exit statuses besides 0. For verify, failed means that a signature does not
// hold, and indeterminate that it cannot be decided here.
const (
	exitFailed        = 1
	exitIndeterminate = 2
	exitUsage         = 3
)

// exit is an error whose words have been said already.
type exit int

func (e exit) Error() string { return fmt.Sprintf("exit status %d", int(e)) }

func main() {
	if pdf.ChildMain() || convert.ChildMain() {
		return
	}
	var c cli
	parser := kong.Must(&c, options()...)
	ctx, err := parser.Parse(os.Args[1:])
	if err != nil {
		fmt.Fprintf(os.Stderr, "milterd: %v\nTry: milterd --help\n", err)
		os.Exit(exitUsage)
	}
	os.Exit(status(ctx.Run(&c)))
}

func options() []kong.Option {
	return []kong.Option{
		kong.Name("milterd"),
		kong.Description("Mail a document to self@sign.corp.com or john.doe@sign.corp.com: everyone involved gets it back signed, sealed and timestamped."),
		kong.Vars{"version": versionText()},
		kong.ConfigureHelp(kong.HelpOptions{Compact: true}),
	}
}

// status says an error on standard error and gives its exit status.
func status(err error) int {
	var e exit
	switch {
	case err == nil:
		return 0
	case errors.As(err, &e):
		return int(e)
	}
	fmt.Fprintf(os.Stderr, "milterd: %v\n", err)
	return exitFailed
}

// load reads the configuration.
func (c *cli) load() (*config.Config, error) { return config.Load(c.Config) }
