package coldstore

import (
	"bytes"
	"context"
	"fmt"
	"slices"

	"github.com/parquet-go/parquet-go"
	"github.com/parquet-go/parquet-go/bloom"
	"github.com/parquet-go/parquet-go/compress/zstd"

	"github.com/tidings-im/tidings/shared/im"
)

const (
	// groupRows and groupBytes bound a row group, which is what one page of
	// history costs to read; a message that is larger is a group alone.
	groupRows  = 4096
	groupBytes = 4 << 20

	// filterBits is how many bits of a filter a conversation takes: of a hundred
	// that are not in it, about one is taken to be.
	filterBits = 10
)

// encode writes messages, which stand in their order, as one Parquet file, and
// returns it with the part that it is.
func encode(messages []im.Message) (file []byte, part im.Part, err error) {
	if len(messages) == 0 || !slices.IsSortedFunc(messages, byKey) {
		return nil, part, im.Errorf(im.Internal, "%d messages are no part of the archive: none, or not in their order", len(messages))
	}
	var buf bytes.Buffer
	w := parquet.NewGenericWriter[row](&buf, schema, sorting,
		parquet.Compression(&zstd.Codec{}), parquet.CreatedBy("tidings", "1", ""),
		parquet.SkipPageBounds("text"), parquet.SkipPageBounds("data"))
	sum := newDigest()
	rows := make([]row, 0, groupRows)
	for group := range groups(messages) {
		rows = rows[:0]
		for _, m := range group {
			rows = append(rows, rowOf(m))
			sum.add(m)
		}
		if _, err = w.Write(rows); err == nil {
			err = w.Flush()
		}
		if err != nil {
			return nil, part, fmt.Errorf("writing Parquet: %w", err)
		}
		part.Groups = append(part.Groups, im.RowGroup{
			Number: len(part.Groups), Rows: len(group),
			First: group[0].Key(), Last: group[len(group)-1].Key(), Conversations: filterOf(group),
		})
	}
	if err := w.Close(); err != nil {
		return nil, part, fmt.Errorf("writing Parquet: %w", err)
	}
	part.Rows, part.Bytes, part.Checksum = len(messages), int64(buf.Len()), sum.sum()
	return buf.Bytes(), part, locate(buf.Bytes(), &part)
}

func byKey(a, b im.Message) int {
	switch {
	case a.Key().Less(b.Key()):
		return -1
	case b.Key().Less(a.Key()):
		return 1
	}
	return 0
}

// groups cuts messages into row groups.
func groups(messages []im.Message) func(yield func([]im.Message) bool) {
	return func(yield func([]im.Message) bool) {
		for len(messages) > 0 {
			n, size := 0, 0
			for n < min(len(messages), groupRows) {
				size += len(messages[n].Text) + len(messages[n].Data)
				if size > groupBytes && n > 0 {
					break
				}
				n++
			}
			if !yield(messages[:n]) {
				return
			}
			messages = messages[n:]
		}
	}
}

// locate notes in part where its row groups and its metadata are.
func locate(file []byte, part *im.Part) error {
	f, err := parquet.OpenFile(bytes.NewReader(file), int64(len(file)), parquet.SkipPageIndex(true), parquet.SkipBloomFilters(true))
	if err != nil {
		return fmt.Errorf("reading what was written as Parquet: %w", err)
	}
	all := f.Metadata().RowGroups
	if len(all) != len(part.Groups) {
		return im.Errorf(im.Internal, "%d row groups were written, and %d are in the file", len(part.Groups), len(all))
	}
	for i := range all {
		g := &part.Groups[i]
		g.Start = int64(len(file))
		end := int64(0)
		for _, c := range all[i].Columns {
			at := c.MetaData.DataPageOffset
			if d := c.MetaData.DictionaryPageOffset; d > 0 {
				at = min(at, d)
			}
			g.Start, end = min(g.Start, at), max(end, at+c.MetaData.TotalCompressedSize)
		}
		g.Bytes = end - g.Start
	}
	part.Footer = int64(len(file)) - footerSize(file[len(file)-8:])
	return nil
}

// filterOf returns a filter of the conversations of messages.
func filterOf(messages []im.Message) []byte {
	var hashes []uint64
	last := im.Conversation("")
	for _, m := range messages {
		if m.Conversation != last {
			last = m.Conversation
			hashes = append(hashes, bloom.XXH64{}.Sum64([]byte(last)))
		}
	}
	filter := make(bloom.SplitBlockFilter, bloom.NumSplitBlocksOf(int64(len(hashes)), filterBits))
	filter.InsertBulk(hashes)
	return filter.Bytes()
}

// May reports whether a conversation may be in a row group; if not, it is not.
func May(g im.RowGroup, c im.Conversation) bool {
	if c < g.First.Conversation || c > g.Last.Conversation {
		return false
	}
	if len(g.Conversations) == 0 || len(g.Conversations)%bloom.BlockSize != 0 { // no filter: it has to be looked at
		return true
	}
	return bloom.MakeSplitBlockFilter(g.Conversations).Check(bloom.XXH64{}.Sum64([]byte(c)))
}

// Write writes messages of a span, which stand in their order, into an object
// of a name of its own. Until the part is noted somewhere nobody knows of it.
func (s *Store) Write(ctx context.Context, span im.Time, number int, messages []im.Message) (im.Part, error) {
	file, part, err := encode(messages)
	if err != nil {
		return part, err
	}
	part.Span, part.Number = span, number
	part.Key = fmt.Sprintf("%spart-%05d-%s.parquet", s.folder(span), number, im.NewID())
	return part, s.put(ctx, part.Key, file)
}
