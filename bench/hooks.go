package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/tidings-im/tidings/shared/webhook"
)

// maxHook is the most bytes of a webhook that are read.
const maxHook = 4 << 20

// serveHooks answers webhooks at an address until stop is called.
func serveHooks(addr string, h http.Handler) (url string, stop func(), err error) {
	ln, err := net.Listen("tcp", addr)
	if err != nil {
		return "", nil, fmt.Errorf("listening for webhooks: %w", err)
	}
	s := &http.Server{Handler: h, ReadHeaderTimeout: 10 * time.Second}
	go s.Serve(ln)
	return "http://" + ln.Addr().String(), func() { s.Close() }, nil
}

// readHook reads a webhook, and the time at which it was here. An empty secret
// is not checked.
func readHook(r *http.Request, secret string, into any) (time.Time, error) {
	body, err := io.ReadAll(io.LimitReader(r.Body, maxHook))
	now := time.Now()
	if err != nil {
		return now, err
	}
	if secret != "" {
		at, err := strconv.ParseInt(r.Header.Get(webhook.HeaderTimestamp), 10, 64)
		if err != nil {
			return now, fmt.Errorf("a webhook came without a timestamp: %w", err)
		}
		want, err := webhook.Sign(r.Header.Get(webhook.HeaderID), time.Unix(at, 0), body, secret)
		if err != nil {
			return now, err
		}
		if !strings.Contains(" "+r.Header.Get(webhook.HeaderSignature)+" ", " "+want+" ") {
			return now, fmt.Errorf("a webhook came with the signature %q, and not %q", r.Header.Get(webhook.HeaderSignature), want)
		}
	}
	return now, json.Unmarshal(body, into)
}

// pause waits for d, while those work who say in errs how they ended.
func pause(ctx context.Context, d time.Duration, errs <-chan error) error {
	select {
	case <-time.After(d):
		return nil
	case err := <-errs:
		return errors.Join(err, errors.New("it ended early"))
	case <-ctx.Done():
		return ctx.Err()
	}
}

// wait waits until done reports true, or for so long.
func wait(ctx context.Context, patience time.Duration, done func() bool) (bool, error) {
	t := time.NewTicker(20 * time.Millisecond)
	defer t.Stop()
	for deadline := time.Now().Add(patience); ; {
		if done() {
			return true, nil
		}
		if time.Now().After(deadline) {
			return false, nil
		}
		select {
		case <-t.C:
		case <-ctx.Done():
			return false, ctx.Err()
		}
	}
}
