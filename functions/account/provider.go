package account

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/coreos/go-oidc/v3/oidc"
	"golang.org/x/oauth2"

	"github.com/tidings-im/tidings/shared/im"
)

const (
	providerTime   = 5 * time.Second // that a provider may take over one request
	maxProviderSay = 1 << 20         // bytes of an answer of a provider that are read
	discoveredFor  = time.Hour       // that what a provider says of itself is believed
	silentFor      = 2 * time.Second // that a provider is not asked again which did not say it
)

// A provider is where users have accounts by which they sign in.
type provider interface {
	// begin returns where a user goes to sign in.
	begin(ctx context.Context, f flow, state string) (url string, err error)
	// claim returns who came back with a code. Denied: the code is not good, or
	// what was said for it is not to be believed.
	claim(ctx context.Context, f flow, code string) (im.Claim, error)
	// issuer returns the identifier by which the provider may name itself in
	// what it sends the user back with (RFC 9207).
	issuer() string
}

// ProviderSetting is one of OAUTH_PROVIDERS.
type providerSetting struct {
	Name         string   `json:"name"`
	Kind         string   `json:"kind"`   // oidc, the default, or github
	Issuer       string   `json:"issuer"` // of oidc: where its discovery is
	ClientID     string   `json:"client_id"`
	ClientSecret string   `json:"client_secret"`
	Scopes       []string `json:"scopes"` // beside those that are needed

	// Of github, for one that is not github.com: https://host and
	// https://host/api/v3.
	URL string `json:"url"`
	API string `json:"api"`
}

var providerName = regexp.MustCompile(`^[a-z][a-z0-9-]{0,31}$`)

// parseProviders reads a JSON list of providers. Errors do not quote it: there
// are secrets in it.
func parseProviders(list string, client *http.Client) (map[string]provider, error) {
	providers := map[string]provider{}
	if list == "" {
		return providers, nil
	}
	var settings []providerSetting
	dec := json.NewDecoder(strings.NewReader(list))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&settings); err != nil {
		return nil, errors.New("is not a list of providers in JSON")
	}
	for i, s := range settings {
		switch {
		case !providerName.MatchString(s.Name):
			return nil, fmt.Errorf("provider %d has no name of a-z, 0-9 and hyphens", i+1)
		case providers[s.Name] != nil:
			return nil, fmt.Errorf("provider %s is there twice", s.Name)
		case s.ClientID == "" || s.ClientSecret == "":
			return nil, fmt.Errorf("provider %s has no client_id or no client_secret", s.Name)
		}
		var p provider
		var err error
		switch s.Kind {
		case "", "oidc":
			p, err = newOIDC(s, client)
		case "github":
			p, err = newGitHub(s, client)
		default:
			err = fmt.Errorf("its kind is neither oidc nor github")
		}
		if err != nil {
			return nil, fmt.Errorf("provider %s: %w", s.Name, err)
		}
		providers[s.Name] = p
	}
	return providers, nil
}

// secure reports whether a URL is https, or of this machine.
func secure(s string) error {
	u, err := url.Parse(s)
	if err != nil || u.Host == "" || u.User != nil {
		return errors.New("its URL is none")
	}
	ip := net.ParseIP(u.Hostname())
	if u.Scheme == "https" || u.Scheme == "http" && (u.Hostname() == "localhost" || ip != nil && ip.IsLoopback()) {
		return nil
	}
	return errors.New("its URL is not https")
}

// newProviderClient returns a client for requests to providers.
func newProviderClient() *http.Client {
	return &http.Client{
		Timeout:       providerTime,
		Transport:     bounded{&http.Transport{Proxy: http.ProxyFromEnvironment, MaxIdleConnsPerHost: 8, IdleConnTimeout: time.Minute, ForceAttemptHTTP2: true, TLSHandshakeTimeout: providerTime}},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

// bounded bounds what is read of answers.
type bounded struct{ *http.Transport }

func (b bounded) RoundTrip(r *http.Request) (*http.Response, error) {
	resp, err := b.Transport.RoundTrip(r)
	if err == nil {
		resp.Body = struct {
			io.Reader
			io.Closer
		}{io.LimitReader(resp.Body, maxProviderSay), resp.Body}
	}
	return resp, err
}

// away gives an error of asking a provider its kind.
func away(name string, err error) error {
	var refused *oauth2.RetrieveError
	if errors.As(err, &refused) && refused.Response != nil && refused.Response.StatusCode < 500 {
		return im.Wrap(im.Denied, err, "%s does not take this code: sign in there again", name)
	}
	return &im.Error{Kind: im.Unavailable, Msg: name + " does not answer as it should: try again", Err: err, Dependency: "oauth"}
}

// openID is a provider of OpenID Connect 1.0.
type openID struct {
	providerSetting
	client *http.Client

	turn  chan struct{} // held by who reads or writes these
	found *oidc.Provider
	err   error // why there is none
	until time.Time
}

func newOIDC(s providerSetting, client *http.Client) (*openID, error) {
	if err := secure(s.Issuer); err != nil {
		return nil, err
	}
	return &openID{providerSetting: s, client: client, turn: make(chan struct{}, 1)}, nil
}

func (p *openID) issuer() string { return p.Issuer }

// discover returns what the provider says of itself. It is asked now and then;
// while it does not answer, what it said before is believed. Of many who want to
// know one asks, so that a provider that hangs takes the time of one request from
// each of them, and not that of all before them.
func (p *openID) discover(ctx context.Context) (*oidc.Provider, error) {
	select {
	case p.turn <- struct{}{}:
		defer func() { <-p.turn }()
	case <-ctx.Done():
		return nil, away(p.Name, ctx.Err())
	}
	if time.Now().Before(p.until) {
		return p.found, p.err
	}
	// For the others, too, whoever gives up: the client bounds it. It is kept for
	// fetching keys, later.
	found, err := oidc.NewProvider(oidc.ClientContext(context.WithoutCancel(ctx), p.client), p.Issuer)
	switch {
	case err == nil:
		p.found, p.err, p.until = found, nil, time.Now().Add(discoveredFor)
	case p.found != nil:
		p.until = time.Now().Add(time.Minute)
	default:
		p.err, p.until = away(p.Name, err), time.Now().Add(silentFor)
	}
	return p.found, p.err
}

func (p *openID) config(d *oidc.Provider, redirect string) *oauth2.Config {
	return &oauth2.Config{
		ClientID: p.ClientID, ClientSecret: p.ClientSecret, Endpoint: d.Endpoint(), RedirectURL: redirect,
		Scopes: append([]string{oidc.ScopeOpenID, "email", "profile"}, p.Scopes...),
	}
}

func (p *openID) begin(ctx context.Context, f flow, state string) (string, error) {
	d, err := p.discover(ctx)
	if err != nil {
		return "", err
	}
	return p.config(d, f.Redirect).AuthCodeURL(state, oauth2.S256ChallengeOption(f.Verifier), oidc.Nonce(f.Nonce)), nil
}

// said are the claims that are read (OpenID Connect Core 1.0, 5.1).
type said struct {
	Subject  string  `json:"sub"`
	Email    string  `json:"email"`
	Verified boolish `json:"email_verified"`
	Name     string  `json:"name"`
	Account  string  `json:"preferred_username"`
	Party    string  `json:"azp"`
}

// boolish is a bool that some providers write as a string.
type boolish bool

func (b *boolish) UnmarshalJSON(data []byte) error {
	*b = string(data) == "true" || string(data) == `"true"`
	return nil
}

func (p *openID) claim(ctx context.Context, f flow, code string) (im.Claim, error) {
	d, err := p.discover(ctx)
	if err != nil {
		return im.Claim{}, err
	}
	ctx = oidc.ClientContext(ctx, p.client)
	config := p.config(d, f.Redirect)
	token, err := config.Exchange(ctx, code, oauth2.VerifierOption(f.Verifier))
	if err != nil {
		return im.Claim{}, away(p.Name, err)
	}
	doubt := func(err error) error {
		return im.Wrap(im.Denied, err, "what %s says cannot be believed: sign in there again", p.Name)
	}
	raw, _ := token.Extra("id_token").(string)
	id, err := d.Verifier(&oidc.Config{ClientID: p.ClientID}).Verify(ctx, raw)
	if err != nil {
		return im.Claim{}, doubt(err)
	}
	var s said
	switch err := id.Claims(&s); {
	case err != nil:
		return im.Claim{}, doubt(err)
	case f.Nonce == "" || id.Nonce != f.Nonce:
		return im.Claim{}, doubt(errors.New("the nonce is of another sign-in"))
	case s.Party != "" && s.Party != p.ClientID, len(id.Audience) > 1 && s.Party == "":
		return im.Claim{}, doubt(errors.New("it was issued to another party"))
	case s.Subject == "":
		return im.Claim{}, doubt(errors.New("it has no subject"))
	}
	if id.AccessTokenHash != "" {
		if err := id.VerifyAccessToken(token.AccessToken); err != nil {
			return im.Claim{}, doubt(err)
		}
	}
	if s.Email == "" && d.UserInfoEndpoint() != "" {
		info, err := d.UserInfo(ctx, oauth2.StaticTokenSource(token))
		if err != nil {
			return im.Claim{}, away(p.Name, err)
		}
		if info.Subject != s.Subject {
			return im.Claim{}, doubt(errors.New("its user info is of another subject"))
		}
		if err := info.Claims(&s); err != nil {
			return im.Claim{}, doubt(err)
		}
		s.Subject = id.Subject
	}
	c := im.Claim{Provider: p.Name, Issuer: p.Issuer, Subject: id.Subject, Account: s.Account, Name: s.Name}
	if s.Verified {
		c.Email, _ = im.NormalEmail(s.Email)
	}
	return c, nil
}

// gitHub is GitHub, which speaks OAuth 2.0 without OpenID Connect.
type gitHub struct {
	providerSetting
	client *http.Client
}

func newGitHub(s providerSetting, client *http.Client) (*gitHub, error) {
	if s.URL == "" && s.API == "" {
		s.URL, s.API = "https://github.com", "https://api.github.com"
	}
	if err := errors.Join(secure(s.URL), secure(s.API)); err != nil {
		return nil, err
	}
	s.URL, s.API = strings.TrimSuffix(s.URL, "/"), strings.TrimSuffix(s.API, "/")
	return &gitHub{s, client}, nil
}

// issuer is not that of RFC 9207, which GitHub does not speak.
func (p *gitHub) issuer() string { return p.URL }

func (p *gitHub) config(redirect string) *oauth2.Config {
	return &oauth2.Config{
		ClientID: p.ClientID, ClientSecret: p.ClientSecret, RedirectURL: redirect,
		Endpoint: oauth2.Endpoint{AuthURL: p.URL + "/login/oauth/authorize", TokenURL: p.URL + "/login/oauth/access_token", AuthStyle: oauth2.AuthStyleInParams},
		Scopes:   append([]string{"read:user", "user:email"}, p.Scopes...),
	}
}

func (p *gitHub) begin(_ context.Context, f flow, state string) (string, error) {
	return p.config(f.Redirect).AuthCodeURL(state, oauth2.S256ChallengeOption(f.Verifier)), nil
}

func (p *gitHub) claim(ctx context.Context, f flow, code string) (im.Claim, error) {
	ctx = context.WithValue(ctx, oauth2.HTTPClient, p.client)
	token, err := p.config(f.Redirect).Exchange(ctx, code, oauth2.VerifierOption(f.Verifier))
	if err != nil {
		// What GitHub refuses it says with status 200 and an error in the body.
		var refused *oauth2.RetrieveError
		if errors.As(err, &refused) && refused.ErrorCode != "" {
			return im.Claim{}, im.Wrap(im.Denied, err, "%s does not take this code: sign in there again", p.Name)
		}
		return im.Claim{}, away(p.Name, err)
	}
	var u struct {
		ID    int64  `json:"id"`
		Login string `json:"login"`
		Name  string `json:"name"`
	}
	var emails []struct {
		Email    string `json:"email"`
		Primary  bool   `json:"primary"`
		Verified bool   `json:"verified"`
	}
	if err := p.get(ctx, token, "/user", &u); err != nil {
		return im.Claim{}, away(p.Name, err)
	}
	if err := p.get(ctx, token, "/user/emails", &emails); err != nil {
		return im.Claim{}, away(p.Name, err)
	}
	if u.ID <= 0 {
		return im.Claim{}, away(p.Name, errors.New("the user has no id"))
	}
	c := im.Claim{Provider: p.Name, Issuer: p.URL, Subject: strconv.FormatInt(u.ID, 10), Account: u.Login, Name: u.Name}
	for _, e := range emails {
		if e.Primary && e.Verified {
			c.Email, _ = im.NormalEmail(e.Email)
		}
	}
	return c, nil
}

func (p *gitHub) get(ctx context.Context, token *oauth2.Token, path string, to any) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, p.API+path, nil)
	if err != nil {
		return err
	}
	token.SetAuthHeader(req)
	req.Header.Set("Accept", "application/vnd.github+json")
	resp, err := p.client.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("reading %s: status %d", path, resp.StatusCode)
	}
	if err := json.NewDecoder(resp.Body).Decode(to); err != nil {
		return fmt.Errorf("reading %s: %w", path, err)
	}
	return nil
}

// parseRedirects checks the URLs to which users may come back.
func parseRedirects(list []string) ([]string, error) {
	for _, r := range list {
		u, err := url.Parse(strings.ReplaceAll(r, "{provider}", "provider"))
		if err != nil || u.Scheme == "" || u.Fragment != "" || u.User != nil || slices.Contains([]string{"javascript", "data", "file", "blob"}, u.Scheme) ||
			u.Scheme == "http" && secure(r) != nil {
			return nil, fmt.Errorf("%.100q is not a URL to come back to: https, or of an app", r)
		}
	}
	return list, nil
}
