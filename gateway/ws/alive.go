package ws

import (
	"time"

	"github.com/tidings-im/tidings/shared/frame"
)

// keepAlive pings connections that are due, and closes those that have been
// silent too long, that do not come to the end of a frame, or whose token has
// expired.
func (h *Hub) keepAlive(conns []*Conn) {
	now := time.Now().UnixNano()
	for _, c := range conns {
		began := c.reading.Load()
		switch {
		case now-c.lastSeen.Load() > h.Idle.Nanoseconds(), began != 0 && now-began > readWait.Nanoseconds():
			c.Close(frame.CloseIdle, 0)
		case now-c.expires.Load() > tokenGrace.Nanoseconds():
			c.Close(frame.CloseExpired, 0)
		case now-c.pinged >= h.Ping.Nanoseconds():
			c.pinged = now
			c.ping()
		}
	}
}
