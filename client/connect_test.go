package client

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gorilla/websocket"

	"github.com/tidings-im/tidings/shared/frame"
	"github.com/tidings-im/tidings/shared/im"
)

func TestAfterAClose(t *testing.T) {
	bye := func(c frame.Close, wait time.Duration) *frame.FromServer {
		return &frame.FromServer{Type: frame.Bye, Code: c.Code, Reason: c.Reason, Reconnect: c.Reconnect(), RetryAfterMS: wait.Milliseconds()}
	}
	unknown := func(code int) frame.Close { return frame.Close{Code: code, Reason: "unknown"} }
	tests := []struct {
		name     string
		code     int
		bye      *frame.FromServer
		min, max time.Duration // until it comes back
		refresh  bool          // before it does
		stops    bool
	}{
		{"draining, it comes back when it was told to", 4000, bye(frame.CloseDraining, 7*time.Second), 7 * time.Second, 7 * time.Second, false, false},
		{"slow", 4001, bye(frame.CloseSlow, 0), 0, backoffFirst, false, false},
		{"idle, without a bye", 4002, nil, 0, backoffFirst, false, false},
		{"flooding", 4003, bye(frame.CloseFlooding, 15*time.Second), 15 * time.Second, 15 * time.Second, false, false},
		{"protocol", 4004, bye(frame.CloseProtocol, 0), 0, backoffFirst, false, false},
		{"an unknown 40xx", 4077, bye(unknown(4077), 0), 0, backoffFirst, false, false},
		{"expired", 4100, bye(frame.CloseExpired, 0), 0, backoffFirst, true, false},
		{"an unknown 41xx, without a bye", 4177, nil, 0, backoffFirst, true, false},
		{"replaced", 4200, bye(frame.CloseReplaced, 0), 0, 0, false, true},
		{"signed out, without a bye", 4201, nil, 0, 0, false, true},
		{"too many", 4202, bye(frame.CloseTooMany, 0), 0, 0, false, true},
		{"revoked", 4203, bye(frame.CloseRevoked, 0), 0, 0, false, true},
		{"deleted", 4204, bye(frame.CloseDeleted, 0), 0, 0, false, true},
		{"an unknown 42xx", 4277, nil, 0, 0, false, true},
		{"a bye whose close frame was lost", 0, bye(frame.CloseReplaced, 0), 0, 0, false, true},
		{"a bye that says more than its code", 4088, &frame.FromServer{Type: frame.Bye, Code: 4088, Reconnect: frame.ReconnectNo}, 0, 0, false, true},
		{"going away", websocket.CloseGoingAway, nil, 0, backoffFirst, false, false},
		{"protocol error", websocket.CloseProtocolError, nil, 0, backoffFirst, false, false},
		{"binary", websocket.CloseUnsupportedData, nil, 0, backoffFirst, false, false},
		{"broken UTF-8", websocket.CloseInvalidFramePayloadData, nil, 0, backoffFirst, false, false},
		{"too big", websocket.CloseMessageTooBig, nil, 0, backoffFirst, false, false},
		{"not a word", 0, nil, 0, backoffFirst, false, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			bubble(t, func(t *testing.T, f *fake) {
				var g got
				c, s := f.connect(f.options(&g), 0)
				defer c.Close()
				time.Sleep(20 * time.Second)
				start := time.Now()
				s.close(tt.code, tt.bye)
				if tt.stops {
					<-c.Done()
					stopped, ok := errors.AsType[*StoppedError](c.Err())
					want := max(tt.code, 4088)
					if tt.bye != nil {
						want = tt.bye.Code
					}
					if !ok || stopped.Close.Code != want {
						t.Errorf("stopped with %v", c.Err())
					}
					if _, err := c.Send(t.Context(), "u:"+bob, "x"); err != c.Err() {
						t.Errorf("sending then: %v", err)
					}
					time.Sleep(time.Hour)
					if f.seen().dials != 1 {
						t.Errorf("it came back")
					}
					return
				}
				s = f.next()
				s.welcome(0)
				if took := time.Since(start); took < tt.min || took > tt.max {
					t.Errorf("came back after %s, want %s to %s", took, tt.min, tt.max)
				}
				if refreshed := s.token != "Bearer access-1"; refreshed != tt.refresh {
					t.Errorf("came back with %s", s.token)
				}
				synctest.Wait()
				offline := g.count(func(e Event) bool { _, ok := e.(Offline); return ok })
				if online := g.count(func(e Event) bool { return e == Online{User: ann} }); online != 2 || offline != 1 {
					t.Errorf("events %v", g.events)
				}
			})
		})
	}
}

// A device that signs in again shows what it was given when it did before, also
// after it was signed out.
func TestADeviceShowsThatItWasSignedInBefore(t *testing.T) {
	bubble(t, func(t *testing.T, f *fake) {
		store := new(Memory)
		for range 3 {
			var g got
			opt := f.options(&g)
			opt.Store = store
			done := make(chan *Client)
			go func() {
				c, err := Connect(t.Context(), opt)
				if err != nil {
					t.Error(err)
				}
				done <- c
			}()
			f.next().welcome(0)
			(<-done).Close()
			if err := store.SaveSession(t.Context(), ann, ""); err != nil { // signed out
				t.Fatal(err)
			}
		}
		if want := []string{"", "proof-1", "proof-2"}; !slices.Equal(f.proofs, want) {
			t.Errorf("shown was %q, want %q", f.proofs, want)
		}
	})
}

func TestConnecting(t *testing.T) {
	unauthenticated := func(w http.ResponseWriter) bool {
		w.WriteHeader(http.StatusUnauthorized)
		return true
	}
	tests := []struct {
		name string
		prep func(f *fake, o *Options)
		kind im.Kind // "" if it connects
		dial int     // sockets tried
	}{
		{"by password", func(*fake, *Options) {}, "", 1},
		{"by a wrong password", func(f *fake, o *Options) { o.Password = "wrong" }, im.Unauthenticated, 0},
		{"by nothing", func(f *fake, o *Options) { o.Account = "" }, im.Unauthenticated, 0},
		{"by the store's refresh token", func(f *fake, o *Options) {
			f.tokens = 1
			o.Password, o.Store = "wrong", &Memory{state: State{User: ann, RefreshToken: "refresh-1"}}
		}, "", 1},
		{"by password if the store's refresh token is spent", func(f *fake, o *Options) {
			f.tokens = 7
			o.Store = &Memory{state: State{User: ann, RefreshToken: "refresh-1"}}
		}, "", 1},
		{"by tokens", func(f *fake, o *Options) {
			f.tokens = 1
			o.Account, o.Tokens = "", Tokens{AccessToken: "access-1", RefreshToken: "refresh-1", ExpiresAt: im.TimeOf(time.Now().Add(time.Hour))}
		}, "", 1},
		{"by a refresh token alone", func(f *fake, o *Options) {
			f.tokens = 1
			o.Account, o.Tokens = "", Tokens{RefreshToken: "refresh-1"}
		}, "", 1},
		{"by a spent refresh token", func(f *fake, o *Options) {
			f.tokens = 2
			o.Account, o.Tokens = "", Tokens{RefreshToken: "refresh-1"}
		}, im.Unauthenticated, 0},
		{"by an access token that was revoked", func(f *fake, o *Options) {
			f.tokens, f.revoked["access-1"] = 1, true
			o.Account, o.Tokens = "", Tokens{AccessToken: "access-1", RefreshToken: "refresh-1", ExpiresAt: im.TimeOf(time.Now().Add(time.Hour))}
		}, "", 2},
		{"where fresh tokens are not believed either", func(f *fake, o *Options) { f.upgrade = unauthenticated }, im.Unauthenticated, 2},
		{"where there is no such thing", func(f *fake, o *Options) {
			f.upgrade = func(w http.ResponseWriter) bool { w.WriteHeader(http.StatusNotFound); return true }
		}, im.NotFound, 1},
		{"where it may not", func(f *fake, o *Options) {
			f.upgrade = func(w http.ResponseWriter) bool { f.problem(w, im.Denied); return true }
		}, im.Denied, 1},
		{"where another protocol is spoken", func(f *fake, o *Options) { f.plain = true }, im.Unsupported, 1},
		{"with the store of another", func(f *fake, o *Options) { o.Store = &Memory{state: State{User: bob}} }, im.Conflict, 1},
		{"to what is not a URL", func(f *fake, o *Options) { o.URL = "fake" }, im.Invalid, 0},
		{"to what is no server's URL", func(f *fake, o *Options) { o.URL = "ws://fake" }, im.Invalid, 0},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			bubble(t, func(t *testing.T, f *fake) {
				var g got
				opt := f.options(&g)
				tt.prep(f, &opt)
				go func() {
					for {
						select {
						case s := <-f.socks:
							s.tryWrite(frame.FromServer{Type: frame.Welcome, User: ann}.Encode()) // the client may have left
						case <-t.Context().Done():
							return
						}
					}
				}()
				ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
				defer cancel()
				c, err := Connect(ctx, opt)
				if c != nil {
					defer c.Close()
				}
				if tt.kind == "" && err != nil || tt.kind != "" && !errors.Is(err, tt.kind) {
					t.Fatalf("got %v, want %q", err, tt.kind)
				}
				if f.seen().dials != tt.dial {
					t.Errorf("%d sockets were tried", f.seen().dials)
				}
			})
		})
	}
}

func TestConnectWaitsForAServerThatIsNotThereYet(t *testing.T) {
	bubble(t, func(t *testing.T, f *fake) {
		var g got
		f.down = true
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		if _, err := Connect(ctx, f.options(&g)); !errors.Is(err, context.DeadlineExceeded) {
			t.Fatalf("got %v", err)
		}
		go func() {
			time.Sleep(20 * time.Second)
			f.set(func() { f.down = false })
		}()
		c, _ := f.connect(f.options(&g), 0)
		c.Close()
	})
}

func TestBackoffGrowsAndIsNotTheSameForAll(t *testing.T) {
	bubble(t, func(t *testing.T, f *fake) {
		var g got
		c, s := f.connect(f.options(&g), 0)
		defer c.Close()
		time.Sleep(20 * time.Second)
		f.set(func() { f.down = true })
		s.close(0, nil)
		time.Sleep(time.Hour)
		f.mu.Lock()
		n, waits := len(f.dials), map[time.Duration]bool{}
		for i := 1; i < n; i++ {
			wait := f.dials[i].Sub(f.dials[i-1])
			waits[wait] = true
			if wait > backoffMost && i > 1 {
				t.Errorf("waited %s", wait)
			}
		}
		f.mu.Unlock()
		// Half of 30 s on the average: 240 in an hour.
		if n < 180 || n > 320 {
			t.Errorf("%d attempts in an hour", n)
		}
		if len(waits) < n/2 {
			t.Errorf("only %d different waits", len(waits))
		}
	})
}

func TestAServerThatClosesAtOnceIsNotHammered(t *testing.T) {
	bubble(t, func(t *testing.T, f *fake) {
		var g got
		c, s := f.connect(f.options(&g), 0)
		defer c.Close()
		start, n := time.Now(), 0
		for time.Since(start) < 10*time.Minute {
			s.close(4001, nil)
			s = f.next()
			s.welcome(0)
			n++
		}
		if n > 80 {
			t.Errorf("%d connections in ten minutes", n)
		}
	})
}

func TestRetryAfterOfAnUpgradeIsObeyed(t *testing.T) {
	bubble(t, func(t *testing.T, f *fake) {
		var g got
		c, s := f.connect(f.options(&g), 0)
		defer c.Close()
		f.set(func() {
			f.upgrade = func(w http.ResponseWriter) bool {
				w.Header().Set("Retry-After", "120")
				f.problem(w, im.Overloaded)
				return true
			}
		})
		s.close(0, nil)
		time.Sleep(time.Minute)
		f.set(func() { f.upgrade = nil })
		start := time.Now()
		s = f.next()
		if took := time.Since(start); took < 59*time.Second || took > 62*time.Second {
			t.Errorf("came back after %s", took+time.Minute)
		}
		s.welcome(0)
	})
}

func TestTheTokenIsReplacedInPlace(t *testing.T) {
	bubble(t, func(t *testing.T, f *fake) {
		var g got
		c, s := f.connect(f.options(&g), 0)
		defer c.Close()
		s.keepAlive(t.Context())
		last := time.Now()
		for n := range 50 {
			d := s.read()
			if d.Type != frame.Token || d.Token != fmt.Sprintf("access-%d", n+2) {
				t.Fatalf("wrote %+v", d)
			}
			if age := time.Since(last); age < 10*time.Minute || age > 12*time.Minute+time.Second {
				t.Errorf("a new token after %s", age)
			}
			last = time.Now()
		}
		if f.seen().dials != 1 || f.seen().logins != 1 {
			t.Errorf("%d connections, %d logins", f.seen().dials, f.seen().logins)
		}
	})
}

func TestARefreshThatCannotBeMadeNowIsMadeLater(t *testing.T) {
	bubble(t, func(t *testing.T, f *fake) {
		var g got
		c, s := f.connect(f.options(&g), 0)
		defer c.Close()
		s.keepAlive(t.Context())
		f.set(func() { f.refuse = im.Unavailable })
		time.Sleep(12*time.Minute + 30*time.Second)
		if f.seen().refreshes < 2 {
			t.Errorf("%d refreshes", f.seen().refreshes)
		}
		f.set(func() { f.refuse = "" })
		if d := s.read(); d.Type != frame.Token {
			t.Errorf("wrote %+v", d)
		}
		if f.seen().dials != 1 {
			t.Errorf("%d connections", f.seen().dials)
		}
	})
}

func TestASessionThatEndedStopsTheClient(t *testing.T) {
	for _, kind := range []im.Kind{im.Unauthenticated, im.Denied} {
		t.Run(string(kind), func(t *testing.T) {
			bubble(t, func(t *testing.T, f *fake) {
				var g got
				c, s := f.connect(f.options(&g), 0)
				s.keepAlive(t.Context())
				f.set(func() { f.refuse = kind })
				<-c.Done()
				if stopped, ok := errors.AsType[*StoppedError](c.Err()); !ok || stopped.Close != frame.CloseSignedOut || !errors.Is(c.Err(), kind) {
					t.Errorf("stopped with %v", c.Err())
				}
				if f.seen().refreshes != 1 || f.seen().logins != 1 {
					t.Errorf("%d refreshes, %d logins", f.seen().refreshes, f.seen().logins)
				}
			})
		})
	}
}

// A refresh token that is used twice ends the session, so there is one refresh
// however many need it, and it is not cut off.
func TestOneRefreshForAll(t *testing.T) {
	bubble(t, func(t *testing.T, f *fake) {
		var g got
		c, _ := f.connect(f.options(&g), 0)
		defer c.Close()
		f.set(func() { f.revoked["access-1"] = true })
		for range 20 {
			go func() {
				err := c.Do(t.Context(), func(api *API, token string) error {
					_, err := api.Inbox(t.Context(), token, 0, 1)
					return err
				})
				if err != nil {
					t.Error(err)
				}
			}()
		}
		synctest.Wait()
		if f.seen().refreshes != 1 {
			t.Errorf("%d refreshes", f.seen().refreshes)
		}
		if st := c.store.(*Memory).state; st.RefreshToken != "refresh-2" {
			t.Errorf("the store has %+v", st)
		}
	})
}

func TestATokenThatExpiredMeanwhileIsNotTried(t *testing.T) {
	bubble(t, func(t *testing.T, f *fake) {
		var g got
		c, s := f.connect(f.options(&g), 0)
		defer c.Close()
		f.set(func() { f.down = true })
		s.close(0, nil)
		time.Sleep(f.life + time.Minute)
		f.set(func() { f.down = false })
		s = f.next()
		s.welcome(0)
		if s.token != "Bearer access-2" {
			t.Errorf("came back with %s", s.token)
		}
	})
}

func TestARefreshIsNotCutOff(t *testing.T) {
	bubble(t, func(t *testing.T, f *fake) {
		var g got
		c, _ := f.connect(f.options(&g), 0)
		defer c.Close()
		f.set(func() { f.revoked["access-1"], f.slow = true, time.Second })
		ctx, cancel := context.WithTimeout(t.Context(), time.Second/2)
		defer cancel()
		err := c.Do(ctx, func(api *API, token string) error {
			_, err := api.Inbox(ctx, token, 0, 1)
			return err
		})
		if !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("the call: %v", err)
		}
		time.Sleep(time.Second)
		if st, _ := c.store.Load(t.Context()); st.RefreshToken != "refresh-2" {
			t.Errorf("the store has %s, which is spent", st.RefreshToken)
		}
	})
}

func TestSilence(t *testing.T) {
	bubble(t, func(t *testing.T, f *fake) {
		var g got
		c, s := f.connect(f.options(&g), 0)
		defer c.Close()
		ctx, cancel := context.WithCancel(t.Context())
		s.keepAlive(ctx)
		time.Sleep(10 * time.Minute)
		cancel()
		for range 20 {
			time.Sleep(30 * time.Second)
			s.write(frame.FromServer{Type: frame.Pong})
		}
		if f.seen().dials != 1 {
			t.Errorf("a connection with pings, and then frames, was left")
		}
		start := time.Now()
		s = f.next()
		if took := time.Since(start); took < 65*time.Second || took > 67*time.Second {
			t.Errorf("a silent connection was left after %s", took)
		}
		s.welcome(0)
	})
}

func TestAServerThatDoesNotSayWelcomeIsLeft(t *testing.T) {
	bubble(t, func(t *testing.T, f *fake) {
		var g got
		c, s := f.connect(f.options(&g), 0)
		defer c.Close()
		s.close(0, nil)
		f.next()
		start := time.Now()
		f.next().welcome(0)
		if took := time.Since(start); took > dialTimeout+2*backoffFirst {
			t.Errorf("left after %s", took)
		}
	})
}

func TestFramesThatMakeNoSenseDoNoHarm(t *testing.T) {
	bubble(t, func(t *testing.T, f *fake) {
		var g got
		f.fill(1)
		c, s := f.connect(f.options(&g), 0)
		defer c.Close()
		for _, b := range []string{"", "{", "null", "[]", `"x"`, `{"type":7}`, `{"type":"from the future","x":{}}`, `{"type":"message"}`,
			`{"type":"message","seq":1,"message":{"id":7}}`, `{"type":"message","seq":-1,"message":{}}`, `{"type":"accepted"}`, `{"type":"refused"}`,
			`{"type":"behind","head":-7}`, `{"type":"error","kind":"invalid"}`, `{"type":"welcome","user":"` + bob + `"}`} {
			s.raw([]byte(b))
		}
		s.ws.WriteMessage(websocket.BinaryMessage, []byte("x"))
		s.push(1)
		time.Sleep(time.Second)
		g.want(t, 1, 1)
		if f.seen().dials != 1 {
			t.Errorf("it left")
		}
	})
}

// The bubble fails a test that leaves a goroutine behind; this one closes at
// every stage.
func TestCloseLeavesNothingBehind(t *testing.T) {
	bubble(t, func(t *testing.T, f *fake) {
		var g got
		for n := range 5 {
			opt := f.options(&g)
			opt.Store = new(Memory)
			c, s := f.connect(opt, int64(n)) // some find an inbox that has less
			s.keepAlive(t.Context())
			sendAll(t, c, "one", "two")
			time.Sleep(time.Duration(n) * 50 * time.Millisecond)
			if n == 3 {
				f.set(func() { f.pullErr = im.Unavailable })
				s.close(0, nil)
			}
			if err := c.Close(); err != nil {
				t.Error(err)
			}
			c.Close()
			if !errors.Is(c.Err(), ErrClosed) {
				t.Errorf("stopped with %v", c.Err())
			}
			if n != 3 {
				<-s.ended
				if !websocket.IsCloseError(s.err, websocket.CloseNormalClosure) {
					t.Errorf("the server saw %v", s.err)
				}
			}
		}
	})
}

func TestAnswersOfTheAPI(t *testing.T) {
	json := http.Header{"Content-Type": {"application/json"}}
	problem := http.Header{"Content-Type": {"application/problem+json"}}
	tests := []struct {
		name   string
		status int
		header http.Header
		body   string
		kind   im.Kind
		detail string
		retry  time.Duration
	}{
		{"a problem", 409, problem, `{"kind":"conflict","title":"Conflict","detail":"the account is taken"}`, im.Conflict, "the account is taken", 0},
		{"a problem for a while", 429, http.Header{"Retry-After": {"7"}, "Content-Type": problem["Content-Type"]}, `{"kind":"overloaded","detail":"wait"}`, im.Overloaded, "wait", 7 * time.Second},
		{"a proxy's 401", 401, nil, `<html>`, im.Unavailable, "", 0},
		{"a proxy's 403", 403, nil, `<html>`, im.Unavailable, "", 0},
		{"a proxy's 404", 404, nil, `<html>`, im.Unavailable, "", 0},
		{"a proxy's 413", 413, nil, ``, im.Unavailable, "", 0},
		{"a proxy's 429", 429, http.Header{"Retry-After": {"7"}}, `<html>`, im.Overloaded, "", 7 * time.Second},
		{"a proxy's 502", 502, nil, `<html>`, im.Unavailable, "", 0},
		{"a proxy's 503", 503, http.Header{"Retry-After": {"3"}}, `<html>`, im.Unavailable, "", 3 * time.Second},
		{"a status unheard of", 418, nil, ``, im.Unavailable, "", 0},
		{"a redirect", 304, nil, ``, im.Unavailable, "", 0},
		{"a page to sign in at a network", 200, http.Header{"Content-Type": {"text/html"}}, `<html>`, im.Unavailable, "", 0},
		{"not JSON", 200, json, `<html>`, im.Unavailable, "", 0},
		{"JSON of another form", 200, json, `[]`, im.Internal, "", 0},
		{"too long", 200, json, strings.Repeat(" ", maxAnswer+1), im.TooLarge, "", 0},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				for k, v := range tt.header {
					w.Header()[k] = v
				}
				w.WriteHeader(tt.status)
				io.WriteString(w, tt.body)
			}))
			defer srv.Close()
			api := API{URL: srv.URL + "/"}
			_, err := api.Register(t.Context(), "ann", "Ann", "correct horse")
			if im.KindOf(err) != tt.kind || tt.detail != "" && err.Error() != tt.detail || retryAfter(err) != tt.retry {
				t.Errorf("got %v (%s, %s)", err, im.KindOf(err), retryAfter(err))
			}
		})
	}
	page := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, "<html>") }))
	defer page.Close()
	if err := (&API{URL: page.URL}).Logout(t.Context(), "t"); !errors.Is(err, im.Unavailable) {
		t.Errorf("a page has signed somebody out: %v", err)
	}
	api := API{URL: "http://127.0.0.1:1"}
	if _, err := api.FindUser(t.Context(), "t", "ann"); !errors.Is(err, im.Unavailable) {
		t.Errorf("nobody there: %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := api.FindUser(ctx, "t", "ann"); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
}

func TestAnyCall(t *testing.T) {
	type seen struct{ method, uri, auth, key, body string }
	var calls []seen
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		b, _ := io.ReadAll(r.Body)
		calls = append(calls, seen{r.Method, r.RequestURI, r.Header.Get("Authorization"), r.Header.Get("Idempotency-Key"), string(b)})
		w.Header().Set("Content-Type", "application/json")
		io.WriteString(w, `{"friends":[{"remark":"Bobby"}]}`)
	}))
	defer srv.Close()
	api := &API{URL: srv.URL}
	var out struct{ Friends []struct{ Remark string } }
	if err := api.Call(t.Context(), "GET", "/v1/friends?limit=1", "t", nil, &out); err != nil || len(out.Friends) != 1 || out.Friends[0].Remark != "Bobby" {
		t.Error(out, err)
	}
	ctx := WithIdempotencyKey(t.Context(), "k1")
	if err := api.Call(ctx, "DELETE", "/v1/groups/g/members", "t", map[string]any{"users": []string{bob}}, nil); err != nil {
		t.Error(err)
	}
	want := []seen{
		{"GET", "/v1/friends?limit=1", "Bearer t", "", ""},
		{"DELETE", "/v1/groups/g/members", "Bearer t", "k1", `{"users":["` + bob + `"]}`},
	}
	if !slices.Equal(calls, want) {
		t.Errorf("called %+v\nwant   %+v", calls, want)
	}
}

func TestACallIsMadeAgainWithANewToken(t *testing.T) {
	bubble(t, func(t *testing.T, f *fake) {
		var g got
		c, _ := f.connect(f.options(&g), 0)
		defer c.Close()
		f.set(func() { f.revoked["access-1"] = true })
		var p InboxPage
		if err := c.Call(t.Context(), "GET", "/v1/inbox?after=0&limit=1", nil, &p); err != nil {
			t.Error(err)
		}
		if f.seen().refreshes != 1 {
			t.Errorf("%d refreshes", f.seen().refreshes)
		}
	})
}

func TestCallsOfTheAPI(t *testing.T) {
	type call struct{ method, uri, auth, body, answer string }
	var want call
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		b, _ := io.ReadAll(r.Body)
		got := call{r.Method, r.RequestURI, r.Header.Get("Authorization"), string(b), want.answer}
		if got != want {
			t.Errorf("called %+v\nwant   %+v", got, want)
		}
		if want.answer == "" {
			w.WriteHeader(http.StatusNoContent)
			return
		}
		w.Header().Set("Content-Type", "application/json")
		io.WriteString(w, want.answer)
	}))
	defer srv.Close()
	api := &API{URL: srv.URL}
	ctx := t.Context()

	want = call{"POST", "/v1/users", "", `{"account":"ann","name":"Ann","password":"correct horse"}`, `{"id":"` + ann + `","account":"ann","name":"Ann"}`}
	if u, err := api.Register(ctx, "ann", "Ann", "correct horse"); err != nil || u != (im.User{ID: ann, Account: "ann", Name: "Ann"}) {
		t.Error(u, err)
	}
	want = call{"DELETE", "/v1/sessions/current", "Bearer t", "", ""}
	if err := api.Logout(ctx, "t"); err != nil {
		t.Error(err)
	}
	want = call{"GET", "/v1/users?account=b%26b", "Bearer t", "", `{"users":[]}`}
	if _, err := api.FindUser(ctx, "t", "b&b"); !errors.Is(err, im.NotFound) {
		t.Error(err)
	}
	want = call{"POST", "/v1/groups", "Bearer t", `{"name":"lunch","members":["` + bob + `"]}`, `{"id":"g","name":"lunch"}`}
	if g, err := api.CreateGroup(ctx, "t", "lunch", []string{bob}); err != nil || g.ID != "g" {
		t.Error(g, err)
	}
	want = call{"GET", "/v1/inbox?after=7&limit=2", "Bearer t", "", `{"entries":[{"seq":8,"message":{"id":"m8"}}],"head":9,"more":true}`}
	if p, err := api.Inbox(ctx, "t", 7, 2); err != nil || len(p.Entries) != 1 || p.Head != 9 || !p.More {
		t.Error(p, err)
	}
	want = call{"GET", "/v1/conversations/g:x/messages?before=cur&limit=2", "Bearer t", "", `{"messages":[{"id":"m1"}],"prev":"p"}`}
	if p, err := api.History(ctx, "t", "g:x", HistoryRange{Before: "cur", Limit: 2}); err != nil || len(p.Messages) != 1 || p.Prev != "p" {
		t.Error(p, err)
	}
}
