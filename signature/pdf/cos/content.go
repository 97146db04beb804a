package cos

import "bytes"

// StateBalance reads a content stream and counts the Q operators that have no q
// before them, and the q operators that have no Q after them. It gives zeros for
// what is no content stream.
func StateBalance(content []byte) (missing, open int) {
	p := parser{b: content, refless: true}
	for {
		p.skip()
		if p.pos >= len(p.b) {
			return missing, open
		}
		p.elements = 0
		o, err := p.token()
		if err != nil {
			return 0, 0
		}
		switch o {
		case keyword("q"):
			open++
		case keyword("Q"):
			if open > 0 {
				open--
			} else {
				missing++
			}
		case keyword("ID"):
			p.inlineImage()
		}
	}
}

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
