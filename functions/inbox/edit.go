package inbox

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"

	jsonv2 "github.com/go-json-experiment/json"

	"github.com/tidings-im/tidings/shared/im"
)

// The notice of an edit does not hold the text: it is kept in inboxes for good,
// and what is recalled or deleted afterwards is to be nowhere. Who is told gets
// the text with it: from what the notice amends when it is pushed, from the
// user's own entry when it is synced.

// said returns what user is told of the message of j.
func (j *job) said(user string) *content {
	c := j.as(user)
	if !j.quiet || len(j.amended) != 1 || c != &j.content {
		return c
	}
	told := *c
	told.json = withText(c.json, j.amended[0].json)
	return &told
}

// withText returns the notice of an edit with the text of the message that was
// edited. The notice of anything else is returned as it is, and so is one if
// there is no text, or none that could be read: then it says so much.
func withText(notice, message json.RawMessage) json.RawMessage {
	if !isEdit(notice) {
		return notice
	}
	var m struct {
		Kind     string `json:"kind"`
		Text     string `json:"text"`
		Recalled bool   `json:"recalled"`
	}
	if jsonv2.Unmarshal(message, &m) != nil || m.Kind != im.KindText || m.Recalled {
		return notice
	}
	var n im.Message
	if jsonv2.Unmarshal(notice, &n) != nil {
		return notice
	}
	text, err := im.JSON(m.Text)
	data, ok := bytes.CutSuffix(bytes.TrimSpace(n.Data), []byte("}"))
	if err != nil || !ok {
		return notice
	}
	n.Data = append(append(append(bytes.Clone(data), `,"text":`...), text...), '}')
	told, err := im.JSON(n)
	if err != nil {
		return notice
	}
	return told
}

// edit is how the notice of an edit begins its data. No text that somebody
// wrote holds this: JSON escapes its quotes.
var edit = []byte(`"data":{"type":"` + im.MessageEdited + `",`)

func isEdit(message json.RawMessage) bool { return bytes.Contains(message, edit) }

type getter interface {
	// Get returns those entries that there are.
	Get(ctx context.Context, keys []im.EntryKey) (map[im.EntryKey]im.Entry, error)
}

// fill puts the texts into the notices of edits among entries of a user.
func fill(ctx context.Context, from getter, user string, entries []im.Entry) error {
	edited := make(map[int]im.EntryKey)
	var keys []im.EntryKey
	for i, e := range entries {
		if !isEdit(e.Message) {
			continue
		}
		var n struct {
			Conversation im.Conversation `json:"conversation"`
			Data         struct {
				Message string `json:"message"`
			} `json:"data"`
		}
		if err := jsonv2.Unmarshal(e.Message, &n); err != nil {
			return im.Wrap(im.Internal, err, "an entry of the inbox is no message")
		}
		edited[i] = im.EntryKey{User: user, ID: n.Data.Message, Conversation: n.Conversation}
		keys = append(keys, edited[i])
	}
	if len(keys) == 0 {
		return nil
	}
	now, err := from.Get(ctx, keys)
	if err != nil {
		return fmt.Errorf("reading what was edited: %w", err)
	}
	for i, key := range edited {
		if e, ok := now[key]; ok {
			entries[i].Message = withText(entries[i].Message, e.Message)
		}
	}
	return nil
}
