// Package shadow makes documents that are prepared for shadow attacks, for the
// tests of those who inspect documents and of those who judge signatures: the
// one must refuse them or tell the signatory, the other must see the attack when
// it is sprung after signing. The kinds (hide, replace, hide-and-replace) are
// those of Mainka, Mladenov and Rohlmann, "Shadow Attacks: Hiding and Replacing
// Content in Signed PDFs" (NDSS 2021); one object in two roles, and objects that
// say that they only hold the file together, are ours.
package shadow
