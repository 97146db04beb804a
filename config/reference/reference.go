// Package reference writes the configuration's reference from its source: the
// sample file milterd.toml.sample and the man page milterd.toml(5). The words
// are the comments of package config's structs, so that there is one place to
// change. Its test writes both files with -update (go generate), and fails
// when they differ from what it would write.
package reference

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"reflect"
	"strings"

	"milterd/config"
)

// entry is a field of the file with its words.
type entry struct {
	config.Field
	doc      string
	def      string // as written in the file, "" for none
	required bool
}

// entries reads the comments of the schema's files and joins them with Fields.
func entries(sources ...[]byte) ([]entry, error) {
	docs := map[string]string{} // "Config.Domain" to its comment
	for _, source := range sources {
		file, err := parser.ParseFile(token.NewFileSet(), "", source, parser.ParseComments)
		if err != nil {
			return nil, fmt.Errorf("reading the schema: %w", err)
		}
		ast.Inspect(file, func(n ast.Node) bool {
			ts, ok := n.(*ast.TypeSpec)
			if !ok {
				return true
			}
			if st, ok := ts.Type.(*ast.StructType); ok {
				for _, f := range st.Fields.List {
					for _, name := range f.Names {
						docs[ts.Name.Name+"."+name.Name] = strings.TrimSpace(f.Doc.Text())
					}
				}
			}
			return true
		})
	}
	var out []entry
	fields := config.Fields()
	var walk func(t reflect.Value)
	walk = func(v reflect.Value) {
		for i := range v.NumField() {
			sf := v.Type().Field(i)
			e := entry{Field: fields[len(out)], doc: docs[v.Type().Name()+"."+sf.Name]}
			if !e.Table {
				e.def = literal(e.Field, v.Field(i))
				e.required = e.def == "" && required[e.Name]
			}
			out = append(out, e)
			switch {
			case e.Many: // there is none by default
				walk(reflect.Zero(sf.Type.Elem()))
			case e.Table:
				walk(v.Field(i))
			}
		}
	}
	walk(reflect.ValueOf(*config.Default()))
	return out, nil
}

// required are the fields that have no default and may not be left out.
var required = map[string]bool{"domain": true, "url": true, "organisation.name": true, "organisation.country": true}

func literal(f config.Field, v reflect.Value) string {
	if v.IsZero() && v.Kind() != reflect.Bool || v.Kind() == reflect.Slice && v.Len() == 0 {
		return ""
	}
	if list, ok := v.Interface().([]string); ok {
		quoted := make([]string, len(list))
		for i, s := range list {
			quoted[i] = fmt.Sprintf("%q", s)
		}
		return f.Assignment("[" + strings.Join(quoted, ", ") + "]")
	}
	return f.Assignment(fmt.Sprint(v.Interface()))
}

func example(e entry) string { return e.Assignment(e.Example) }

// sample writes milterd.toml.sample: what must be set is set, the rest stands
// as a comment with its default.
func sample(es []entry) string {
	var b strings.Builder
	b.WriteString("# milterd.toml: the configuration of milterd, see milterd.toml(5).\n" +
		"# Four fields must be set; the others are comments that show their default,\n" +
		"# or an example where the default is empty. Lengths of time are written \"30d\",\n" +
		"# \"12h\" or \"90m\". Check with: milterd check-config\n")
	for _, e := range es {
		b.WriteString("\n")
		comment(&b, e.doc)
		switch {
		case e.Many:
			b.WriteString("#[[" + e.Name + "]]\n")
			continue
		case e.Table:
			b.WriteString("[" + e.Name + "]\n")
			continue
		case e.Unit != "":
			b.WriteString("# Unit: " + e.Unit + ".\n")
		}
		switch {
		case e.required:
			b.WriteString(example(e) + "\n")
		case e.def != "":
			b.WriteString("#" + e.def + "\n")
		default:
			b.WriteString("# Default: none.\n#" + example(e) + "\n")
		}
	}
	return b.String()
}

func comment(b *strings.Builder, doc string) {
	for line := range strings.Lines(doc) {
		b.WriteString("# " + strings.TrimRight(line, "\n") + "\n")
	}
}

// manual writes milterd.toml(5) with the man macros of man-pages(7).
func manual(es []entry) string {
	var b strings.Builder
	b.WriteString(".TH MILTERD.TOML 5 \"\" milterd\n.SH NAME\nmilterd.toml \\- configuration of milterd\n" +
		".SH SYNOPSIS\n.I /etc/milterd/milterd.toml\n" +
		".SH DESCRIPTION\nOne TOML file. An unknown field is an error; errors name file, line and field.\n" +
		"Lengths of time are written 30d, 720h, 90m or 1d12h. Secrets are never in the file, only the names of files that hold them.\n" +
		".SH FIELDS\n")
	for _, e := range es {
		if e.Table {
			name := "[" + e.Name + "]"
			if e.Many {
				name = "[" + name + "]"
			}
			fmt.Fprintf(&b, ".SS %s\n%s\n", roff(name), roff(e.doc))
			continue
		}
		fmt.Fprintf(&b, ".TP\n.B %s\n%s\n", roff(e.Name), roff(e.doc))
		if e.Unit != "" {
			fmt.Fprintf(&b, "Unit: %s.\n", roff(e.Unit))
		}
		switch {
		case e.required:
			fmt.Fprintf(&b, "Must be set. Example: %s\n", roff(example(e)))
		case e.def != "":
			fmt.Fprintf(&b, "Default: %s", roff(e.def))
			if example(e) != e.def {
				fmt.Fprintf(&b, ". Example: %s", roff(example(e)))
			}
			b.WriteString("\n")
		default:
			fmt.Fprintf(&b, "Default: none. Example: %s\n", roff(example(e)))
		}
	}
	b.WriteString(".SH SEE ALSO\n.BR milterd (8)\n")
	return b.String()
}

// roff escapes what troff would read as its own.
func roff(s string) string {
	s = strings.ReplaceAll(s, `\`, `\e`)
	s = strings.ReplaceAll(s, "-", `\-`)
	lines := strings.Split(s, "\n")
	for i, l := range lines {
		if strings.HasPrefix(l, ".") || strings.HasPrefix(l, "'") {
			lines[i] = `\&` + l
		}
	}
	return strings.Join(lines, "\n")
}
