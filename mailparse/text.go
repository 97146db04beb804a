package mailparse

import (
	"regexp"
	"strings"
	"sync"
	"unicode"
	"unicode/utf8"

	"golang.org/x/net/html"
)

// maxWords is how many characters of the mail an invitation quotes.
const maxWords = 500

// quoteStart are the lines with which mail clients introduce what they quote.
var quoteStart = compiled(`(?i)^(` + strings.Join([]string{
	`-{2,}\s*(original message|ursprüngliche nachricht|message d'origine|message original|forwarded message|weitergeleitete nachricht|message transféré)\s*-{2,}.*`,
	`_{10,}`,
	`(on|am|le)\b.{3,200}(wrote|schrieb|a écrit)\b.{0,80}:\s*`,
	`begin forwarded message:\s*`,
}, "|") + `)$`)

// headerQuote is the block that Outlook puts above a quoted mail.
var headerQuote = compiled(`(?i)^\*?(from|von|de)\s*:\*?\s.+`)
var headerNext = compiled(`(?i)^\*?(sent|date|to|gesendet|datum|an|envoyé|à)\s*:\*?\s.+`)

// compiled is the expression when it is first needed; these are large, and not
// every process that has this package in it reads mail.
func compiled(expression string) func() *regexp.Regexp {
	return sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(expression) })
}

// ownWords is what the sender wrote: without quotes and signature, at most
// maxWords characters, paragraphs kept, no invisible characters.
func ownWords(s string) string {
	s = strings.ReplaceAll(strings.ReplaceAll(s, "\r\n", "\n"), "\r", "\n")
	lines := strings.Split(s, "\n")
	var out []string
	blank := 0
	for i, line := range lines {
		if line == "-- " || line == "--" {
			break
		}
		line = visible(line)
		if quoteStart().MatchString(line) ||
			headerQuote().MatchString(line) && i+1 < len(lines) && headerNext().MatchString(visible(lines[i+1])) {
			break
		}
		if strings.HasPrefix(line, ">") {
			continue
		}
		if line == "" {
			blank++
			continue
		}
		if len(out) > 0 && blank > 0 {
			out = append(out, "")
		}
		blank = 0
		out = append(out, line)
	}
	return cutWords(strings.Join(out, "\n"), maxWords)
}

// visible drops what a reader would not see, and folds blanks.
func visible(s string) string {
	s = strings.Map(func(r rune) rune {
		switch {
		case unicode.IsSpace(r):
			return ' '
		case unicode.Is(unicode.C, r) && r != '\u200d': // a joiner holds emoji together
			return -1
		}
		return r
	}, strings.ToValidUTF8(s, "\uFFFD"))
	return strings.Join(strings.Fields(s), " ")
}

// cutWords ends at a word's border.
func cutWords(s string, n int) string {
	if utf8.RuneCountInString(s) <= n {
		return s
	}
	r := []rune(s)[:n-1]
	s = string(r)
	if i := strings.LastIndexFunc(s, unicode.IsSpace); i > len(s)*3/4 {
		s = s[:i]
	}
	return strings.TrimRightFunc(s, unicode.IsSpace) + "…"
}

// htmlText is the text of a HTML mail, one line for each block; quotes of
// other mails are left out where their markup shows them.
func htmlText(s string) string {
	var b strings.Builder
	z := html.NewTokenizer(strings.NewReader(s))
	z.SetMaxBuf(maxText)
	skip, quote := "", 0
	for {
		switch z.Next() {
		case html.ErrorToken:
			return b.String()
		case html.TextToken:
			if skip == "" && quote == 0 {
				b.WriteString(strings.Map(func(r rune) rune {
					if r == '\n' || r == '\r' {
						return ' '
					}
					return r
				}, string(z.Text())))
			}
		case html.StartTagToken, html.SelfClosingTagToken:
			switch t, _ := z.TagName(); string(t) {
			case "style", "script", "title", "head":
				if skip == "" {
					skip = string(t)
				}
			case "blockquote":
				quote++
			case "br", "p", "div", "tr", "li", "h1", "h2", "h3", "hr", "table":
				b.WriteByte('\n')
			}
		case html.EndTagToken:
			switch t, _ := z.TagName(); string(t) {
			case skip:
				skip = ""
			case "blockquote":
				quote = max(0, quote-1)
			case "p", "div", "tr", "h1", "h2", "h3", "table":
				b.WriteByte('\n')
			}
		}
	}
}
