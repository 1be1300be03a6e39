package words

import (
	"encoding/json"

	"github.com/tidings-im/tidings/shared/im"
)

// A Scope is a conversation that may be searched.
type Scope struct {
	Conversation im.Conversation
	Indexed      im.Place // up to which it is indexed; the zero Place is nowhere
}

// A Stretch is what is looked at at a time: which messages may match.
type Stretch struct {
	From, To im.Place // from the first on, before the other
	Sender   string   // "" is anybody
	Filters  []Filter // a text that matches covers one of them
	Limit    int      // most messages that are returned
	Bytes    int      // most bytes of these, as written, unless the first has more
}

// TextOf returns what of a message can be found: its text and, on another line,
// the name of its file.
func TextOf(m im.Message) string {
	switch m.Kind {
	case im.KindText:
		return m.Text
	case im.KindFile:
		var file im.FileData
		if json.Unmarshal(m.Data, &file) != nil || file.Name == "" {
			return m.Text
		}
		if m.Text == "" {
			return file.Name
		}
		return m.Text + "\n" + file.Name
	}
	return ""
}
