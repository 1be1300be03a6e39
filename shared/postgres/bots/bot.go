package bots

import (
	"context"
	"errors"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/tidings-im/tidings/shared/im"
	"github.com/tidings-im/tidings/shared/postgres"
	"github.com/tidings-im/tidings/shared/postgres/users"
)

const botColumns = `u.id, coalesce(u.account, ''), u.name, u.bio, u.created`

func botOf(row pgx.CollectableRow) (b im.Bot, err error) {
	var created time.Time
	err = row.Scan(&b.ID, &b.Account, &b.Name, &b.Bio, &created)
	b.Created = im.TimeOf(created)
	return b, err
}

// NotFound gives NotFound to what found no bot of its owner.
func NotFound(err error, format string, args ...any) error {
	if errors.Is(err, pgx.ErrNoRows) {
		return im.Wrap(im.NotFound, err, "you have no such bot")
	}
	return postgres.Failed(err, format, args...)
}

// lockBot makes who changes the tokens or webhooks of a bot come one after
// another, and keeps it and its owner from being deleted meanwhile.
func lockBot(ctx context.Context, tx pgx.Tx, owner, bot string) error {
	err := tx.QueryRow(ctx, `SELECT id FROM users WHERE id = $1 AND owner_id = $2 AND deleted IS NULL AND orphaned IS NULL FOR NO KEY UPDATE`,
		bot, owner).Scan(nil)
	return NotFound(err, "locking bot %s", bot)
}

// CreateBot adds a bot of an owner, and its first token, of which it keeps the
// hash. Conflict: the account is taken. Denied: the owner has most bots, or is
// one. NotFound: there is no such owner any more.
func (db *Store) CreateBot(ctx context.Context, owner string, b im.Bot, first im.BotToken, hash []byte, most int) error {
	err := pgx.BeginFunc(ctx, db, func(tx pgx.Tx) error {
		var isBot bool
		err := tx.QueryRow(ctx, `SELECT owner_id IS NOT NULL FROM users WHERE id = $1 AND deleted IS NULL FOR NO KEY UPDATE`, owner).Scan(&isBot)
		if err != nil {
			return users.NotFound(err, "locking user %s", owner)
		}
		if isBot {
			return im.Errorf(im.Denied, "a bot has no bots")
		}
		var has int
		if err := tx.QueryRow(ctx, `SELECT count(*) FROM users WHERE owner_id = $1 AND deleted IS NULL`, owner).Scan(&has); err != nil {
			return err
		}
		if has >= most {
			return im.Errorf(im.Denied, "you have %d bots, and may have no more: delete one", has)
		}
		_, err = tx.Exec(ctx, `INSERT INTO users (id, account, name, password, bio, created, owner_id) VALUES ($1, $2, $3, '', $4, $5, $6)`,
			b.ID, b.Account, b.Name, b.Bio, b.Created.Std(), owner)
		if postgres.Violates(err, "users_account") {
			return users.Taken(b.Account, err)
		}
		if err != nil {
			return err
		}
		if err := users.CheckFree(ctx, tx, b.Account, owner); err != nil {
			return err
		}
		return addToken(ctx, tx, first, hash)
	})
	return postgres.Failed(err, "creating a bot of %s", owner)
}

func addToken(ctx context.Context, tx pgx.Tx, t im.BotToken, hash []byte) error {
	s := t.Session()
	scopes := make([]string, len(t.Scopes))
	for i, scope := range t.Scopes {
		scopes[i] = string(scope)
	}
	batch := &pgx.Batch{}
	batch.Queue(`INSERT INTO sessions (id, user_id, device, platform, created) VALUES ($1, $2, $3, $4, $5)`,
		s.ID, s.User, s.Device, s.Platform, s.Created.Std())
	batch.Queue(`INSERT INTO bot_tokens (id, bot_id, hash, name, scopes, expires) VALUES ($1, $2, $3, $4, $5, $6)`,
		t.ID, t.Bot, hash, t.Name, scopes, postgres.NullTime(t.Expires))
	return tx.SendBatch(ctx, batch).Close()
}

// Bots returns the bots of an owner, the earliest first.
func (db *Store) Bots(ctx context.Context, owner string) ([]im.Bot, error) {
	rows, err := db.Query(ctx, `SELECT `+botColumns+` FROM users u WHERE u.owner_id = $1 AND u.deleted IS NULL ORDER BY u.created, u.id`, owner)
	if err != nil {
		return nil, postgres.Failed(err, "reading the bots of %s", owner)
	}
	bots, err := pgx.CollectRows(rows, botOf)
	return bots, postgres.Failed(err, "reading the bots of %s", owner)
}

// UpdateBot changes a bot and returns it. What is changed is checked already.
// NotFound: the owner has no such bot.
func (db *Store) UpdateBot(ctx context.Context, owner, bot string, c im.BotChange) (im.Bot, error) {
	rows, err := db.Query(ctx, `
		UPDATE users u SET name = coalesce($3, name), bio = coalesce($4, bio)
		WHERE u.id = $1 AND u.owner_id = $2 AND u.deleted IS NULL RETURNING `+botColumns, bot, owner, c.Name, c.Bio)
	if err != nil {
		return im.Bot{}, postgres.Failed(err, "changing bot %s", bot)
	}
	b, err := pgx.CollectExactlyOneRow(rows, botOf)
	return b, NotFound(err, "changing bot %s", bot)
}

// CreateBotToken adds a token of a bot, and keeps the hash of it. Denied: the
// bot has most. NotFound: the owner has no such bot.
func (db *Store) CreateBotToken(ctx context.Context, owner string, t im.BotToken, hash []byte, most int) error {
	err := pgx.BeginFunc(ctx, db, func(tx pgx.Tx) error {
		if err := lockBot(ctx, tx, owner, t.Bot); err != nil {
			return err
		}
		var has int
		err := tx.QueryRow(ctx, `SELECT count(*) FROM bot_tokens t JOIN sessions s USING (id) WHERE t.bot_id = $1 AND s.ended IS NULL`, t.Bot).Scan(&has)
		if err != nil {
			return err
		}
		if has >= most {
			return im.Errorf(im.Denied, "the bot has %d tokens, and may have no more: delete one", has)
		}
		return addToken(ctx, tx, t, hash)
	})
	return postgres.Failed(err, "creating a token of bot %s", t.Bot)
}

// BotTokens returns the tokens of a bot that were not deleted and have not
// expired, the earliest first. NotFound: the owner has no such bot.
func (db *Store) BotTokens(ctx context.Context, owner, bot string) ([]im.BotToken, error) {
	rows, err := db.Query(ctx, `
		SELECT t.id, t.name, t.scopes, s.created, t.expires, t.used
		FROM users u LEFT JOIN (bot_tokens t JOIN sessions s ON s.id = t.id AND s.ended IS NULL)
			ON t.bot_id = u.id AND (t.expires IS NULL OR t.expires > now())
		WHERE u.id = $1 AND u.owner_id = $2 AND u.deleted IS NULL
		ORDER BY s.created, t.id`, bot, owner)
	if err != nil {
		return nil, postgres.Failed(err, "reading the tokens of bot %s", bot)
	}
	found := false
	var tokens []im.BotToken
	_, err = pgx.CollectRows(rows, func(row pgx.CollectableRow) (struct{}, error) {
		var id, name *string
		var scopes []im.Scope
		var created, expires, used *time.Time
		err := row.Scan(&id, &name, &scopes, &created, &expires, &used)
		found = true
		if err == nil && id != nil { // nil of a bot without tokens
			tokens = append(tokens, im.BotToken{ID: *id, Bot: bot, Name: *name, Scopes: scopes,
				Created: im.TimeOf(*created), Expires: postgres.Time(expires), Used: postgres.Time(used)})
		}
		return struct{}{}, err
	})
	if err == nil && !found {
		err = pgx.ErrNoRows
	}
	return tokens, NotFound(err, "reading the tokens of bot %s", bot)
}

// DeleteBotToken ends a token of a bot. Ending one that has ended does nothing.
// NotFound: the owner has no such bot, or it no such token.
func (db *Store) DeleteBotToken(ctx context.Context, owner, bot, token string) error {
	got, err := db.Exec(ctx, `
		UPDATE sessions SET ended = coalesce(ended, now())
		FROM bot_tokens t JOIN users u ON u.id = t.bot_id
		WHERE sessions.id = t.id AND t.id = $1 AND t.bot_id = $2 AND u.owner_id = $3`, token, bot, owner)
	if err == nil && got.RowsAffected() == 0 {
		return im.Errorf(im.NotFound, "there is no such token")
	}
	return postgres.Failed(err, "deleting a token of bot %s", bot)
}

// BotByToken returns whose token has a hash, and the token, and notes that it
// was used. Unauthenticated: none that is good.
func (db *Store) BotByToken(ctx context.Context, hash []byte) (p im.Profile, t im.BotToken, err error) {
	var created time.Time
	var expires *time.Time
	err = db.QueryRow(ctx, `
		WITH found AS (
			SELECT t.*, s.created FROM bot_tokens t JOIN sessions s ON s.id = t.id
			WHERE t.hash = $1 AND s.ended IS NULL AND (t.expires IS NULL OR t.expires > now())
		), used AS (
			UPDATE bot_tokens t SET used = now() FROM found
			WHERE t.id = found.id AND (t.used IS NULL OR t.used < now() - interval '1 minute')
		)
		SELECT `+users.ProfileColumns+`, f.id, f.name, f.scopes, f.created, f.expires
		FROM found f JOIN users u ON u.id = f.bot_id WHERE u.deleted IS NULL AND u.orphaned IS NULL`, hash).
		Scan(append(users.ProfileTargets(&p), &t.ID, &t.Name, &t.Scopes, &created, &expires)...)
	if errors.Is(err, pgx.ErrNoRows) {
		return p, t, im.Wrap(im.Unauthenticated, err, "the token of the bot is not good, or not any more")
	}
	t.Bot, t.Created, t.Expires = p.ID, im.TimeOf(created), postgres.Time(expires)
	return p, t, postgres.Failed(err, "reading a token of a bot")
}

// OrphanedBots returns at most limit bots whose owners were deleted.
func (db *Store) OrphanedBots(ctx context.Context, limit int) ([]string, error) {
	rows, err := db.Query(ctx, `SELECT id FROM users WHERE orphaned IS NOT NULL AND deleted IS NULL ORDER BY orphaned LIMIT $1`, limit)
	if err != nil {
		return nil, postgres.Failed(err, "reading bots without an owner")
	}
	bots, err := pgx.CollectRows(rows, pgx.RowTo[string])
	return bots, postgres.Failed(err, "reading bots without an owner")
}

// EndExpiredTokens ends at most limit tokens of bots that have expired, and
// returns how many.
func (db *Store) EndExpiredTokens(ctx context.Context, limit int) (int, error) {
	got, err := db.Exec(ctx, `
		UPDATE sessions SET ended = now() WHERE id IN (
			SELECT t.id FROM bot_tokens t JOIN sessions s ON s.id = t.id
			WHERE t.expires <= now() AND s.ended IS NULL LIMIT $1 FOR NO KEY UPDATE OF s SKIP LOCKED)`, limit)
	return int(got.RowsAffected()), postgres.Failed(err, "ending tokens of bots")
}
