package coldstore

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"

	"github.com/parquet-go/parquet-go"
	"golang.org/x/sync/errgroup"

	"github.com/tidings-im/tidings/shared/im"
)

// magic is how a Parquet file begins and ends.
const magic = "PAR1"

// footerSize returns how many bytes the metadata of a file take with what ends
// it, which says so: a length of four bytes, and magic.
func footerSize(end []byte) int64 {
	return int64(binary.LittleEndian.Uint32(end)) + int64(len(end))
}

// A pieces is those pieces of a file that were fetched. To read any other is an
// error, so that it never costs a request that nobody meant to make.
type pieces []piece

type piece struct {
	at    int64
	bytes []byte
}

func (p pieces) ReadAt(b []byte, at int64) (int, error) {
	for _, piece := range p {
		if at >= piece.at && at+int64(len(b)) <= piece.at+int64(len(piece.bytes)) {
			return copy(b, piece.bytes[at-piece.at:]), nil
		}
	}
	return 0, fmt.Errorf("bytes %d to %d were not fetched", at, at+int64(len(b)))
}

// Read returns the messages of a row group of a part, in their order. It makes
// two requests, at once. NotFound: there is no such object.
func (s *Store) Read(ctx context.Context, part im.Part, g im.RowGroup) ([]im.Message, error) {
	file := pieces{{bytes: []byte(magic)}, {at: part.Footer}, {at: g.Start}}
	sizes := []int64{0, part.Bytes - part.Footer, g.Bytes}
	if sizes[1] <= 8 || sizes[1] > maxFooter || sizes[2] <= 0 || sizes[2] > maxGroup {
		return nil, im.Errorf(im.Internal, "the catalog says that row group %d of %s has %d bytes, and the metadata %d", g.Number, part.Key, sizes[2], sizes[1])
	}
	fetch, within := errgroup.WithContext(ctx)
	for i := range file[1:] {
		p := &file[1+i]
		fetch.Go(func() (err error) {
			p.bytes, err = s.fetch(within, part.Key, p.at, sizes[1+i])
			return err
		})
	}
	if err := fetch.Wait(); err != nil {
		return nil, err
	}
	f, err := open(file, part.Bytes)
	if err != nil {
		return nil, broken(part.Key, err)
	}
	all := f.RowGroups()
	if g.Number < 0 || g.Number >= len(all) {
		return nil, broken(part.Key, fmt.Errorf("there is no row group %d", g.Number))
	}
	messages, err := decode(all[g.Number], nil)
	if err != nil {
		return nil, broken(part.Key, err)
	}
	if len(messages) != g.Rows {
		return nil, broken(part.Key, fmt.Errorf("row group %d has %d messages, not %d", g.Number, len(messages), g.Rows))
	}
	return messages, nil
}

const (
	maxFooter = 64 << 20
	maxGroup  = 64 << 20
)

// Verify reads the object of a part, all of it, and reports what is not as the
// part says.
func (s *Store) Verify(ctx context.Context, part im.Part) error {
	file, err := s.fetch(ctx, part.Key, 0, part.Bytes)
	if err != nil {
		return err
	}
	return verify(file, part)
}

func verify(file []byte, part im.Part) error {
	f, err := open(bytes.NewReader(file), int64(len(file)))
	if err != nil {
		return broken(part.Key, err)
	}
	all := f.RowGroups()
	if len(all) != len(part.Groups) {
		return broken(part.Key, fmt.Errorf("%d row groups, not %d", len(all), len(part.Groups)))
	}
	sum, rows, last := newDigest(), 0, im.Key{}
	for i, g := range all {
		messages, err := decode(g, nil)
		if err != nil {
			return broken(part.Key, err)
		}
		want := part.Groups[i]
		if len(messages) == 0 || len(messages) != want.Rows || messages[0].Key() != want.First || messages[len(messages)-1].Key() != want.Last {
			return broken(part.Key, fmt.Errorf("row group %d is not the one that was written", i))
		}
		for _, m := range messages {
			if !last.Less(m.Key()) {
				return broken(part.Key, fmt.Errorf("message %s is out of order", m.ID))
			}
			last = m.Key()
			if !May(want, m.Conversation) {
				return broken(part.Key, fmt.Errorf("row group %d would not be looked at for %s", i, m.Conversation))
			}
			sum.add(m)
		}
		rows += len(messages)
	}
	if rows != part.Rows || !bytes.Equal(sum.sum(), part.Checksum) {
		return broken(part.Key, fmt.Errorf("%d messages of checksum %x, not %d of %x", rows, sum.sum(), part.Rows, part.Checksum))
	}
	return nil
}

func open(r io.ReaderAt, size int64) (*parquet.File, error) {
	return parquet.OpenFile(r, size, parquet.SkipPageIndex(true), parquet.SkipBloomFilters(true))
}

// decode appends the messages of a row group.
func decode(g parquet.RowGroup, to []im.Message) (_ []im.Message, err error) {
	r := parquet.NewGenericRowGroupReader[row](g, schema)
	defer func() { err = errors.Join(err, r.Close()) }()
	rows := make([]row, 512)
	for {
		n, err := r.Read(rows)
		for _, row := range rows[:n] {
			to = append(to, row.message())
		}
		if errors.Is(err, io.EOF) {
			return to, nil
		}
		if err != nil {
			return nil, fmt.Errorf("reading Parquet: %w", err)
		}
		clear(rows)
	}
}

// broken says that an object is not what was written. To try again helps if
// somebody restores it.
func broken(key string, err error) error {
	return im.Wrap(im.Internal, fmt.Errorf("object %s of the archive: %w", key, err), "this part of the history cannot be read now")
}
