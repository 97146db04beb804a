package cases

import (
	"bufio"
	"bytes"
	"context"
	"encoding/base64"
	"fmt"
	"net"
	"strings"
	"time"
)

// client speaks SMTP as plainly as the cases do: addresses go out as they are
// written, however odd, and replies come back word for word.
type client struct {
	conn net.Conn
	r    *bufio.Reader
}

// patience is the longest that a reply may take.
const patience = 90 * time.Second

func dial(ctx context.Context, addr, name string) (*client, error) {
	conn, err := (&net.Dialer{Timeout: 10 * time.Second}).DialContext(ctx, "tcp", addr)
	if err != nil {
		return nil, err
	}
	c := &client{conn: conn, r: bufio.NewReader(conn)}
	for _, send := range []string{"", "EHLO " + name + "\r\n"} {
		reply, err := c.send([]byte(send))
		if err == nil && reply[0] != '2' {
			err = fmt.Errorf("not welcome: %s", reply)
		}
		if err != nil {
			conn.Close()
			return nil, err
		}
	}
	return c, nil
}

// send writes and reads one reply; of several lines the last counts.
func (c *client) send(b []byte) (string, error) {
	c.conn.SetDeadline(time.Now().Add(patience))
	if _, err := c.conn.Write(b); err != nil {
		return "", err
	}
	for {
		l, err := c.r.ReadString('\n')
		if err != nil {
			return "", fmt.Errorf("reading the reply: %w", err)
		}
		l = strings.TrimRight(l, "\r\n")
		if len(l) < 3 {
			return "", fmt.Errorf("no reply: %q", l)
		}
		if len(l) == 3 || l[3] != '-' {
			return l, nil
		}
	}
}

func (c *client) cmd(format string, args ...any) (string, error) {
	return c.send([]byte(fmt.Sprintf(format, args...) + "\r\n"))
}

func (c *client) auth(login, password string) (string, error) {
	return c.cmd("AUTH PLAIN %s", base64.StdEncoding.EncodeToString([]byte("\x00"+login+"\x00"+password)))
}

// data sends a mail with CRLF line ends, dots doubled.
func (c *client) data(b []byte) (string, error) {
	reply, err := c.cmd("DATA")
	if err != nil || reply[0] != '3' {
		return reply, err
	}
	b = bytes.ReplaceAll(b, []byte("\r\n."), []byte("\r\n.."))
	if bytes.HasPrefix(b, []byte(".")) {
		b = append([]byte("."), b...)
	}
	if !bytes.HasSuffix(b, []byte("\r\n")) {
		b = append(b, "\r\n"...)
	}
	return c.send(append(b, ".\r\n"...))
}

func (c *client) quit() {
	c.cmd("QUIT")
	c.conn.Close()
}
