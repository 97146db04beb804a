package cos

import (
	"bytes"
	"fmt"
	"strings"
)

// maxOperands bounds what can stand before an operator of a content stream.
const maxOperands = 512

// Operators reads a content stream (ISO 32000-2, 7.8.2) and calls fn with each
// operator and its operands, until fn gives false. Operands are good for the
// call only. Of an inline image, ID comes with the keys and values between BI
// and ID; its data is passed over.
func Operators(content []byte, fn func(op string, operands []Object) bool) error {
	p := parser{b: content, refless: true}
	var operands []Object
	for {
		p.skip()
		if p.pos >= len(p.b) {
			return nil
		}
		p.elements = 0
		o, err := p.token()
		if err != nil {
			return err
		}
		op, ok := o.(keyword)
		if !ok {
			if operands = append(operands, o); len(operands) > maxOperands {
				return fmt.Errorf("offset %d: operands of one operator: %w", p.pos, ErrLimit)
			}
			continue
		}
		if !fn(string(op), operands) {
			return nil
		}
		if op == "ID" {
			p.inlineImage()
		}
		operands = operands[:0]
	}
}

// StateBalance reads a content stream and counts the Q operators that have no q
// before them, and the q operators that have no Q after them. It gives zeros for
// what is no content stream.
func StateBalance(content []byte) (missing, open int) {
	p := parser{b: content, refless: true}
	for {
		for p.pos < len(p.b) && passed[p.b[p.pos]] {
			p.pos++
		}
		if p.pos >= len(p.b) {
			return missing, open
		}
		if c := p.b[p.pos]; c == '%' {
			p.skip()
			continue
		} else if !isRegular(c) { // a name, string, array or dictionary
			p.elements = 0
			if _, err := p.token(); err != nil {
				return 0, 0
			}
			continue
		}
		start := p.pos
		for p.pos < len(p.b) && isRegular(p.b[p.pos]) {
			p.pos++
		}
		if start > 0 && isRegular(p.b[start-1]) {
			continue // within a longer word
		}
		switch string(p.b[start:p.pos]) {
		case "q":
			open++
		case "Q":
			if open > 0 {
				open--
			} else {
				missing++
			}
		case "ID":
			p.inlineImage()
		}
	}
}

// passed are the bytes at which nothing begins that StateBalance looks for: white
// space, and what numbers and other operators are made of.
var passed = func() (is [256]bool) {
	for c := range is {
		is[c] = !isDelimiter(byte(c)) && !strings.ContainsRune("qQI", rune(c))
	}
	return is
}()

// inlineImage passes the data of an inline image: to an EI between white space.
func (p *parser) inlineImage() {
	for {
		i := bytes.Index(p.b[p.pos:], []byte("EI"))
		if i < 0 {
			p.pos = len(p.b)
			return
		}
		at := p.pos + i
		p.pos = at + 2
		if at > 0 && isSpace(p.b[at-1]) && (p.pos == len(p.b) || isSpace(p.b[p.pos])) {
			return
		}
	}
}
