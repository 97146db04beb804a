package qualified

// Person is who is expected to sign. What is filled in decides: one of Serial, the
// name and Registered must match, and a Serial that is filled in must (two
// people can have one name).
type Person struct {
	Serial     string   // serialNumber of the subject, "PNOEE-38001085718" (EN 319 412-1, clause 5.1.3)
	GivenName  string   // as the directory has it
	Surname    string   // as the directory has it
	Registered []string // SHA-256 of certificates registered before, hex: Report.Fingerprint
}
