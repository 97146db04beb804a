// Package openotp is a client for the signature methods of an OpenOTP server
// (SOAP, "Mobile and electronic signatures", section 7): a document is sent to a
// person's phone, signed or confirmed there, and fetched when it is done.
//
// It goes Sign (or SignQR, or Confirm), then Check every few seconds or Wait, then the
// signed file; Touch reminds, Cancel takes back, List says what is pending, Seal seals.
// Everything is asynchronous: no call waits for a person.
//
// Limits: the whole document goes to that server, which is meant to stand in the same
// house. The signed file is handed on as it came; whoever called must validate it,
// and compare it with what was sent. People from outside (YumiSign) are not there.
//
// References: RCDevs, OpenOTP electronic signatures, sections 6 and 7; SOAP 1.1
// (rpc/literal).
package openotp
