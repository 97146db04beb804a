package config

import (
	"bytes"
	_ "embed"
	"errors"
	"fmt"
	"os"
	"reflect"
	"sort"
	"strings"

	"github.com/pelletier/go-toml/v2"
	"github.com/pelletier/go-toml/v2/unstable"
)

// Sample is a file with every field, its words and its default.
//
//go:embed milterd.toml.sample
var Sample []byte

// Problem is one thing that is wrong with a file.
type Problem struct {
	File  string
	Line  int    // from 1; 0 when the field is not in the file
	Field string // dotted: "sessions.deadline"; empty when it is not TOML
	Text  string // what is wrong, and what would be right
}

func (p Problem) Error() string {
	where := p.File
	if p.Line > 0 {
		where += fmt.Sprintf(":%d", p.Line)
	}
	if p.Field != "" {
		where += ": " + p.Field
	}
	return where + ": " + p.Text
}

// Problems is everything that is wrong with a file, in its order.
type Problems []Problem

func (ps Problems) Error() string {
	lines := make([]string, len(ps))
	for i, p := range ps {
		lines[i] = p.Error()
	}
	return strings.Join(lines, "\n")
}

// Load reads and checks a file. Its error is Problems, or says why the file
// cannot be read.
func Load(path string) (*Config, error) {
	b, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("configuration: %w", err)
	}
	return Parse(path, b)
}

// Parse checks the content of a file; name stands in its errors.
func Parse(name string, b []byte) (*Config, error) {
	c := Default()
	dec := toml.NewDecoder(bytes.NewReader(b))
	dec.DisallowUnknownFields()
	if err := dec.Decode(c); err != nil {
		return nil, explain(name, err)
	}
	at := lines(b)
	ps := c.check()
	for i := range ps {
		ps[i].File, ps[i].Line = name, at[ps[i].Field]
	}
	sort.SliceStable(ps, func(i, j int) bool { return ps[i].Line < ps[j].Line })
	if len(ps) > 0 {
		return nil, ps
	}
	return c, nil
}

// explain turns an error of the TOML decoder into Problems.
func explain(name string, err error) Problems {
	var missing *toml.StrictMissingError
	if errors.As(err, &missing) {
		var ps Problems
		for i := range missing.Errors {
			e := &missing.Errors[i]
			line, _ := e.Position()
			field := strings.Join(e.Key(), ".")
			text := "there is no such field"
			if near := nearest(field); near != "" {
				text += ", did you mean " + near + "?"
			}
			ps = append(ps, Problem{name, line, field, text})
		}
		return ps
	}
	p := Problem{File: name, Text: strings.TrimPrefix(err.Error(), "toml: ")}
	var de *toml.DecodeError
	if errors.As(err, &de) {
		p.Line, _ = de.Position()
		p.Field = strings.Join(de.Key(), ".")
		if f, ok := fields()[p.Field]; ok {
			if strings.HasPrefix(p.Text, "cannot decode") {
				p.Text = "this is the wrong kind of value"
			}
			p.Text += ", want for example " + f.Assignment(f.Example)
		}
	}
	return Problems{p}
}

// lines says where each field of a file stands. The file is known to be TOML.
func lines(b []byte) map[string]int {
	at := map[string]int{}
	var p unstable.Parser
	p.Reset(b)
	table := ""
	for p.NextExpression() {
		e := p.Expression()
		var key []string
		line := 0
		for it := e.Key(); it.Next(); {
			n := it.Node()
			key = append(key, string(n.Data))
			line = p.Shape(n.Raw).Start.Line
		}
		path := strings.Join(key, ".")
		switch e.Kind {
		case unstable.Table, unstable.ArrayTable:
			table = path + "."
			at[path] = line
		case unstable.KeyValue:
			at[table+path] = line
		}
	}
	return at
}

// Field describes a field of the file.
type Field struct {
	Name    string // dotted
	Unit    string
	Example string // as in the tag
	Quoted  bool   // strings, times and sizes are written in quotes
	Table   bool
	Many    bool // of a table: there can be any number of them
}

// Assignment is the field as it is written in the file, without its table.
func (f Field) Assignment(value string) string {
	name := f.Name[strings.LastIndex(f.Name, ".")+1:]
	if f.Quoted {
		value = fmt.Sprintf("%q", value)
	}
	return name + " = " + value
}

// Fields gives every field in the order of the struct.
func Fields() []Field { return walk("", reflect.TypeFor[Config]()) }

func fields() map[string]Field {
	m := map[string]Field{}
	for _, f := range Fields() {
		m[f.Name] = f
	}
	return m
}

func walk(prefix string, t reflect.Type) []Field {
	var out []Field
	for i := range t.NumField() {
		sf := t.Field(i)
		f := Field{Name: prefix + sf.Tag.Get("toml"), Unit: sf.Tag.Get("unit"), Example: sf.Tag.Get("example")}
		table := sf.Type
		if f.Many = table.Kind() == reflect.Slice && table.Elem().Kind() == reflect.Struct; f.Many {
			table = table.Elem()
		}
		if table.Kind() == reflect.Struct && table != reflect.TypeFor[Duration]() {
			f.Table = true
			out = append(append(out, f), walk(f.Name+".", table)...)
			continue
		}
		f.Quoted = sf.Type.Kind() == reflect.String || sf.Type == reflect.TypeFor[Duration]() || sf.Type == reflect.TypeFor[Size]()
		out = append(out, f)
	}
	return out
}

// nearest finds the field that somebody probably meant: one with the same last
// name elsewhere, or at most two letters away.
func nearest(field string) string {
	last := func(s string) string { return s[strings.LastIndex(s, ".")+1:] }
	best, score := "", 3
	for _, f := range Fields() {
		n := distance(f.Name, field)
		if d := distance(last(f.Name), last(field)); d < 2 {
			n = min(n, d+1)
		}
		if n < score {
			best, score = f.Name, n
		}
	}
	return best
}

// distance is Levenshtein's.
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := 1
			if a[i] == b[j] {
				cost = 0
			}
			diagonal, row[j+1] = row[j+1], min(row[j+1]+1, row[j]+1, diagonal+cost)
		}
	}
	return row[len(b)]
}
