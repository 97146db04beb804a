package cms

import (
	"crypto/x509"
	"encoding/asn1"
	"slices"

	"golang.org/x/crypto/cryptobyte"
	tag "golang.org/x/crypto/cryptobyte/asn1"
)

var (
	oidPoints   = asn1.ObjectIdentifier{2, 5, 29, 31}
	oidIssuing  = asn1.ObjectIdentifier{2, 5, 29, 28}
	oidDeltaCRL = asn1.ObjectIdentifier{2, 5, 29, 27}
)

// Covers reports whether a list of a certificate's issuer speaks for it: no
// delta, no indirect list, no list of some reasons or of other certificates only
// (RFC 5280, sections 5.2.5 and 6.3.3). Its signature is not checked here.
func Covers(l *x509.RevocationList, cert *x509.Certificate) bool {
	for _, ext := range l.Extensions {
		switch {
		case ext.Id.Equal(oidDeltaCRL):
			return false
		case ext.Id.Equal(oidIssuing):
			if !inScope(ext.Value, cert) {
				return false
			}
		case ext.Critical:
			return false
		}
	}
	return true
}

// inScope reads an IssuingDistributionPoint. Authorities that split their list
// put each certificate on one part only, and name the part in both.
func inScope(der cryptobyte.String, cert *x509.Certificate) bool {
	var seq, point, skip cryptobyte.String
	var has bool
	if !der.ReadASN1(&seq, tag.SEQUENCE) || !seq.ReadOptionalASN1(&point, &has, explicit0) {
		return false
	}
	if has {
		own := pointsOf(cert)
		if !slices.ContainsFunc(fullName(point), func(n string) bool { return slices.Contains(own, n) }) {
			return false
		}
	}
	for !seq.Empty() {
		var t tag.Tag
		if !seq.ReadAnyASN1(&skip, &t) {
			return false
		}
		user, ca := t == tag.Tag(1).ContextSpecific(), t == tag.Tag(2).ContextSpecific()
		if !user && !ca || user && cert.IsCA || ca && !cert.IsCA {
			return false
		}
	}
	return true
}

// pointsOf gives the names of all distribution points of a certificate.
func pointsOf(cert *x509.Certificate) (out []string) {
	for _, ext := range cert.Extensions {
		if !ext.Id.Equal(oidPoints) {
			continue
		}
		in := cryptobyte.String(ext.Value)
		var list, dp, point cryptobyte.String
		if !in.ReadASN1(&list, tag.SEQUENCE) {
			return nil
		}
		for !list.Empty() {
			var has bool
			if !list.ReadASN1(&dp, tag.SEQUENCE) || !dp.ReadOptionalASN1(&point, &has, explicit0) {
				return nil
			}
			out = append(out, fullName(point)...)
		}
	}
	return out
}

// fullName gives the general names of a DistributionPointName, each as its DER;
// none for the form that is relative to the issuer.
func fullName(in cryptobyte.String) (out []string) {
	var names, el cryptobyte.String
	var t tag.Tag
	if !in.ReadASN1(&names, explicit0) {
		return nil
	}
	for !names.Empty() {
		if !names.ReadAnyASN1Element(&el, &t) {
			return nil
		}
		out = append(out, string(el))
	}
	return out
}
