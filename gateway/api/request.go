package api

import (
	"encoding/json"
	"errors"
	"io"
	"mime"
	"net/http"
	"net/url"
	"strings"
	"unicode/utf8"

	"github.com/tidings-im/tidings/shared/event"
	"github.com/tidings-im/tidings/shared/im"
)

// maxBody is the most bytes in the body of a call.
const maxBody = 64 << 10

// fields returns one JSON object of all that a request says: in its path, its
// query and its body, which is read from a reader.
func (op *operation) fields(r *http.Request, from io.Reader) (json.RawMessage, error) {
	all, err := op.body(r, from)
	if err != nil {
		return nil, err
	}
	query, err := url.ParseQuery(r.URL.RawQuery)
	if err != nil {
		return nil, im.Errorf(im.Invalid, "the query of the URL cannot be read")
	}
	for i := range op.Parameters {
		p := &op.Parameters[i]
		for field := range all {
			if strings.EqualFold(field, p.Name) { // encoding/json would take one for the other
				return nil, im.Errorf(im.Invalid, "%q is a parameter of the %s, not a field of the body", p.Name, p.In)
			}
		}
		value, given := r.PathValue(p.Name), true
		if p.In == "query" {
			values := query[p.Name]
			delete(query, p.Name)
			if len(values) > 1 {
				return nil, im.Errorf(im.Invalid, "the parameter %q is there more than once", p.Name)
			}
			if given = len(values) == 1; given {
				value = values[0]
			}
		}
		switch {
		case given && !utf8.ValidString(value):
			return nil, im.Errorf(im.Invalid, "the parameter %q is not UTF-8", p.Name)
		case given:
			if all[p.Name], err = p.convert(value); err != nil {
				return nil, err
			}
		case p.Required:
			return nil, im.Errorf(im.Invalid, "the parameter %q is missing", p.Name)
		}
	}
	for name := range query {
		return nil, im.Errorf(im.Invalid, "%.40q is not a parameter of this operation", name)
	}
	return im.JSON(all)
}

// body returns the fields of the body of a request.
func (op *operation) body(r *http.Request, from io.Reader) (map[string]json.RawMessage, error) {
	b, err := io.ReadAll(from)
	var large *http.MaxBytesError
	switch {
	case errors.As(err, &large):
		return nil, im.Errorf(im.TooLarge, "the body of a request has %d bytes at most", maxBody)
	case im.KindOf(err) == im.Overloaded:
		return nil, err
	case err != nil:
		return nil, im.Wrap(im.Invalid, err, "the body of the request broke off")
	case len(b) == 0 && (op.Body == nil || !op.Body.Required):
		return make(map[string]json.RawMessage), nil
	case op.Body == nil:
		return nil, im.Errorf(im.Invalid, "this operation takes no body")
	}
	media, params, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	if charset := params["charset"]; err != nil || media != event.JSON || charset != "" && !strings.EqualFold(charset, "utf-8") {
		return nil, im.Errorf(im.Unsupported, "the body is to be %s, in UTF-8", event.JSON)
	}
	if !utf8.Valid(b) {
		return nil, im.Errorf(im.Invalid, "the body is not UTF-8")
	}
	var all map[string]json.RawMessage
	if err := json.Unmarshal(b, &all); err != nil || all == nil {
		return nil, &im.Error{Kind: im.Invalid, Msg: "the body is not a JSON object", Err: err}
	}
	return all, nil
}
