package away

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/ecdh"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/hkdf"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/tidings-im/tidings/shared/im"
	"github.com/tidings-im/tidings/shared/imtest"
)

// A browser has a subscription, with keys of its own.
type browser struct {
	t        testing.TB
	key      *ecdh.PrivateKey
	auth     []byte
	endpoint string
}

func newBrowser(t testing.TB, service *pushService) *browser {
	t.Helper()
	key, err := ecdh.P256().GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	b := &browser{t: t, key: key, auth: make([]byte, 16), endpoint: service.url + "/push/" + im.NewID()}
	rand.Read(b.auth)
	service.mu.Lock()
	defer service.mu.Unlock()
	service.browsers[strings.TrimPrefix(b.endpoint, service.url)] = b
	return b
}

func (b *browser) request(showText bool) subscribeRequest {
	enc := base64.RawURLEncoding.EncodeToString
	return subscribeRequest{Endpoint: b.endpoint, P256dh: enc(b.key.PublicKey().Bytes()), Auth: enc(b.auth), ShowText: showText}
}

// decrypt reads a message as RFC 8291 and RFC 8188 say, step by step.
func (b *browser) decrypt(body []byte) ([]byte, error) {
	if len(body) < 21 || len(body) > 4096 {
		return nil, fmt.Errorf("%d bytes", len(body))
	}
	salt, rs, idlen := body[:16], binary.BigEndian.Uint32(body[16:20]), int(body[20])
	if len(body) < 21+idlen || int(rs) < len(body)-21-idlen {
		return nil, fmt.Errorf("a record of %d in a body of %d bytes", rs, len(body))
	}
	server, err := ecdh.P256().NewPublicKey(body[21 : 21+idlen])
	if err != nil {
		return nil, err
	}
	secret, err := b.key.ECDH(server)
	if err != nil {
		return nil, err
	}
	info := slices.Concat([]byte("WebPush: info\x00"), b.key.PublicKey().Bytes(), server.Bytes())
	ikm, err := hkdf.Key(sha256.New, secret, b.auth, string(info), 32)
	if err != nil {
		return nil, err
	}
	cek, err := hkdf.Key(sha256.New, ikm, salt, "Content-Encoding: aes128gcm\x00", 16)
	if err != nil {
		return nil, err
	}
	nonce, err := hkdf.Key(sha256.New, ikm, salt, "Content-Encoding: nonce\x00", 12)
	if err != nil {
		return nil, err
	}
	block, err := aes.NewCipher(cek)
	if err != nil {
		return nil, err
	}
	gcm, err := cipher.NewGCM(block)
	if err != nil {
		return nil, err
	}
	plain, err := gcm.Open(nil, nonce, body[21+idlen:], nil)
	if err != nil {
		return nil, err
	}
	end := len(plain) - 1
	for end >= 0 && plain[end] == 0 {
		end--
	}
	if end < 0 || plain[end] != 2 {
		return nil, fmt.Errorf("no delimiter of a last record")
	}
	return plain[:end], nil
}

// A pushed is what a push service took for a browser.
type pushed struct {
	to *browser
	payload
	raw   string
	topic string
	ttl   int
}

// A pushService takes what is for browsers, as RFC 8030 and RFC 8292 say, and
// hands it over as the browser reads it.
type pushService struct {
	t      testing.TB
	url    string
	public string // VAPID key of who may send
	took   chan pushed
	mu     sync.Mutex
	answer func(w http.ResponseWriter, b *browser) bool // whether it has answered already
	tries  int

	browsers map[string]*browser
}

func newPushService(t testing.TB, public string) *pushService {
	t.Helper()
	s := &pushService{t: t, public: public, took: make(chan pushed, 1000), browsers: make(map[string]*browser)}
	srv := httptest.NewServer(s)
	t.Cleanup(srv.Close)
	s.url = srv.URL
	return s
}

// answers has f answer what comes from now on; nil is to take it.
func (s *pushService) answers(f func(w http.ResponseWriter, b *browser) bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.answer = f
}

func (s *pushService) tried() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.tries
}

func (s *pushService) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	b, answer := s.browsers[r.URL.Path], s.answer
	s.tries++
	s.mu.Unlock()
	if b == nil {
		http.Error(w, "no such subscription", http.StatusNotFound)
		return
	}
	if answer != nil && answer(w, b) {
		return
	}
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return // cut off
	}
	if err := s.vapid(r.Header.Get("Authorization")); err != nil {
		s.t.Errorf("VAPID: %v", err)
	}
	p := pushed{to: b, topic: r.Header.Get("Topic")}
	if p.ttl, err = strconv.Atoi(r.Header.Get("TTL")); err != nil {
		s.t.Errorf("TTL: %v", err)
	}
	for name, want := range map[string]string{"Content-Encoding": "aes128gcm", "Urgency": "high"} {
		if got := r.Header.Get(name); got != want {
			s.t.Errorf("%s: %q, want %q", name, got, want)
		}
	}
	if raw, err := base64.RawURLEncoding.DecodeString(p.topic); err != nil || len(p.topic) > 32 || len(raw) == 0 {
		s.t.Errorf("Topic %q", p.topic)
	}
	plain, err := b.decrypt(body)
	if err != nil {
		s.t.Errorf("decrypting: %v", err)
	}
	p.raw = string(plain)
	if err := json.Unmarshal(plain, &p.payload); err != nil {
		s.t.Errorf("payload %q: %v", plain, err)
	}
	w.WriteHeader(http.StatusCreated)
	s.took <- p
}

func (s *pushService) vapid(header string) error {
	scheme, params, _ := strings.Cut(header, " ")
	got := make(map[string]string)
	for _, p := range strings.Split(params, ",") {
		k, v, _ := strings.Cut(strings.TrimSpace(p), "=")
		got[k] = v
	}
	if scheme != "vapid" || got["k"] != s.public {
		return fmt.Errorf("%q", header)
	}
	raw, err := base64.RawURLEncoding.DecodeString(got["k"])
	if err != nil {
		return fmt.Errorf("key %q: %w", got["k"], err)
	}
	key, err := ecdsa.ParseUncompressedPublicKey(elliptic.P256(), raw)
	if err != nil {
		return fmt.Errorf("key %q: %w", got["k"], err)
	}
	origin, err := url.Parse(s.url)
	if err != nil {
		return err
	}
	var claims jwt.RegisteredClaims
	_, err = jwt.ParseWithClaims(got["t"], &claims, func(*jwt.Token) (any, error) { return key, nil },
		jwt.WithValidMethods([]string{"ES256"}), jwt.WithAudience(origin.Scheme+"://"+origin.Host), jwt.WithExpirationRequired())
	if err == nil && (claims.Subject != "mailto:ops@tidings.example" || time.Until(claims.ExpiresAt.Time) > 24*time.Hour) {
		err = fmt.Errorf("claims %+v", claims)
	}
	return err
}

// next returns what comes next.
func (s *pushService) next() pushed {
	s.t.Helper()
	select {
	case p := <-s.took:
		return p
	case <-time.After(imtest.Patience(s.t)):
		s.t.Fatal("nothing was pushed")
		return pushed{}
	}
}

// nothing reports what came although nothing should have.
func (s *pushService) nothing() {
	s.t.Helper()
	select {
	case p := <-s.took:
		s.t.Errorf("pushed: %s", p.raw)
	default:
	}
}
