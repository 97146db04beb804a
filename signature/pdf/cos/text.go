package cos

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf16"
	"unicode/utf8"
)

// Text makes a text string: ASCII as it is, anything else as UTF-16BE with its
// mark (ISO 32000-2, 7.9.2.2; UTF-8 strings are unknown to readers before PDF 2.0).
func Text(s string) String {
	ascii := true
	for i := 0; i < len(s); i++ {
		if s[i] < ' ' || s[i] > '~' {
			ascii = false
			break
		}
	}
	if ascii {
		return String(s)
	}
	b := []byte{0xFE, 0xFF}
	for _, u := range utf16.Encode([]rune(s)) {
		b = append(b, byte(u>>8), byte(u))
	}
	return String(b)
}

// UTF8 reads a text string: UTF-16 and UTF-8 by their marks, else as Latin-1
// (PDFDocEncoding differs from it in accents and dashes only, which come out as
// the replacement character).
func (s String) UTF8() string {
	switch {
	case strings.HasPrefix(string(s), "\xFE\xFF"):
		u := make([]uint16, 0, len(s)/2)
		for i := 2; i+1 < len(s); i += 2 {
			u = append(u, uint16(s[i])<<8|uint16(s[i+1]))
		}
		return string(utf16.Decode(u))
	case strings.HasPrefix(string(s), "\xEF\xBB\xBF"):
		return strings.ToValidUTF8(string(s[3:]), string(utf8.RuneError))
	}
	if !slices.ContainsFunc([]byte(s), func(c byte) bool { return c < ' ' || c >= 0x80 }) {
		return string(s)
	}
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		c := s[i]
		if c >= 0x80 && c < 0xA1 || c < ' ' && c != '\n' && c != '\r' && c != '\t' {
			b.WriteRune(utf8.RuneError)
			continue
		}
		b.WriteRune(rune(c))
	}
	return b.String()
}

// Date writes a time as a PDF date with its offset: D:20261123094500+01'00'.
func Date(t time.Time) String {
	s := t.Format("D:20060102150405-0700")
	if strings.HasSuffix(s, "+0000") {
		return String(strings.TrimSuffix(s, "+0000") + "Z")
	}
	return String(s[:len(s)-2] + "'" + s[len(s)-2:] + "'")
}

// ParseDate reads a PDF date (ISO 32000-2, 7.9.4). Parts that are left out are
// their smallest value; no offset means UTC.
func ParseDate(s String) (time.Time, error) {
	v := strings.TrimPrefix(string(s), "D:")
	digits := 0
	for digits < len(v) && v[digits] >= '0' && v[digits] <= '9' {
		digits++
	}
	const first = "00000101000000"
	if digits < 4 || digits > len(first) || digits%2 != 0 {
		return time.Time{}, fmt.Errorf("date %q: want D:YYYYMMDDHHMMSS", s)
	}
	t, err := time.Parse("20060102150405", v[:digits]+first[digits:])
	if err != nil {
		return time.Time{}, fmt.Errorf("date %q: %w", s, err)
	}
	zone := strings.ReplaceAll(v[digits:], "'", "")
	if zone == "" || zone[0] == 'Z' {
		return t, nil
	}
	n, err := strconv.Atoi(zone[1:])
	if len(zone) == 3 {
		n *= 100
	}
	if err != nil || (zone[0] != '+' && zone[0] != '-') || n < 0 || n > 2359 || n%100 > 59 {
		return time.Time{}, fmt.Errorf("date %q: bad offset", s)
	}
	offset := n/100*3600 + n%100*60
	if zone[0] == '-' {
		offset = -offset
	}
	return t.Add(-time.Duration(offset) * time.Second).In(time.FixedZone("", offset)), nil
}
