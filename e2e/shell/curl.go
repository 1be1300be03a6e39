package shell

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
)

// What curl ends with (curl(1), EXIT CODES).
const (
	curlNoConnection = 7
	curlPartial      = 18
	curlHTTPError    = 22
	curlReadError    = 26
	curlReceiveError = 56
)

// web sends as curl does: it follows nothing, decompresses nothing, and goes by
// no proxy.
var web = &http.Client{
	Transport:     &http.Transport{DisableCompression: true, DisableKeepAlives: true},
	CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
}

// curl is curl -s of one URL. It prints the body of the answer, whatever the
// status; with --fail-with-body it then ends with 22 if that is 400 or more.
func curl(ctx context.Context, c *call) error {
	set, operands, err := c.options("-s --fail-with-body", "-X -H -d -T -r")
	if err = errors.Join(err, want(operands, 1)); err != nil {
		return err
	}
	if set["-s"] == nil {
		return errors.New("it is silent here: give it -s")
	}
	req, err := c.request(ctx, operands[0], set)
	if err != nil {
		return err
	}
	resp, err := web.Do(req)
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if dial := (*net.OpError)(nil); errors.As(err, &dial) && dial.Op == "dial" {
		return status(curlNoConnection)
	}
	if err != nil {
		return status(curlReceiveError)
	}
	defer resp.Body.Close()
	body, cut := io.ReadAll(resp.Body)
	if err := c.print(string(body)); err != nil {
		return err
	}
	switch {
	case cut != nil:
		return status(curlPartial)
	case resp.StatusCode >= 400 && set["--fail-with-body"] != nil:
		return status(curlHTTPError)
	}
	return nil
}

func (c *call) request(ctx context.Context, url string, set map[string][]string) (*http.Request, error) {
	for _, once := range []string{"-X", "-d", "-T", "-r"} {
		if len(set[once]) > 1 {
			return nil, fmt.Errorf("%s more than once", once)
		}
	}
	method, body, kind := http.MethodGet, []byte(nil), ""
	switch data, file := set["-d"], set["-T"]; {
	case data != nil && file != nil:
		return nil, errors.New("-d and -T at once")
	case data != nil:
		if strings.HasPrefix(data[0], "@") {
			return nil, errors.New("data of a file is not known here")
		}
		method, body, kind = http.MethodPost, []byte(data[0]), "application/x-www-form-urlencoded"
	case file != nil:
		f, err := c.open(file[0])
		if err != nil {
			return nil, status(curlReadError)
		}
		defer f.Close()
		if body, err = io.ReadAll(f); err != nil {
			return nil, status(curlReadError)
		}
		method = http.MethodPut
	}
	if set["-X"] != nil {
		method = set["-X"][0]
	}
	req, err := http.NewRequestWithContext(ctx, method, url, bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	req.Header.Set("Accept", "*/*")
	if kind != "" {
		req.Header.Set("Content-Type", kind)
	}
	if set["-r"] != nil {
		req.Header.Set("Range", "bytes="+set["-r"][0])
	}
	for i, h := range set["-H"] {
		name, value, ok := strings.Cut(h, ":")
		if !ok || strings.TrimSpace(value) == "" || strings.EqualFold(name, "Host") {
			return nil, fmt.Errorf("the header %d is not known here", i+1)
		}
		req.Header.Set(name, strings.TrimSpace(value))
	}
	return req, nil
}
