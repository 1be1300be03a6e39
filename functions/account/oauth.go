package account

import (
	"cmp"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"golang.org/x/oauth2"

	"github.com/tidings-im/tidings/functions/user"
	"github.com/tidings-im/tidings/shared/audit"
	"github.com/tidings-im/tidings/shared/im"
)

// flowTime is how long somebody may take to sign in elsewhere.
const flowTime = 10 * time.Minute

// mostTries is how often it is tried to find or make a user whom somebody else
// is making, too.
const mostTries = 4

// A flow is a sign-in elsewhere that was begun. Its state passes through the
// browser; its secret stays with the client that began it. It is named by both:
// who sees the one alone neither ends it nor uses it up.
type flow struct {
	Provider string    `json:"provider"`
	Redirect string    `json:"redirect"`
	Verifier string    `json:"verifier"`
	Nonce    string    `json:"nonce"`
	User     string    `json:"user,omitempty"` // to whom the account elsewhere is to be linked
	Expires  im.Time   `json:"expires"`
	Claim    *im.Claim `json:"claim,omitempty"` // who came back, while a second factor is missing
}

type flows interface {
	// PutFlow keeps what is known of a flow for a while, under its name.
	PutFlow(ctx context.Context, name string, data []byte, ttl time.Duration) error
	// TakeFlow returns it, once. NotFound: it was taken, was never begun or has
	// expired.
	TakeFlow(ctx context.Context, name string) ([]byte, error)
}

type fromLimiter interface {
	// AllowFrom counts an attempt of a network address. Overloaded: too many.
	AllowFrom(ctx context.Context, what, address string) error
	// AllowRegistration counts an attempt to register, likewise.
	AllowRegistration(ctx context.Context, address string) error
}

type startRequest struct {
	Provider string `json:"provider"`
	Redirect string `json:"redirect"` // one of those that are allowed; the first, if it is empty
	Password string `json:"password"` // of a caller who wants to link
}

type started struct {
	URL  string `json:"url"`
	Flow string `json:"flow"`
}

type starter struct {
	providers map[string]provider
	redirects []string
	flows     flows
	limit     fromLimiter
	who       prover
}

// call begins to sign in by an account elsewhere or, of a caller who is signed
// in, to link one to their own. What links asks for the password: who has
// stolen an access token shall not stay by it.
func (s *starter) call(ctx context.Context, address string, c im.Caller, in startRequest) (started, error) {
	p, ok := s.providers[in.Provider]
	if !ok {
		return started{}, im.Errorf(im.NotFound, "nobody signs in by %.40q here", in.Provider)
	}
	redirect, err := s.redirect(in.Provider, in.Redirect)
	if err != nil {
		return started{}, err
	}
	if err := s.limit.AllowFrom(ctx, "oauth", address); err != nil {
		return started{}, err
	}
	if c.User != "" {
		if err := s.who.Prove(ctx, c, in.Password); err != nil {
			return started{}, err
		}
	}
	state, secret := rand.Text(), rand.Text()
	f := flow{
		Provider: in.Provider, Redirect: redirect,
		Verifier: oauth2.GenerateVerifier(), Nonce: rand.Text(), User: c.User, Expires: im.TimeOf(time.Now().Add(flowTime)),
	}
	url, err := p.begin(ctx, f, state)
	if err != nil {
		return started{}, err
	}
	if err := put(ctx, s.flows, flowName(state, secret), f); err != nil {
		return started{}, err
	}
	return started{URL: url, Flow: secret}, nil
}

// redirect returns where the user comes back to. A {provider} in it makes the
// URLs of providers differ, so that none can pass off its answer as another's
// (RFC 9700, 4.4.2).
func (s *starter) redirect(provider, asked string) (string, error) {
	if len(s.redirects) == 0 {
		return "", im.Errorf(im.NotFound, "nobody signs in by accounts elsewhere here: OAUTH_REDIRECTS is not set")
	}
	all := make([]string, len(s.redirects))
	for i, r := range s.redirects {
		all[i] = strings.ReplaceAll(r, "{provider}", provider)
	}
	if asked == "" {
		return all[0], nil
	}
	if !slices.Contains(all, asked) {
		return "", im.Errorf(im.Invalid, `"redirect" is none of the URLs that are allowed`)
	}
	return asked, nil
}

// flowName names a flow. The secret, being random, needs no salt and no key.
func flowName(state, secret string) string {
	sum := sha256.Sum256([]byte(state + "\x00" + secret))
	return hex.EncodeToString(sum[:])
}

func put(ctx context.Context, to flows, name string, f flow) error {
	data, err := im.JSON(f)
	if err != nil {
		return fmt.Errorf("writing a flow: %w", err)
	}
	left := time.Until(f.Expires.Std())
	if left <= 0 {
		return errFlow
	}
	return to.PutFlow(ctx, name, data, left)
}

// errFlow is the one answer to a flow that is not there, not the client's own
// or of another provider.
var errFlow = im.Errorf(im.Denied, "this sign-in was not begun here, has ended, or took too long: begin anew")

type identities interface {
	// UserByIdentity returns the user who signs in by an account elsewhere, and
	// the hash of their password. NotFound: nobody does.
	UserByIdentity(ctx context.Context, issuer, subject string) (im.User, string, error)
	// UserByEmail returns the user who has proved that an e-mail address is
	// theirs, likewise.
	UserByEmail(ctx context.Context, email string) (im.User, string, error)
	// AddIdentity has a user sign in by an account elsewhere, if an address,
	// unless it is "", is proved to be theirs. Conflict: it is another's, or
	// they have one of the provider.
	AddIdentity(ctx context.Context, user, email string, c im.Claim) error
	// CreateUserOf adds a user who signs in by an account elsewhere. Conflict:
	// something of it is taken.
	CreateUserOf(ctx context.Context, u im.User, c im.Claim) error
}

type beginner interface {
	// Begin begins a session. NotFound: the user is not there any more, or has
	// another password by now.
	Begin(ctx context.Context, u im.User, passwordHash, device, platform string) (user.SignedIn, error)
	// Lane returns the lane of a device that shows a proof, "" of a stranger.
	Lane(proof, user, passwordHash string) string
}

type callbackRequest struct {
	Provider string `json:"provider"`
	State    string `json:"state"`
	Code     string `json:"code"`
	Issuer   string `json:"iss"` // if the provider said so (RFC 9207)
	Flow     string `json:"flow"`
	Device   string `json:"device"`
	Platform string `json:"platform"`
	TOTP     string `json:"totp"`         // of the second factor, if there is one
	Proof    string `json:"device_proof"` // what the device was given when it signed in before, if it did
}

// linked answers who linked an account to their own.
type linked struct {
	Linked string `json:"linked"` // the provider
}

// AuditEvent returns what has happened, for the security log.
func (linked) AuditEvent() audit.Event { return audit.IdentityChange }

type callback struct {
	providers map[string]provider
	flows     flows
	limit     fromLimiter
	users     identities
	names     user.Names
	newcomers marker
	second    codeChecker
	begin     beginner
	audit     *audit.Recorder
}

type marker interface {
	// Mark notes that an account is new.
	Mark(ctx context.Context, user string) error
}

// call ends what oauth-start began: it signs the device in, or links. Whose
// second factor is missing comes again with the same state and flow, and a code
// of it.
func (b *callback) call(ctx context.Context, address string, c im.Caller, in callbackRequest) (any, error) {
	p, ok := b.providers[in.Provider]
	if !ok {
		return nil, im.Errorf(im.NotFound, "nobody signs in by %.40q here", in.Provider)
	}
	if err := b.limit.AllowFrom(ctx, "oauth", address); err != nil {
		return nil, err
	}
	if len(in.State) > 64 || len(in.Flow) > 64 {
		return nil, errFlow
	}
	if c.User == "" {
		if err := cmp.Or(im.CheckDevice(in.Device), im.CheckPlatform(in.Platform), user.CheckDeviceProof(in.Proof)); err != nil {
			return nil, err
		}
	}
	f, err := b.take(ctx, in)
	if err != nil {
		return nil, err
	}
	if in.Issuer != "" && in.Issuer != p.issuer() {
		return nil, errFlow
	}
	if f.User != c.User { // begun by somebody who was somebody else, or nobody
		return nil, errFlow
	}
	out, err := b.end(ctx, address, p, &f, in)
	if err != nil {
		if errors.Is(err, im.SecondFactor) || im.KindOf(err).Transient() {
			// Whoever has come this far may come again.
			err = cmp.Or(put(ctx, b.flows, flowName(in.State, in.Flow), f), err)
		}
		return nil, err
	}
	return out, nil
}

// end does what a flow was begun for. Whom the provider says to have come back
// is in the flow then, for the code is used up.
func (b *callback) end(ctx context.Context, address string, p provider, f *flow, in callbackRequest) (any, error) {
	if f.Claim == nil {
		if in.Code == "" {
			return nil, errFlow
		}
		claim, err := p.claim(ctx, *f, in.Code)
		if err != nil {
			return nil, err
		}
		f.Claim = &claim
	}
	if f.User == "" {
		return b.signIn(ctx, address, *f.Claim, in)
	}
	if err := b.users.AddIdentity(ctx, f.User, "", *f.Claim); err != nil {
		return nil, fmt.Errorf("linking an identity: %w", gone(err))
	}
	return linked{in.Provider}, nil
}

// take returns the flow that a client began, once. Its secret binds it to who began
// it: nobody is signed in as, or linked to, somebody else by being sent here (RFC
// 6749, 10.12).
func (b *callback) take(ctx context.Context, in callbackRequest) (f flow, err error) {
	data, err := b.flows.TakeFlow(ctx, flowName(in.State, in.Flow))
	if errors.Is(err, im.NotFound) {
		return f, errFlow
	}
	if err != nil {
		return f, err
	}
	if err := json.Unmarshal(data, &f); err != nil {
		return f, fmt.Errorf("reading a flow: %w", err)
	}
	if f.Provider != in.Provider || time.Now().After(f.Expires.Std()) {
		return flow{}, errFlow
	}
	return f, nil
}

// signIn signs in whoever a claim is of: who has signed in by it before; else
// who has proved here the address that they have proved there; else somebody
// new. What is linked is linked once the second factor has passed.
func (b *callback) signIn(ctx context.Context, address string, claim im.Claim, in callbackRequest) (user.SignedIn, error) {
	for range mostTries {
		u, hash, err := b.users.UserByIdentity(ctx, claim.Issuer, claim.Subject)
		known := err == nil
		if errors.Is(err, im.NotFound) {
			if claim.Email == "" {
				return user.SignedIn{}, im.Errorf(im.Denied, "you have no e-mail address there that is verified: verify one, and sign in again")
			}
			u, hash, err = b.users.UserByEmail(ctx, claim.Email)
		}
		if errors.Is(err, im.NotFound) {
			if err := b.create(ctx, address, claim); err != nil && !errors.Is(err, im.Conflict) {
				return user.SignedIn{}, err
			}
			continue // it is there now, or somebody else has made it
		}
		if err != nil {
			return user.SignedIn{}, err
		}
		if err := b.second.Check(ctx, u.ID, b.begin.Lane(in.Proof, u.ID, hash), in.TOTP); err != nil {
			return user.SignedIn{}, err
		}
		if !known {
			err := b.users.AddIdentity(ctx, u.ID, claim.Email, claim)
			if errors.Is(err, im.NotFound) {
				continue // the address is not theirs any more
			}
			if err != nil {
				return user.SignedIn{}, err
			}
		}
		in, err := b.begin.Begin(ctx, u, hash, in.Device, in.Platform)
		if errors.Is(err, im.NotFound) {
			return user.SignedIn{}, errFlow // they were there when they were read
		}
		return in, err
	}
	return user.SignedIn{}, im.Errorf(im.Unavailable, "somebody is doing the same: try again")
}

// create adds a user of a claim. Conflict: something of it is taken.
func (b *callback) create(ctx context.Context, address string, claim im.Claim) error {
	if err := b.limit.AllowRegistration(ctx, address); err != nil {
		return err
	}
	var err error
	for try := range mostTries {
		account := accountOf(claim.Account, try > 0)
		if b.names.Check(account) != nil {
			account = accountOf("", true)
		}
		u := im.User{ID: im.NewID(), Account: account, Name: cmp.Or(strings.TrimSpace(claim.Name), account)}
		if im.CheckName(u.Name) != nil {
			u.Name = account
		}
		if err = b.newcomers.Mark(ctx, u.ID); err == nil {
			err = b.users.CreateUserOf(ctx, u, claim)
		}
		if err == nil {
			b.audit.Record(ctx, audit.Record{Event: audit.UserCreated, Function: "oauth-callback", User: u.ID, Address: address})
		}
		if !errors.Is(err, im.Conflict) {
			return err
		}
	}
	return err
}

// accountOf returns an account made of what somebody is called elsewhere, or
// with letters after it that nobody else has. It is not made of an e-mail
// address: accounts are public.
func accountOf(name string, unique bool) string {
	if strings.Contains(name, "@") {
		name = ""
	}
	account := strings.Map(func(r rune) rune {
		switch {
		case r >= 'a' && r <= 'z', r >= '0' && r <= '9', r == '_', r == '.', r == '-':
			return r
		}
		return -1
	}, strings.ToLower(name))
	account = strings.TrimLeft(account, "0123456789_.-")
	if len(account) > 20 {
		account = account[:20]
	}
	if unique || im.CheckAccount(account) != nil {
		account = cmp.Or(account, "user") + "-" + im.NewID()[:8]
	}
	return account
}
