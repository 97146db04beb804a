package milter

import (
	"bufio"
	"io"
	"net"
	"sync"
	"time"
)

// writeTimeout is for a reply of a few bytes to a Postfix on the same machine.
const writeTimeout = 30 * time.Second

// conn gives the libraries what they lack: buffered reads (the milter's reads
// each packet in two), an idle timeout, and an end at the right moment of a
// shutdown.
type conn struct {
	net.Conn
	r       *bufio.Reader
	idle    time.Duration
	release func() // forgets the mail under way
	onClose func()
	once    sync.Once

	mu       sync.Mutex
	busy     bool // a mail is under way
	draining bool
}

func newConn(nc net.Conn, idle time.Duration) *conn {
	return &conn{Conn: nc, r: bufio.NewReaderSize(nc, 4<<10), idle: idle}
}

// Read reports every end that is not a broken packet as io.EOF, which the
// library takes without a line in the log.
func (c *conn) Read(p []byte) (int, error) {
	if c.r.Buffered() == 0 && !c.ready() {
		return 0, io.EOF
	}
	n, err := c.r.Read(p)
	if err != nil {
		err = io.EOF
	}
	return n, err
}

// ready sets the time limit of the next read, unless the connection must end.
func (c *conn) ready() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.draining && !c.busy {
		return false
	}
	c.Conn.SetReadDeadline(time.Now().Add(c.idle))
	return true
}

func (c *conn) Write(p []byte) (int, error) {
	c.Conn.SetWriteDeadline(time.Now().Add(writeTimeout))
	return c.Conn.Write(p)
}

// setBusy tells whether a mail is under way.
func (c *conn) setBusy(b bool) {
	c.mu.Lock()
	c.busy = b
	c.mu.Unlock()
}

// drain ends the connection now if it rests, or else after its mail: the reply
// is written before the next read.
func (c *conn) drain() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.draining = true
	if !c.busy {
		c.Conn.SetReadDeadline(time.Unix(1, 0))
	}
}

func (c *conn) Close() error {
	err := c.Conn.Close()
	c.once.Do(func() { c.release(); c.onClose() })
	return err
}
