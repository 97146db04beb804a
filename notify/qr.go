package notify

import (
	"fmt"

	"github.com/skip2/go-qrcode"
)

// qrSize is the width of the picture in pixels. Mails show it at half of
// that, sharp on screens of double density, and 6 CSS pixels for each module
// of the 33 + 8 that a link of up to 62 characters takes.
const qrSize = 2 * 246

// qrPNG draws a link: level M, black on opaque white, with the quiet zone of
// four modules that readers need (ISO/IEC 18004, 5.3.8).
func qrPNG(link string) ([]byte, error) {
	q, err := qrcode.New(link, qrcode.Medium)
	if err != nil {
		return nil, fmt.Errorf("QR code: %w", err)
	}
	png, err := q.PNG(qrSize)
	if err != nil {
		return nil, fmt.Errorf("QR code: %w", err)
	}
	return png, nil
}
