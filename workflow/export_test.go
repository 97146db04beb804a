package workflow

import "time"

// RenewEvery makes leases be renewed more often than people would wait in a test.
func RenewEvery(d time.Duration) (restore func()) {
	was := leaseRenew
	leaseRenew = d
	return func() { leaseRenew = was }
}
