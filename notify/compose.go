package notify

import (
	"fmt"

	"milterd/workflow"
)

// Compose writes the whole mail, with CRLF line ends, ready for DATA. Equal
// notices at equal times give equal bytes. An error means that the notice
// itself is wrong: a person who is not in the session, no link in an
// invitation, an address that cannot be mailed to.
func (n *Notifier) Compose(notice workflow.Notice) ([]byte, error) {
	return nil, fmt.Errorf("composing %s: not written yet", notice.Kind)
}
