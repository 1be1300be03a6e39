package user

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/crypto/argon2"

	"github.com/tidings-im/tidings/shared/im"
)

func TestAPasswordIsKnownByItsHashAndNoOtherIs(t *testing.T) {
	h := newHasher(1, 1)
	hash, err := h.hash(t.Context(), "", "correct horse")
	if err != nil {
		t.Fatal(err)
	}
	if !strings.HasPrefix(hash, "$argon2id$v=19$m=19456,t=2,p=1$") {
		t.Errorf("hash = %s", hash)
	}
	other, err := h.hash(t.Context(), "", "correct horse")
	if err != nil || other == hash {
		t.Errorf("the same password has the same hash twice: %s, %v", other, err)
	}
	for password, want := range map[string]bool{"correct horse": true, "correct horsE": false, "": false, "correct horse ": false} {
		if got, err := h.verify(t.Context(), "", hash, password); err != nil || got != want {
			t.Errorf("%q: %v, %v", password, got, err)
		}
	}
	if got, err := h.verify(t.Context(), "", h.dummy, "correct horse"); err != nil || got {
		t.Errorf("the hash of no password: %v, %v", got, err)
	}
}

// What another implementation hashed, with other parameters, is known, too.
func TestAHashOfOtherParametersIsKnown(t *testing.T) {
	salt := []byte("saltsaltsalt")
	sum := argon2.IDKey([]byte("password"), salt, 1, 64, 2, 24)
	b := base64.RawStdEncoding
	phc := fmt.Sprintf("$argon2id$v=19$m=64,t=1,p=2$%s$%s", b.EncodeToString(salt), b.EncodeToString(sum))
	if ok, err := newHasher(1, 0).verify(t.Context(), "", phc, "password"); err != nil || !ok {
		t.Errorf("%v, %v", ok, err)
	}
}

func TestADamagedHashIsAnErrorAndNoPassword(t *testing.T) {
	const salt, sum = "c2FsdHNhbHRzYWx0", "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"
	h := newHasher(1, 0)
	for _, phc := range []string{
		"", "x", "$2a$10$abcdefghijklmnopqrstuv", "$argon2i$v=19$m=64,t=1,p=1$" + salt + "$" + sum,
		"$argon2id$v=16$m=64,t=1,p=1$" + salt + "$" + sum,
		"$argon2id$v=19$m=64,t=0,p=1$" + salt + "$" + sum,
		"$argon2id$v=19$m=64,t=1,p=0$" + salt + "$" + sum,
		"$argon2id$v=19$m=4294967295,t=1,p=1$" + salt + "$" + sum,
		"$argon2id$v=19$m=64,t=4294967295,p=1$" + salt + "$" + sum,
		"$argon2id$v=19$m=64,t=1,p=300$" + salt + "$" + sum,
		"$argon2id$v=19$m=64,t=1,p=1$$",
		"$argon2id$v=19$m=64,t=1,p=1$" + salt + "$!",
		"$argon2id$v=19$m=64,t=1,p=1$" + salt + "$AAAA",
	} {
		if ok, err := h.verify(t.Context(), "", phc, ""); err == nil || ok {
			t.Errorf("%s: %v, %v", phc, ok, err)
		}
	}
}

func TestP7PasswordsThatWaitToBeHashedAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHasher(1, 2)
		if err := h.line.enter(t.Context(), "the first"); err != nil { // it is being hashed, for ever
			t.Fatal(err)
		}
		errs := make(chan error, 2)
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		for _, from := range []string{"192.0.2.1", "192.0.2.2"} {
			go func() {
				_, err := h.hash(ctx, from, "password")
				errs <- err
			}()
		}
		synctest.Wait() // they wait
		if _, err := h.hash(ctx, "192.0.2.3", "password"); !errors.Is(err, im.Overloaded) {
			t.Errorf("one more: %v", err)
		}
		for range 2 { // until their time is up
			if err := <-errs; !errors.Is(err, im.Overloaded) || !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("one that waited: %v", err)
			}
		}
		if h.line.waiting != 0 || len(h.line.of)+len(h.line.turns[strangers]) > 0 {
			t.Errorf("%+v wait", h.line)
		}
	})
}

func FuzzDecode(f *testing.F) {
	f.Add("$argon2id$v=19$m=19456,t=2,p=1$c2FsdHNhbHRzYWx0$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA")
	f.Fuzz(func(t *testing.T, phc string) {
		p, salt, sum, err := decode(phc)
		if err != nil {
			return
		}
		if p.memory > most.memory || p.time > most.time || p.threads > most.threads || p.time < 1 || p.threads < 1 || len(salt) < 8 || len(sum) < 16 {
			t.Errorf("%s: %+v, %d, %d", phc, p, len(salt), len(sum))
		}
	})
}

func BenchmarkHash(b *testing.B) {
	h := newHasher(1, 0)
	for b.Loop() {
		if _, err := h.hash(b.Context(), "", "password"); err != nil {
			b.Fatal(err)
		}
	}
}
