// Package fntest is what tests of functions share: settings with which a
// function starts though its services are not there, and calls. It does not
// know which functions there are.
package fntest

import (
	"context"
	"encoding/base64"
	"errors"
	"io"
	"maps"
	"net/http"
	"strings"
	"testing"

	"github.com/tidings-im/tidings/shared/event"
	"github.com/tidings-im/tidings/shared/fn"
	"github.com/tidings-im/tidings/shared/im"
	"github.com/tidings-im/tidings/shared/token"
)

// Settings returns settings of services that are not there, keys of its own, and
// more, which replaces those of the same name.
func Settings(t testing.TB, more map[string]string) map[string]string {
	t.Helper()
	private, err := token.GenerateKey()
	public, publicErr := token.PublicKey(private)
	if err := errors.Join(err, publicErr); err != nil {
		t.Fatal(err)
	}
	vars := map[string]string{
		"POSTGRES_URL":      "postgres://127.0.0.1:1/d",
		"REDIS_URL":         "redis://127.0.0.1:1",
		"KAFKA_BROKERS":     "127.0.0.1:1",
		"SEAL_KEYS":         "k:" + base64.StdEncoding.EncodeToString([]byte(strings.Repeat("x", 32))),
		"TOKEN_PRIVATE_KEY": private,
		"TOKEN_PUBLIC_KEYS": public,
	}
	maps.Copy(vars, more)
	return vars
}

// An Answer is what a function has answered.
type Answer struct {
	Status int
	Header http.Header
	Body   []byte
}

// Post calls the function at a URL with in as JSON, or as it is if it is a
// string, by a token unless that is empty, with more headers: names and values.
func Post(ctx context.Context, url, token string, in any, header ...string) (Answer, error) {
	body, raw := in.(string)
	if !raw {
		b, err := im.JSON(in)
		if err != nil {
			return Answer{}, err
		}
		body = string(b)
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, url, strings.NewReader(body))
	if err != nil {
		return Answer{}, err
	}
	req.Header.Set("Content-Type", event.JSON)
	if token != "" {
		req.Header.Set("Authorization", "Bearer "+token)
	}
	for i := 0; i < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return Answer{}, err
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(resp.Body)
	return Answer{resp.StatusCode, resp.Header, answer}, err
}

// PostFrom calls a function below a URL as a gateway that has seals, keys of
// SEAL_KEYS, does for somebody at a network address.
func PostFrom(t testing.TB, url, seals, address, function string, in any) Answer {
	t.Helper()
	ring, err := event.ParseKeyring(seals)
	if err != nil {
		t.Fatal(err)
	}
	e, err := event.New(event.CallType(function), "gateway", address, in)
	if err != nil {
		t.Fatal(err)
	}
	ring.Sign(&e)
	var header []string
	for name, value := range e.Attributes {
		header = append(header, "Ce-"+name, value)
	}
	answer, err := Post(t.Context(), url+"/"+function, "", string(e.Data), header...)
	if err != nil {
		t.Fatal(err)
	}
	return answer
}

// Kinds fails a test unless what a handler returned of n events is of these
// kinds, "" where an event is done. No kinds are n that are done.
func Kinds(t testing.TB, err error, n int, want []im.Kind) {
	t.Helper()
	each := make(fn.Each, n)
	if err != nil && (!errors.As(err, &each) || len(each) != n) {
		t.Fatalf("error = %v, want one for each of %d events", err, n)
	}
	if want == nil {
		want = make([]im.Kind, n)
	}
	for i, err := range each {
		var got im.Kind
		if err != nil {
			got = im.KindOf(err)
		}
		if got != want[i] {
			t.Errorf("event %d: error = %v, want kind %q", i, err, want[i])
		}
	}
}
