// Package dom reads XML as signatures need it and writes its canonical form.
//
// Reading is strict (XML 1.0, fifth edition, with namespaces): UTF-8 only, one
// root, well-formed in every respect, names bound, attributes unique. There is
// no document type declaration, so there are no entities but the five that XML
// has, no defaulted attributes, nothing that is fetched. Size, depth, nodes and
// attributes have limits (Limit errors). Each node knows where it stands in the
// input, so that a signature can be put in without another byte being touched.
//
// Canonical forms are Canonical XML 1.0 and 1.1 and Exclusive XML 1.0, each with
// or without comments, of a whole document or of one element, less the elements
// that a caller leaves out. Other node sets (XPath in general) do not exist here.
//
// encoding/xml is not used because it hides what canonical forms depend on: it
// takes attributes twice, leaves line ends in attribute values and comments as
// they are, reads over document type declarations and past the root's end.
package dom
