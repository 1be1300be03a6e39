package files

import (
	"cmp"
	"context"
	"encoding/hex"
	"errors"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgtype"

	"github.com/tidings-im/tidings/shared/im"
	"github.com/tidings-im/tidings/shared/postgres"
	"github.com/tidings-im/tidings/shared/postgres/users"
)

// fileColumns are what scanFile reads, of files f.
const fileColumns = `f.id, f.owner_id, f.name, f.size, f.type, f.sha256, f.state, coalesce(f.upload, ''), f.part_size, f.width, f.height, f.preview, f.created, f.expires`

func scanFile(row pgx.CollectableRow) (f im.StoredFile, err error) {
	var sum []byte
	var created, expires time.Time
	err = row.Scan(&f.ID, &f.Owner, &f.Name, &f.Size, &f.Type, &sum, &f.State, &f.Upload, &f.PartSize,
		&f.Width, &f.Height, &f.Preview, &created, &expires)
	f.SHA256, f.Created, f.Expires = hex.EncodeToString(sum), im.TimeOf(created), im.TimeOf(expires)
	return f, err
}

func noFile(err error, format string, args ...any) error {
	if errors.Is(err, pgx.ErrNoRows) {
		return im.Wrap(im.NotFound, err, "there is no such file")
	}
	return postgres.Failed(err, format, args...)
}

// CreateFile adds a pending file, and returns it. If there is one of this id it
// is that which is returned. Denied: with it the files of its owner come to more
// than quota bytes. Overloaded: the owner has pending files that are not
// complete already.
func (db *Store) CreateFile(ctx context.Context, f im.StoredFile, quota int64, pending int) (im.StoredFile, error) {
	sum, err := hex.DecodeString(f.SHA256)
	if err != nil {
		return f, im.Wrap(im.Invalid, err, "the hash of the file is not hexadecimal")
	}
	doing := "adding file " + f.ID
	err = pgx.BeginFunc(ctx, db, func(tx pgx.Tx) error {
		// First the usage, which makes files of one owner wait for each other.
		var used int64
		err := tx.QueryRow(ctx, `
			INSERT INTO file_usage AS u (owner_id, bytes) SELECT id, $2 FROM users WHERE id = $1 AND deleted IS NULL
			ON CONFLICT (owner_id) DO UPDATE SET bytes = u.bytes + excluded.bytes RETURNING bytes`, f.Owner, f.Size).Scan(&used)
		if err != nil {
			return users.NotFound(err, "%s", doing)
		}
		stored, err := fileOf(ctx, tx, f.ID)
		if err == nil {
			f = stored
			return errFileThere
		}
		if !errors.Is(err, pgx.ErrNoRows) {
			return err
		}
		if used > quota {
			return im.Errorf(im.TooLarge, "your files would come to %d bytes; you have %d", used, quota)
		}
		var waiting int
		if err := tx.QueryRow(ctx, `SELECT count(*) FROM files WHERE owner_id = $1 AND state = 'pending'`, f.Owner).Scan(&waiting); err != nil {
			return err
		}
		if waiting >= pending {
			return im.Errorf(im.Overloaded, "%d of your files are not complete: complete them, or wait until they run out", waiting)
		}
		_, err = tx.Exec(ctx, `
			INSERT INTO files (id, owner_id, name, size, type, sha256, part_size, created, expires) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)`,
			f.ID, f.Owner, f.Name, f.Size, f.Type, sum, f.PartSize, f.Created.Std(), f.Expires.Std())
		return err
	})
	if errors.Is(err, errFileThere) {
		return f, nil
	}
	return f, postgres.Failed(err, "%s", doing)
}

// errFileThere undoes what was counted for a file that is there.
var errFileThere = errors.New("the file is there already")

func fileOf(ctx context.Context, in postgres.Querier, id string) (im.StoredFile, error) {
	rows, err := in.Query(ctx, `SELECT `+fileColumns+` FROM files f WHERE f.id = $1`, id)
	if err != nil {
		return im.StoredFile{}, err
	}
	return pgx.CollectExactlyOneRow(rows, scanFile)
}

// File returns a file, in whatever state. NotFound: there is none.
func (db *Store) File(ctx context.Context, id string) (im.StoredFile, error) {
	f, err := fileOf(ctx, db, id)
	return f, noFile(err, "reading file %s", id)
}

// SetUpload notes the upload of a pending file in the store, unless it has one,
// and returns that which it has then.
func (db *Store) SetUpload(ctx context.Context, id, upload string) (string, error) {
	err := db.QueryRow(ctx, `UPDATE files SET upload = coalesce(upload, $2) WHERE id = $1 AND state = 'pending' RETURNING upload`, id, upload).
		Scan(&upload)
	return upload, noFile(err, "noting the upload of file %s", id)
}

// CompleteFile notes that a pending file is complete, as it was found to be. A
// file that is complete already stays as it is, and is returned. NotFound:
// there is none, or not any more.
func (db *Store) CompleteFile(ctx context.Context, f im.File) (im.File, error) {
	rows, err := db.Query(ctx, `
		UPDATE files f SET
			type         = CASE WHEN f.state = 'pending' THEN $2 ELSE f.type END,
			width        = CASE WHEN f.state = 'pending' THEN $3 ELSE f.width END,
			height       = CASE WHEN f.state = 'pending' THEN $4 ELSE f.height END,
			preview      = CASE WHEN f.state = 'pending' THEN $5 ELSE f.preview END,
			unsent_since = CASE WHEN f.state = 'pending' THEN now() ELSE f.unsent_since END,
			state        = 'complete'
		WHERE f.id = $1 AND f.state <> 'removed'
		RETURNING `+fileColumns, f.ID, f.Type, f.Width, f.Height, f.Preview)
	if err != nil {
		return f, postgres.Failed(err, "completing file %s", f.ID)
	}
	stored, err := pgx.CollectExactlyOneRow(rows, scanFile)
	return stored.File, noFile(err, "completing file %s", f.ID)
}

// RefuseFile removes a file that is pending, so that it can be swept, and
// reports whether it was.
func (db *Store) RefuseFile(ctx context.Context, id string) (bool, error) {
	done, err := db.Exec(ctx, `UPDATE files SET state = 'removed' WHERE id = $1 AND state = 'pending'`, id)
	return done.RowsAffected() > 0, postgres.Failed(err, "removing file %s", id)
}

// maySee is whether user $2 may have a file f: it is theirs, or in a message of
// a conversation that they take part in. Whether it is asked of a file that few
// have or that many do, it reads as many rows as the user has groups, at most.
const maySee = `(f.owner_id = $2
	OR EXISTS (SELECT FROM file_grants g WHERE g.file_id = f.id AND NOT g.revoked AND g.conversation >= 'd:' || $2 || ':' AND g.conversation < 'd:' || $2 || ';')
	OR EXISTS (SELECT FROM file_grants g WHERE g.file_id = f.id AND NOT g.revoked AND g.conversation < 'g:' AND split_part(g.conversation, ':', 3) = $2)
	OR EXISTS (SELECT FROM group_members m JOIN file_grants g ON g.file_id = f.id AND g.conversation = 'g:' || m.group_id
		WHERE m.user_id = $2 AND NOT g.revoked))`

// FileFor returns a file that user may have. NotFound: there is none that they
// may.
func (db *Store) FileFor(ctx context.Context, id, user string) (im.StoredFile, error) {
	rows, err := db.Query(ctx, `SELECT `+fileColumns+` FROM files f WHERE f.id = $1 AND f.state <> 'removed' AND `+maySee, id, user)
	if err != nil {
		return im.StoredFile{}, postgres.Failed(err, "reading file %s", id)
	}
	f, err := pgx.CollectExactlyOneRow(rows, scanFile)
	return f, noFile(err, "reading file %s", id)
}

// FilesFor returns those of files that user may have and that are complete, by
// id.
func (db *Store) FilesFor(ctx context.Context, ids []string, user string) (map[string]im.File, error) {
	rows, err := db.Query(ctx, `SELECT `+fileColumns+` FROM files f WHERE f.id = ANY ($1) AND f.state = 'complete' AND `+maySee, ids, user)
	if err != nil {
		return nil, postgres.Failed(err, "reading %d files", len(ids))
	}
	files, err := pgx.CollectRows(rows, scanFile)
	if err != nil {
		return nil, postgres.Failed(err, "reading %d files", len(ids))
	}
	found := make(map[string]im.File, len(files))
	for _, f := range files {
		found[f.ID] = f.File
	}
	return found, nil
}

// GrantFiles notes which messages carry files, all or none of them. One that is
// noted stays as it is, revoked or not. NotFound: one of the files is not there
// any more.
func (db *Store) GrantFiles(ctx context.Context, grants []im.FileGrant) error {
	// In one order, so that no two of these wait for each other's rows.
	grants = slices.Clone(grants)
	slices.SortFunc(grants, func(a, b im.FileGrant) int { return cmp.Compare(a.File, b.File) })
	files, conversations, ids, err := grantColumns(grants)
	if err != nil {
		return err
	}
	distinct := slices.Compact(slices.Clone(files))
	err = pgx.BeginFunc(ctx, db, func(tx pgx.Tx) error {
		// Locked, so that a file is not swept while it gets into a message.
		rows, err := tx.Query(ctx, `SELECT id FROM files WHERE id = ANY ($1) AND state = 'complete' ORDER BY id FOR NO KEY UPDATE`, distinct)
		if err != nil {
			return err
		}
		held, err := pgx.CollectRows(rows, pgx.RowTo[string])
		if err != nil {
			return err
		}
		if len(held) < len(distinct) {
			return im.Errorf(im.NotFound, "there is no such file any more")
		}
		rows, err = tx.Query(ctx, `
			INSERT INTO file_grants (file_id, conversation, message_id) SELECT f, c, m FROM unnest($1::text[], $2::text[], $3::uuid[]) AS g (f, c, m)
			ON CONFLICT DO NOTHING RETURNING file_id`, files, conversations, ids)
		if err != nil {
			return err
		}
		fresh, err := pgx.CollectRows(rows, pgx.RowTo[string])
		if err != nil {
			return err
		}
		_, err = tx.Exec(ctx, `UPDATE files SET unsent_since = NULL WHERE id = ANY ($1) AND unsent_since IS NOT NULL`, fresh)
		return err
	})
	return postgres.Failed(err, "granting %d files", len(grants))
}

// RevokeFile takes back what a message granted. Who had the file by another
// message still has it.
func (tx Tx) RevokeFile(ctx context.Context, g im.FileGrant) error { return revoke(ctx, tx, g) }

// RevokeFile is Tx.RevokeFile, by itself.
func (db *Store) RevokeFile(ctx context.Context, g im.FileGrant) error {
	err := pgx.BeginFunc(ctx, db, func(tx pgx.Tx) error { return revoke(ctx, tx, g) })
	return postgres.Failed(err, "revoking file %s", g.File)
}

func revoke(ctx context.Context, tx postgres.Querier, g im.FileGrant) error {
	id, err := postgres.ParseUUID(g.Message)
	if err != nil {
		return err
	}
	batch := &pgx.Batch{}
	batch.Queue(`SELECT FROM files WHERE id = $1 FOR NO KEY UPDATE`, g.File)
	batch.Queue(`UPDATE file_grants SET revoked = true WHERE file_id = $1 AND conversation = $2 AND message_id = $3`, g.File, string(g.Conversation), id)
	batch.Queue(`
		UPDATE files f SET unsent_since = now() WHERE id = $1 AND unsent_since IS NULL AND state = 'complete'
		AND NOT EXISTS (SELECT FROM file_grants g WHERE g.file_id = f.id AND NOT g.revoked)`, g.File)
	return postgres.Failed(tx.SendBatch(ctx, batch).Close(), "revoking file %s", g.File)
}

// UnseenGrants looks whether history has the messages of at most limit grants,
// those whose messages come after one and are of before a time, in the order of
// their messages. It returns the grants of which it has not, and how many it
// looked at, of which last is the message of the last. What history has is not
// looked for again.
func (db *Store) UnseenGrants(ctx context.Context, after string, before im.Time, limit int) (unseen []im.FileGrant, last string, looked int, err error) {
	from, err := postgres.ParseUUID(after)
	if err != nil {
		return nil, "", 0, err
	}
	from.Valid = true // the nil UUID is before all
	to, err := postgres.ParseUUID(im.MessageID(before, [8]byte{}))
	if err != nil {
		return nil, "", 0, err
	}
	err = pgx.BeginFunc(ctx, db, func(tx pgx.Tx) error {
		// Locked, so that no two of these wait for each other's rows.
		rows, err := tx.Query(ctx, `
			SELECT file_id, conversation, message_id FROM file_grants
			WHERE NOT stored AND NOT revoked AND message_id > $1 AND message_id < $2
			ORDER BY message_id LIMIT $3 FOR NO KEY UPDATE SKIP LOCKED`, from, to, limit)
		if err != nil {
			return err
		}
		all, err := pgx.CollectRows(rows, scanGrant)
		if err != nil || len(all) == 0 {
			return err
		}
		looked, last = len(all), all[len(all)-1].Message
		seen, err := inHistory(ctx, tx, all)
		if err != nil {
			return err
		}
		var stored []im.FileGrant
		for _, g := range all {
			if seen[g] {
				stored = append(stored, g)
			} else {
				unseen = append(unseen, g)
			}
		}
		return setStored(ctx, tx, stored)
	})
	return unseen, last, looked, postgres.Failed(err, "looking for the messages that carry files")
}

func scanGrant(row pgx.CollectableRow) (g im.FileGrant, err error) {
	var id pgtype.UUID
	err = row.Scan(&g.File, &g.Conversation, &id)
	g.Message = postgres.FormatUUID(id)
	return g, err
}

// inHistory returns those of grants whose messages history has.
func inHistory(ctx context.Context, tx pgx.Tx, grants []im.FileGrant) (map[im.FileGrant]bool, error) {
	files, conversations, ids, err := grantColumns(grants)
	if err != nil {
		return nil, err
	}
	times := make([]pgtype.Timestamptz, len(grants))
	for i, g := range grants {
		at, ok := im.TimeOfMessageID(g.Message)
		times[i] = pgtype.Timestamptz{Time: at.Std(), Valid: ok}
	}
	rows, err := tx.Query(ctx, `
		SELECT w.f, w.c, w.i FROM unnest($1::text[], $2::text[], $3::uuid[], $4::timestamptz[]) AS w (f, c, i, t)
		CROSS JOIN LATERAL (SELECT FROM messages m WHERE m.conversation = w.c AND m.time = w.t AND m.id = w.i LIMIT 1) AS m`,
		files, conversations, ids, times)
	if err != nil {
		return nil, err
	}
	seen := make(map[im.FileGrant]bool, len(grants))
	found, err := pgx.CollectRows(rows, scanGrant)
	for _, g := range found {
		seen[g] = true
	}
	return seen, err
}

// StoredGrants notes that the messages of grants are in history or in the
// archive: they are not looked for again.
func (db *Store) StoredGrants(ctx context.Context, grants []im.FileGrant) error {
	err := pgx.BeginFunc(ctx, db, func(tx pgx.Tx) error { return setStored(ctx, tx, grants) })
	return postgres.Failed(err, "noting of %d files that their messages were found", len(grants))
}

func setStored(ctx context.Context, tx pgx.Tx, grants []im.FileGrant) error {
	if len(grants) == 0 {
		return nil
	}
	files, conversations, ids, err := grantColumns(grants)
	if err != nil {
		return err
	}
	_, err = tx.Exec(ctx, `
		UPDATE file_grants g SET stored = true FROM unnest($1::text[], $2::text[], $3::uuid[]) AS w (f, c, i)
		WHERE g.file_id = w.f AND g.conversation = w.c AND g.message_id = w.i`, files, conversations, ids)
	return err
}

// grantColumns returns grants by their columns.
func grantColumns(grants []im.FileGrant) (files, conversations []string, messages []pgtype.UUID, err error) {
	ids := make([]string, len(grants))
	files, conversations = make([]string, len(grants)), make([]string, len(grants))
	for i, g := range grants {
		files[i], conversations[i], ids[i] = g.File, string(g.Conversation), g.Message
	}
	messages, err = postgres.ParseUUIDs(ids)
	return files, conversations, messages, err
}

// ExpireFiles removes, so that they can be swept, at most limit pending files
// that have run out and as many complete ones that were in no message for age,
// and returns how many it were.
func (db *Store) ExpireFiles(ctx context.Context, age time.Duration, limit int) (int, error) {
	n := 0
	for _, old := range []struct {
		which string
		age   time.Duration
	}{
		{`state = 'pending' AND expires <= now() - $2::interval`, 0},
		{`state = 'complete' AND unsent_since <= now() - $2::interval`, age},
	} {
		done, err := db.Exec(ctx, `
			WITH old AS (SELECT id FROM files WHERE `+old.which+` LIMIT $1 FOR UPDATE SKIP LOCKED)
			UPDATE files f SET state = 'removed' FROM old WHERE f.id = old.id`, limit, old.age)
		if err != nil {
			return n, postgres.Failed(err, "expiring files")
		}
		n += int(done.RowsAffected())
	}
	return n, nil
}

// RemovedFiles returns at most limit files that were removed, to be swept,
// those after one of them, in the order of their ids.
func (db *Store) RemovedFiles(ctx context.Context, after string, limit int) ([]im.StoredFile, error) {
	rows, err := db.Query(ctx, `SELECT `+fileColumns+` FROM files f WHERE f.state = 'removed' AND f.id > $1 ORDER BY f.id LIMIT $2`, after, limit)
	if err != nil {
		return nil, postgres.Failed(err, "reading files that were removed")
	}
	files, err := pgx.CollectRows(rows, scanFile)
	return files, postgres.Failed(err, "reading files that were removed")
}

// ForgetFile deletes the row of a file that was removed and of which nothing is
// left in the store. To do it again does no harm.
func (db *Store) ForgetFile(ctx context.Context, id string) error {
	_, err := db.Exec(ctx, `
		WITH gone AS (DELETE FROM files WHERE id = $1 AND state = 'removed' RETURNING owner_id, size)
		UPDATE file_usage u SET bytes = u.bytes - gone.size FROM gone WHERE u.owner_id = gone.owner_id`, id)
	return postgres.Failed(err, "forgetting file %s", id)
}

// FilesOf returns those of files that there are, in whatever state, by id.
func (db *Store) FilesOf(ctx context.Context, ids []string) (map[string]im.StoredFile, error) {
	rows, err := db.Query(ctx, `SELECT `+fileColumns+` FROM files f WHERE f.id = ANY ($1)`, ids)
	if err != nil {
		return nil, postgres.Failed(err, "reading %d files", len(ids))
	}
	files, err := pgx.CollectRows(rows, scanFile)
	found := make(map[string]im.StoredFile, len(files))
	for _, f := range files {
		found[f.ID] = f
	}
	return found, postgres.Failed(err, "reading %d files", len(ids))
}

// SweptTo returns how far the store was looked through under a prefix.
func (db *Store) SweptTo(ctx context.Context, prefix string) (after string, err error) {
	err = db.QueryRow(ctx, `SELECT after FROM file_sweeps WHERE prefix = $1`, prefix).Scan(&after)
	if errors.Is(err, pgx.ErrNoRows) {
		return "", nil
	}
	return after, postgres.Failed(err, "reading how far files are swept")
}

// SetSweptTo notes how far the store was looked through under a prefix.
func (db *Store) SetSweptTo(ctx context.Context, prefix, after string) error {
	_, err := db.Exec(ctx, `INSERT INTO file_sweeps (prefix, after) VALUES ($1, $2) ON CONFLICT (prefix) DO UPDATE SET after = excluded.after`, prefix, after)
	return postgres.Failed(err, "noting how far files are swept")
}

// AddAvatar notes that a picture of a user is about to be in the store. It is
// nobody's, and can be swept, unless SetAvatar comes within age.
func (db *Store) AddAvatar(ctx context.Context, key, user string) error {
	_, err := db.Exec(ctx, `INSERT INTO avatars (key, owner_id, unused) VALUES ($1, $2, now())`, key, user)
	return postgres.Failed(err, "adding an avatar")
}

// SetAvatar makes a picture that AddAvatar noted, or with the key "" none, the
// avatar of a user, by the URL at which it is, and returns the user. NotFound:
// there is no such user or picture any more.
func (db *Store) SetAvatar(ctx context.Context, key, url, user string) (u im.Self, err error) {
	err = pgx.BeginFunc(ctx, db, func(tx pgx.Tx) error {
		var err error
		if u, err = users.SelfOf(tx.QueryRow(ctx, `UPDATE users u SET avatar = $2, avatar_checked = $2 WHERE u.id = $1 AND u.deleted IS NULL RETURNING `+users.SelfColumns, user, url)); err != nil {
			return users.NotFound(err, "setting the avatar of %s", user)
		}
		if _, err := tx.Exec(ctx, `UPDATE avatars SET unused = now() WHERE owner_id = $1 AND unused IS NULL AND key <> $2`, user, key); err != nil || key == "" {
			return err
		}
		done, err := tx.Exec(ctx, `UPDATE avatars SET unused = NULL WHERE key = $1 AND owner_id = $2`, key, user)
		if err == nil && done.RowsAffected() == 0 {
			err = im.Errorf(im.NotFound, "it took too long: try again")
		}
		return err
	})
	return u, postgres.Failed(err, "setting the avatar of %s", user)
}

// UnusedAvatars returns the keys of at most limit pictures that have been
// nobody's for age.
func (db *Store) UnusedAvatars(ctx context.Context, age time.Duration, limit int) ([]string, error) {
	rows, err := db.Query(ctx, `SELECT key FROM avatars WHERE unused <= now() - $1::interval ORDER BY unused LIMIT $2`, age, limit)
	if err != nil {
		return nil, postgres.Failed(err, "reading avatars that nobody uses")
	}
	keys, err := pgx.CollectRows(rows, pgx.RowTo[string])
	return keys, postgres.Failed(err, "reading avatars that nobody uses")
}

// ClaimAvatar makes sure that nobody uses a picture from now on; false if
// somebody does.
func (db *Store) ClaimAvatar(ctx context.Context, key string) (bool, error) {
	done, err := db.Exec(ctx, `UPDATE avatars SET owner_id = '' WHERE key = $1 AND unused IS NOT NULL`, key)
	return done.RowsAffected() > 0, postgres.Failed(err, "taking an avatar out of use")
}

// ForgetAvatar deletes the row of a picture that is not in the store any more.
func (db *Store) ForgetAvatar(ctx context.Context, key string) error {
	_, err := db.Exec(ctx, `DELETE FROM avatars WHERE key = $1 AND unused IS NOT NULL`, key)
	return postgres.Failed(err, "forgetting an avatar")
}

// AvatarsOf returns which of these keys are noted.
func (db *Store) AvatarsOf(ctx context.Context, keys []string) (map[string]bool, error) {
	rows, err := db.Query(ctx, `SELECT key FROM avatars WHERE key = ANY ($1)`, keys)
	if err != nil {
		return nil, postgres.Failed(err, "reading %d avatars", len(keys))
	}
	there := make(map[string]bool)
	var key string
	_, err = pgx.ForEachRow(rows, []any{&key}, func() error {
		there[key] = true
		return nil
	})
	return there, postgres.Failed(err, "reading %d avatars", len(keys))
}
