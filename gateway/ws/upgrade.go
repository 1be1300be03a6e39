package ws

import (
	"context"
	"math"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/gorilla/websocket"

	"github.com/tidings-im/tidings/gateway/origin"
	"github.com/tidings-im/tidings/shared/fn"
	"github.com/tidings-im/tidings/shared/frame"
	"github.com/tidings-im/tidings/shared/im"
	"github.com/tidings-im/tidings/shared/proc"
)

// refusal is why a request for a connection is refused.
type refusal struct {
	status int
	err    error
}

func no(status int, k im.Kind, msg string) *refusal {
	return &refusal{status, &im.Error{Kind: k, Msg: msg}}
}

// ServeHTTP opens a connection.
func (h *Hub) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	token, refused := h.admit(w, r)
	if refused != nil {
		h.refuse(w, refused)
		return
	}
	caller, expires, err := h.Verifier.Verify(token)
	if err != nil {
		h.refuse(w, &refusal{http.StatusUnauthorized, err})
		return
	}
	if err := caller.May(im.MessagesRead); err != nil { // which is what a connection is for
		h.refuse(w, &refusal{http.StatusForbidden, err})
		return
	}
	if h.count.Add(1) > int64(h.Connections) {
		h.count.Add(-1)
		h.refuse(w, &refusal{http.StatusServiceUnavailable, &im.Error{
			Kind: im.Overloaded, Msg: "this gateway holds as many connections as it can: come back later", RetryAfter: spread(time.Second, 10*time.Second),
		}})
		return
	}
	if h.hasEnded(r.Context(), caller.Session) {
		h.count.Add(-1)
		h.refuse(w, no401("the session has ended: sign in again"))
		return
	}
	s, err := newSocket(w, r, frame.Subprotocol)
	if err != nil { // the upgrader has answered, or there is nobody to answer
		h.count.Add(-1)
		h.Log.Debug("opening a connection", "user", caller.User, "err", err)
		return
	}
	c := h.newConn(s, im.Conn{
		ID: im.NewID(), User: caller.User, Gateway: h.Gateway,
		Device: caller.Device, Platform: caller.Platform, Session: caller.Session,
	}, expires)
	c.mayWrite(caller)
	s.handle(c.onPing, c.onPong)
	// Not in this goroutine, which keeps the buffers of the request.
	go h.begin(c)
}

func no401(msg string) *refusal { return no(http.StatusUnauthorized, im.Unauthenticated, msg) }

func (h *Hub) refuse(w http.ResponseWriter, r *refusal) {
	h.Metrics.upgrades.WithLabelValues(string(im.KindOf(r.err))).Inc()
	fn.WriteProblem(w, r.status, r.err)
}

// admit reports what in a request for a connection can be refused by looking
// at it, and returns its token.
func (h *Hub) admit(w http.ResponseWriter, r *http.Request) (string, *refusal) {
	if h.draining.Load() {
		return "", &refusal{http.StatusServiceUnavailable, &im.Error{Kind: im.Unavailable, Msg: "this gateway is going away: come back", RetryAfter: time.Second}}
	}
	if r.Method != http.MethodGet || !websocket.IsWebSocketUpgrade(r) {
		w.Header().Set("Upgrade", "websocket")
		return "", no(http.StatusUpgradeRequired, im.Invalid, "this is the address of a WebSocket: ask for an upgrade, with subprotocol "+frame.Subprotocol)
	}
	for name := range r.URL.Query() {
		switch strings.ToLower(name) {
		case "token", "access_token", "bearer", "jwt", "authorization", "auth":
			return "", no(http.StatusBadRequest, im.Invalid, "an access token does not belong in the URL, where it ends in logs: send it as Authorization: Bearer <token>, or as the subprotocol "+frame.BearerPrefix+"<token>")
		}
	}
	offered := websocket.Subprotocols(r)
	if !slices.Contains(offered, frame.Subprotocol) {
		return "", no(http.StatusBadRequest, im.Invalid, "the subprotocol "+frame.Subprotocol+" has to be offered in Sec-WebSocket-Protocol")
	}
	if from := r.Header.Get("Origin"); from != "" && !h.Origins.Allows(from) && !origin.SameHost(from, r.Host) {
		return "", no(http.StatusForbidden, im.Denied, "pages of this origin may not connect here")
	}
	token := bearer(r, offered)
	if token == "" {
		return "", no401("an access token is needed: send it as Authorization: Bearer <token>, or as the subprotocol " + frame.BearerPrefix + "<token>")
	}
	return token, nil
}

// bearer returns the access token of a request, or "".
func bearer(r *http.Request, offered []string) string {
	if scheme, token, _ := strings.Cut(r.Header.Get("Authorization"), " "); strings.EqualFold(scheme, "Bearer") {
		return strings.TrimSpace(token)
	}
	for _, p := range offered {
		if token, ok := strings.CutPrefix(p, frame.BearerPrefix); ok {
			return token
		}
	}
	return ""
}

// hasEnded reports whether a session is known to have ended. If that cannot be
// asked now, it is asked in the next round of anti-entropy.
func (h *Hub) hasEnded(ctx context.Context, session string) bool {
	if h.redis.open() {
		return false
	}
	ctx, cancel := context.WithTimeout(ctx, redisWait)
	defer cancel()
	ended, err := h.Sessions.Ended(ctx, []string{session})
	h.redis.note(err)
	return ended[session]
}

// begin lets a connection in, and starts reading from it.
//
// It is pushed to before its presence is known, and its presence is known
// before its head is read, so that a message is either pushed to it or within
// the head that it is welcomed with. What is pushed meanwhile waits behind the
// welcome.
func (h *Hub) begin(c *Conn) {
	h.add(c)
	if h.draining.Load() {
		c.Close(frame.CloseDraining, spread(0, h.Spread))
	}
	h.join(c)
	c.welcome(frame.FromServer{
		Type: frame.Welcome, User: c.who.User, Device: c.who.Device, Conn: c.who.ID,
		IdleSecs: int(math.Ceil(h.Idle.Seconds())), Head: h.headOf(c.who.User),
		Time: im.Now(), Expires: im.TimeOf(time.Unix(0, c.expires.Load())),
	})
	// In a goroutine whose stack has not grown yet: it is there as long as the
	// connection is.
	go h.serve(c)
}

// serve reads from a connection until it ends, and undoes what begin did.
func (h *Hub) serve(c *Conn) {
	answer := 0
	err := proc.Protect(func() error {
		answer = c.read()
		return nil
	})
	if err != nil { // of one client, which the others are not to pay for
		h.Log.Error("reading from a client", "user", c.who.User, "conn", c.who.ID, "err", err)
	}
	c.finish(answer)
	h.remove(c)
	h.leave(c)
	h.count.Add(-1)
	c.end()
}
