// Package trustlisttest makes trusted lists for tests, the benchmark and the demo: a list of
// the lists and national lists over authorities that are given, signed with keys of its own.
package trustlisttest
