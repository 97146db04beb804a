package milter

import "testing"

// What a log shows of a bounce address does not let its reader forge a bounce.
func TestLogHidesTokens(t *testing.T) {
	for in, want := range map[string]string{
		"john.doe+advanced@sign.corp.test":                             "john.doe+advanced@sign.corp.test",
		"bounce+plnaqab5sm5zkjjt.1.i0.mfrggzdfmztwq2lk@sign.corp.test": "bounce+plnaqab5sm5zkjjt…@sign.corp.test",
		"no at sign": "no at sign",
	} {
		if got := shown(in)[0]; got != want {
			t.Errorf("%s is shown as %s, want %s", in, got, want)
		}
	}
}
