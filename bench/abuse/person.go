package abuse

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/gorilla/websocket"

	"github.com/tidings-im/tidings/shared/frame"
	"github.com/tidings-im/tidings/shared/im"
)

// A Site is a server that is attacked. Its limits are those of a server for
// people, but for what the functions below need.
type Site struct {
	URL string

	// AddressHeader is the server's CLIENT_ADDRESS_HEADER: everybody is at an
	// address of their own.
	AddressHeader string

	// Crowd returns the members of a large group that all of them are in, and
	// that its owner may write to.
	Crowd func(context.Context) (Crowd, error)

	http    *http.Client
	once    sync.Once
	hosts   atomic.Uint32
	library *library
	crowd   *Crowd
}

// A Crowd is a large group.
type Crowd struct {
	Owner   *Person
	Group   string
	Members []string // the ids of the others
}

// A Person has an account, and is at an address.
type Person struct {
	ID, Account, Access string

	site                    *Site
	password, device, proof string
	address                 string
}

const patience = time.Minute // for one thing that has to come

func (s *Site) client() *http.Client {
	s.once.Do(func() {
		s.http = &http.Client{Timeout: patience, Transport: &http.Transport{MaxIdleConnsPerHost: 256}}
	})
	return s.http
}

// address returns one that nobody has yet, of those for measuring (RFC 2544).
func (s *Site) address() string {
	n := s.hosts.Add(1)
	return fmt.Sprintf("198.%d.%d.%d", 18+n>>16&1, n>>8&255, n&255)
}

// Known returns a person with an account who is signed in.
func (s *Site) Known(id, account, access string) *Person {
	return &Person{ID: id, Account: account, Access: access, site: s, address: s.address()}
}

// Join returns somebody new, who is signed in on a device that is known.
func (s *Site) Join(ctx context.Context) (*Person, error) {
	p := s.stranger()
	return p, firstError(
		func() error {
			return p.must(ctx, "POST", "/v1/users", map[string]string{"account": p.Account, "password": p.password}, nil)
		},
		func() error { return patiently(ctx, func() (int, error) { return p.signIn(ctx) }) },
	)
}

func (s *Site) joinAll(ctx context.Context, n int) ([]*Person, error) {
	all := make([]*Person, n)
	for i := range all {
		var err error
		if all[i], err = s.Join(ctx); err != nil {
			return nil, err
		}
	}
	return all, nil
}

// stranger returns somebody who has no account yet.
func (s *Site) stranger() *Person {
	return &Person{site: s, Account: "m" + im.NewID(), password: "p-" + im.NewID(), device: "d-" + im.NewID(), address: s.address()}
}

func firstError(steps ...func() error) error {
	for _, step := range steps {
		if err := step(); err != nil {
			return err
		}
	}
	return nil
}

// signIn signs in on the person's device.
func (p *Person) signIn(ctx context.Context) (int, error) {
	in := map[string]string{"account": p.Account, "password": p.password, "device": p.device, "platform": "desktop"}
	if p.proof != "" {
		in["device_proof"] = p.proof
	}
	var out struct {
		User   im.User `json:"user"`
		Access string  `json:"access_token"`
		Proof  string  `json:"device_proof"`
	}
	status, err := p.call(ctx, "POST", "/v1/sessions", in, &out)
	if err == nil && status == http.StatusOK {
		p.ID, p.Access, p.proof = out.User.ID, out.Access, out.Proof
	}
	return status, err
}

// call makes a call and reads its answer into out, if it went well. A status is
// no error.
func (p *Person) call(ctx context.Context, method, path string, in, out any) (int, error) {
	resp, err := p.site.client().Do(p.request(ctx, method, path, in))
	if err != nil {
		return 0, err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err == nil && out != nil && resp.StatusCode == http.StatusOK {
		err = json.Unmarshal(body, out)
	}
	return resp.StatusCode, err
}

func (p *Person) request(ctx context.Context, method, path string, in any) *http.Request {
	var body bytes.Buffer
	if in != nil {
		enc := json.NewEncoder(&body)
		enc.SetEscapeHTML(false) // attackers pay for no byte that they need not
		enc.Encode(in)           // maps of strings: it cannot fail
	}
	req, err := http.NewRequestWithContext(ctx, method, p.site.URL+path, &body)
	if err != nil {
		panic(err) // a path of this package's
	}
	p.headers(req.Header)
	if in != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	return req
}

func (p *Person) headers(h http.Header) {
	if p.site.AddressHeader != "" {
		h.Set(p.site.AddressHeader, p.address)
	}
	if p.Access != "" {
		h.Set("Authorization", "Bearer "+p.Access)
	}
}

// must makes a call that is needed to prepare something.
func (p *Person) must(ctx context.Context, method, path string, in, out any) error {
	err := patiently(ctx, func() (int, error) { return p.call(ctx, method, path, in, out) })
	if err != nil {
		return fmt.Errorf("%s %s: %w", method, path, err)
	}
	return nil
}

// patiently repeats what is refused for a while.
func patiently(ctx context.Context, call func() (int, error)) error {
	for end := time.Now().Add(patience); ; rest(ctx, 100*time.Millisecond) {
		status, err := call()
		switch {
		case err != nil:
			return err
		case status == http.StatusOK:
			return nil
		case status != http.StatusTooManyRequests && status != http.StatusServiceUnavailable || time.Now().After(end):
			return fmt.Errorf("it is answered by %d", status)
		}
	}
}

// write sends a message by HTTP, until it is accepted.
func (p *Person) write(ctx context.Context, to, text string) error {
	return p.must(ctx, "POST", "/v1/messages", map[string]string{"to": to, "text": text}, nil)
}

// group makes a group.
func (p *Person) group(ctx context.Context, policy string, others ...*Person) (id string, err error) {
	ids := make([]string, len(others))
	for i, o := range others {
		ids[i] = o.ID
	}
	var g struct {
		ID string `json:"id"`
	}
	err = p.must(ctx, "POST", "/v1/groups", map[string]any{"name": "Lunch", "policy": policy, "members": ids}, &g)
	return g.ID, err
}

// dial opens a socket, over a connection that may be made another one.
func (p *Person) dial(ctx context.Context, over func(net.Conn) net.Conn) (*websocket.Conn, error) {
	d := websocket.Dialer{
		Subprotocols:     []string{frame.Subprotocol},
		HandshakeTimeout: patience,
		NetDialContext: func(ctx context.Context, network, address string) (net.Conn, error) {
			c, err := new(net.Dialer).DialContext(ctx, network, address)
			if err == nil && over != nil {
				c = over(c)
			}
			return c, err
		},
	}
	h := http.Header{}
	p.headers(h)
	ws, resp, err := d.DialContext(ctx, "ws"+strings.TrimPrefix(p.site.URL, "http")+"/ws", h)
	if err != nil && resp != nil {
		err = fmt.Errorf("%w: status %d", err, resp.StatusCode)
	}
	return ws, err
}

// send sends a frame.
func send(ws *websocket.Conn, f any) error {
	ws.SetWriteDeadline(time.Now().Add(patience))
	return ws.WriteJSON(f)
}

// open sends the head of a request on a connection of its own that reads
// slowly. Of the body, if there is to be one, nothing is sent.
func (p *Person) open(ctx context.Context, method, path string, length int) (net.Conn, error) {
	c, err := new(net.Dialer).DialContext(ctx, "tcp", strings.TrimPrefix(p.site.URL, "http://"))
	if err != nil {
		return nil, err
	}
	c.(*net.TCPConn).SetReadBuffer(2 << 10)
	context.AfterFunc(ctx, func() { c.Close() })
	h := http.Header{}
	p.headers(h)
	if length > 0 {
		h.Set("Content-Type", "application/json")
		h.Set("Content-Length", fmt.Sprint(length))
	}
	var b bytes.Buffer
	fmt.Fprintf(&b, "%s %s HTTP/1.1\r\nHost: %s\r\n", method, path, c.RemoteAddr())
	h.Write(&b)
	b.WriteString("\r\n")
	if _, err := c.Write(b.Bytes()); err != nil {
		c.Close()
		return nil, err
	}
	return c, nil
}
