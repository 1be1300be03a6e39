package coldstore

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"hash"
	"strings"

	"github.com/parquet-go/parquet-go"

	"github.com/tidings-im/tidings/shared/im"
)

// A row is a message as any reader of Parquet sees it. The columns are a
// contract: what was written stays readable for as long as history is kept.
type row struct {
	Conversation string `parquet:"conversation,dict"`
	Time         int64  `parquet:"time,timestamp(microsecond:utc),delta"`
	ID           uuid   `parquet:"id,uuid"`
	Sender       string `parquet:"sender,dict"`
	ClientID     string `parquet:"client_id"`
	Kind         string `parquet:"kind,dict"`
	Text         string `parquet:"text"`
	ReplyTo      uuid   `parquet:"reply_to,optional,uuid"`
	Data         string `parquet:"data,optional"` // JSON
	Revision     int32  `parquet:"revision"`
	Edited       int64  `parquet:"edited,optional,timestamp(microsecond:utc)"`
	Recalled     bool   `parquet:"recalled"`
}

// A uuid is the id of a message; that of all zeros is none.
type uuid [16]byte

func parseUUID(s string) uuid {
	u, _ := im.MessageIDBytes(s) // of what is no id the checksum will differ
	return u
}

func (u uuid) String() string {
	if u == (uuid{}) {
		return ""
	}
	return im.FormatMessageID(u)
}

var (
	schema  = parquet.SchemaOf(row{})
	sorting = parquet.SortingWriterConfig(parquet.SortingColumns(
		parquet.Ascending("conversation"), parquet.Ascending("time"), parquet.Ascending("id")))
)

func rowOf(m im.Message) row {
	return row{
		Conversation: string(m.Conversation), Time: int64(m.Time), ID: parseUUID(m.ID), Sender: m.From, ClientID: m.ClientID,
		Kind: m.Kind, Text: m.Text, ReplyTo: parseUUID(m.ReplyTo), Data: string(m.Data),
		Revision: int32(m.Revision), Edited: int64(m.Edited), Recalled: m.Recalled,
	}
}

// message returns the message of r. The strings of a row that was read are in
// memory that is read into again: they are copied.
func (r row) message() im.Message {
	m := im.Message{
		Conversation: im.Conversation(strings.Clone(r.Conversation)), Time: im.Time(r.Time), ID: r.ID.String(), From: strings.Clone(r.Sender),
		ClientID: strings.Clone(r.ClientID), Kind: strings.Clone(r.Kind), Text: strings.Clone(r.Text), ReplyTo: r.ReplyTo.String(),
		Revision: int(r.Revision), Edited: im.Time(r.Edited), Recalled: r.Recalled,
	}
	if r.Data != "" {
		m.Data = json.RawMessage(bytes.Clone([]byte(r.Data)))
	}
	return m
}

// A digest is a SHA-256 of messages in their order: of each the fields in the
// order of row, strings with their length before them.
type digest struct {
	hash hash.Hash
	buf  []byte
}

func newDigest() *digest { return &digest{hash: sha256.New()} }

func (d *digest) add(m im.Message) {
	b := d.buf[:0]
	text := func(s string) { b = append(binary.AppendUvarint(b, uint64(len(s))), s...) }
	text(string(m.Conversation))
	b = binary.AppendVarint(b, int64(m.Time))
	for _, s := range []string{m.ID, m.From, m.ClientID, m.Kind, m.Text, m.ReplyTo, string(m.Data)} {
		text(s)
	}
	b = binary.AppendVarint(b, int64(m.Revision))
	b = binary.AppendVarint(b, int64(m.Edited))
	if m.Recalled {
		b = append(b, 1)
	} else {
		b = append(b, 0)
	}
	d.hash.Write(b)
	d.buf = b
}

func (d *digest) sum() []byte { return d.hash.Sum(nil) }
