package files_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/tidings-im/tidings/shared/im"
	"github.com/tidings-im/tidings/shared/imtest/pgtest"
)

func addFile(t *testing.T, db *pgtest.DB, owner string) im.StoredFile {
	t.Helper()
	f, err := db.CreateFile(t.Context(), pgtest.NewFile(owner, 10), pgtest.Plenty, 1000)
	if err != nil {
		t.Fatal(err)
	}
	return f
}

func completeFile(t *testing.T, db *pgtest.DB, owner string) im.File {
	t.Helper()
	f, err := db.CompleteFile(t.Context(), addFile(t, db, owner).File)
	if err != nil {
		t.Fatal(err)
	}
	return f
}

func grantFile(t *testing.T, db *pgtest.DB, f im.File, c im.Conversation) im.FileGrant {
	t.Helper()
	g := im.FileGrant{File: f.ID, Conversation: c, Message: im.NewMessageID(im.Now())}
	pgtest.Wants(t, db.GrantFiles(t.Context(), []im.FileGrant{g}), "")
	return g
}

func revokeFile(t *testing.T, db *pgtest.DB, g im.FileGrant) {
	t.Helper()
	pgtest.Wants(t, pgtest.Attempt(t.Context(), db, func(ctx context.Context, tx *pgtest.Tx) error { return tx.RevokeFile(ctx, g) }), "")
}

func usage(t *testing.T, db *pgtest.DB, user string) (n int64) {
	t.Helper()
	if err := db.QueryRow(t.Context(), `SELECT bytes FROM file_usage WHERE owner_id = $1`, user).Scan(&n); err != nil {
		t.Fatal(err)
	}
	return n
}

func TestAFileIsKeptAsItIs(t *testing.T) {
	db := pgtest.Fresh(t)
	ctx := t.Context()
	u := pgtest.People(t, db, 1)
	want := pgtest.NewFile(u[0], 12)
	want.PartSize = 5
	for range 2 {
		if f, err := db.CreateFile(ctx, want, pgtest.Plenty, 10); err != nil || f != want {
			t.Errorf("created it is %+v, %v", f, err)
		}
	}
	if n := usage(t, db, u[0]); n != 12 {
		t.Errorf("created twice it counts %d", n)
	}
	for _, id := range []string{"first", "second"} { // the first is kept
		if got, err := db.SetUpload(ctx, want.ID, id); err != nil || got != "first" {
			t.Errorf("its upload is %q, %v", got, err)
		}
	}
	want.Upload = "first"
	if f, err := db.File(ctx, want.ID); err != nil || f != want {
		t.Errorf("read it is %+v, %v", f, err)
	}
	seen := want.File
	seen.Type, seen.Picture = "image/png", im.Picture{Width: 3, Height: 4, Preview: "L"}
	for range 2 {
		f, err := db.CompleteFile(ctx, seen)
		want := seen
		want.State = im.FileComplete
		if err != nil || f != want {
			t.Errorf("complete it is %+v, %v", f, err)
		}
	}
	other := seen
	other.Width = 99
	if f, err := db.CompleteFile(ctx, other); err != nil || f.Width != 3 {
		t.Errorf("completed as another it is %+v, %v", f, err)
	}
	if was, err := db.RefuseFile(ctx, want.ID); err != nil || was {
		t.Errorf("a complete one is refused: %v, %v", was, err)
	}
	if _, err := db.SetUpload(ctx, want.ID, "x"); !errors.Is(err, im.NotFound) {
		t.Errorf("an upload of a complete one: %v", err)
	}
	if _, err := db.File(ctx, im.NewID()); !errors.Is(err, im.NotFound) {
		t.Errorf("one that there is not: %v", err)
	}
	if _, err := db.CreateFile(ctx, pgtest.NewFile(im.NewID(), 1), pgtest.Plenty, 10); !errors.Is(err, im.NotFound) {
		t.Errorf("of a user that there is not: %v", err)
	}
}

func TestNobodyKeepsMoreThanTheirQuotaHoweverManyAtOnce(t *testing.T) {
	db := pgtest.Fresh(t)
	u := pgtest.People(t, db, 1)
	var wg sync.WaitGroup
	var mu sync.Mutex
	made := 0
	for range 20 {
		wg.Go(func() {
			_, err := db.CreateFile(t.Context(), pgtest.NewFile(u[0], 10), 55, 100)
			mu.Lock()
			defer mu.Unlock()
			if err == nil {
				made++
			} else if !errors.Is(err, im.TooLarge) {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if n := usage(t, db, u[0]); made != 5 || n != 50 {
		t.Errorf("%d were made, of %d bytes", made, n)
	}
	for i := range 3 {
		_, err := db.CreateFile(t.Context(), pgtest.NewFile(u[0], 1), pgtest.Plenty, 6)
		if want := i > 0; errors.Is(err, im.Overloaded) != want {
			t.Errorf("the %dth that is pending: %v", 6+i, err)
		}
	}
}

func TestP6WhoMayHaveAFile(t *testing.T) {
	db := pgtest.Fresh(t)
	ctx := t.Context()
	u := pgtest.People(t, db, 4)
	owner, a, b := u[0], u[1], u[2]
	f := completeFile(t, db, owner)
	may := func() (who string) {
		t.Helper()
		for i, user := range u {
			_, err := db.FileFor(ctx, f.ID, user)
			found, err2 := db.FilesFor(ctx, []string{f.ID, im.NewID()}, user)
			if err2 != nil || (err == nil) != (found[f.ID].ID == f.ID) || err != nil && !errors.Is(err, im.NotFound) {
				t.Fatalf("%v, %v, %v", err, found, err2)
			}
			if err == nil {
				who += fmt.Sprint(i)
			}
		}
		return who
	}
	check := func(when, want string) {
		t.Helper()
		if got := may(); got != want {
			t.Errorf("%s: %s may have it, not %s", when, got, want)
		}
	}
	check("before it is sent", "0")
	direct := grantFile(t, db, f, im.Direct(a, b))
	check("sent between two", "012")
	revokeFile(t, db, direct)
	check("recalled", "0")

	group := im.NewID()
	pgtest.Wants(t, pgtest.Attempt(ctx, db, func(ctx context.Context, tx *pgtest.Tx) error {
		_, err := tx.CreateGroup(ctx, im.GroupInfo{ID: group, Name: "g", Policy: im.PolicyOpen, Owner: a, Created: im.Now()}, []string{b})
		return err
	}), "")
	grantFile(t, db, f, im.Group(im.NewID())) // of which nobody is
	check("sent to a group of others", "0")
	first, second := grantFile(t, db, f, im.Group(group)), grantFile(t, db, f, im.Group(group))
	check("sent to a group twice", "012")
	revokeFile(t, db, first)
	check("recalled once", "012")
	if _, err := db.Exec(ctx, `DELETE FROM group_members WHERE group_id = $1 AND user_id = $2`, group, b); err != nil {
		t.Fatal(err)
	}
	check("after one has left the group", "01")
	revokeFile(t, db, second)
	check("recalled twice", "0")

	pending := addFile(t, db, owner)
	if found, err := db.FilesFor(ctx, []string{pending.ID}, owner); err != nil || len(found) > 0 {
		t.Errorf("a pending one can be sent: %v, %v", found, err)
	}
	err := db.GrantFiles(ctx, []im.FileGrant{{File: f.ID, Conversation: im.Direct(a, b), Message: im.NewMessageID(im.Now())}, {File: pending.ID, Conversation: im.Direct(a, b), Message: im.NewMessageID(im.Now())}})
	if !errors.Is(err, im.NotFound) {
		t.Errorf("granting a pending one: %v", err)
	}
	check("granted with one that is pending", "0")
}

func TestFilesThatNobodyNeedsAreRemovedAndTheirBytesGivenBack(t *testing.T) {
	db := pgtest.Fresh(t)
	ctx := t.Context()
	u := pgtest.People(t, db, 2)
	sent, recalled, unsent := completeFile(t, db, u[0]), completeFile(t, db, u[0]), completeFile(t, db, u[0])
	pending, late := addFile(t, db, u[0]), addFile(t, db, u[0])
	grantFile(t, db, sent, im.Direct(u[0], u[1]))
	revokeFile(t, db, grantFile(t, db, sent, im.Direct(u[0], u[1]))) // and still in the other
	revokeFile(t, db, grantFile(t, db, recalled, im.Direct(u[0], u[1])))
	if n, err := db.ExpireFiles(ctx, time.Hour, 10); err != nil || n != 0 {
		t.Errorf("early it removes %d, %v", n, err)
	}
	if _, err := db.Exec(ctx, `UPDATE files SET expires = now() WHERE id = $1`, late.ID); err != nil {
		t.Fatal(err)
	}
	if n, err := db.ExpireFiles(ctx, 0, 10); err != nil || n != 3 {
		t.Errorf("it removes %d, %v", n, err)
	}
	removed, err := db.RemovedFiles(ctx, "", 10)
	if err != nil || len(removed) != 3 {
		t.Fatalf("removed are %v, %v", removed, err)
	}
	if after, err := db.RemovedFiles(ctx, removed[1].ID, 10); err != nil || len(after) != 1 || after[0].ID != removed[2].ID {
		t.Errorf("after the second are %v, %v", after, err)
	}
	for _, f := range []im.File{recalled, unsent, late.File} {
		if _, err := db.FileFor(ctx, f.ID, u[0]); !errors.Is(err, im.NotFound) {
			t.Errorf("the owner has what was removed: %v", err)
		}
		if _, err := db.CompleteFile(ctx, f); !errors.Is(err, im.NotFound) {
			t.Errorf("completing what was removed: %v", err)
		}
		for range 2 {
			pgtest.Wants(t, db.ForgetFile(ctx, f.ID), "")
		}
	}
	pgtest.Wants(t, db.ForgetFile(ctx, sent.ID), "") // which is not removed
	if n := usage(t, db, u[0]); n != 20 {
		t.Errorf("what is left counts %d", n)
	}
	if there, err := db.FilesOf(ctx, []string{sent.ID, pending.ID, unsent.ID}); err != nil || len(there) != 2 {
		t.Errorf("there are %v, %v", there, err)
	}
}

func TestOfADeletedUserTheFilesStayThatWereSent(t *testing.T) {
	db := pgtest.Fresh(t)
	ctx := t.Context()
	u := pgtest.People(t, db, 2)
	sent, unsent, pending := completeFile(t, db, u[0]), completeFile(t, db, u[0]), addFile(t, db, u[0])
	others := completeFile(t, db, u[1])
	grantFile(t, db, sent, im.Direct(u[0], u[1]))
	pgtest.Wants(t, db.AddAvatar(ctx, "avatars/a", u[0]), "")
	if _, err := db.SetAvatar(ctx, "avatars/a", "https://a.example/a", u[0]); err != nil {
		t.Fatal(err)
	}
	if _, _, err := pgtest.Forget(t, db, u[0], "hash"); err != nil {
		t.Fatal(err)
	}
	pgtest.Wants(t, db.EraseUser(ctx, u[0]), "")
	removed, err := db.RemovedFiles(ctx, "", 10)
	if err != nil || len(removed) != 2 {
		t.Errorf("removed are %v, %v", removed, err)
	}
	for _, f := range removed {
		if f.ID != unsent.ID && f.ID != pending.ID {
			t.Errorf("removed is %+v", f)
		}
	}
	for _, f := range []im.File{sent, others} {
		if _, err := db.FileFor(ctx, f.ID, u[1]); err != nil {
			t.Errorf("to whom it was sent: %v", err)
		}
	}
	if keys, err := db.UnusedAvatars(ctx, 0, 10); err != nil || len(keys) != 1 {
		t.Errorf("pictures of nobody are %v, %v", keys, err)
	}
	if _, err := db.SetAvatar(ctx, "", "", u[0]); !errors.Is(err, im.NotFound) {
		t.Errorf("an avatar of who is deleted: %v", err)
	}
	if _, err := db.CreateFile(ctx, pgtest.NewFile(u[0], 1), pgtest.Plenty, 10); !errors.Is(err, im.NotFound) {
		t.Errorf("a file of who is deleted: %v", err)
	}
}

func TestAPictureIsSweptOrUsedAndNotBoth(t *testing.T) {
	db := pgtest.Fresh(t)
	ctx := t.Context()
	u := pgtest.People(t, db, 2)
	for _, key := range []string{"avatars/a", "avatars/b", "avatars/c"} {
		pgtest.Wants(t, db.AddAvatar(ctx, key, u[0]), "")
	}
	self, err := db.SetAvatar(ctx, "avatars/a", "https://a.example/a", u[0])
	if err != nil || self.Avatar != "https://a.example/a" {
		t.Fatalf("she is %+v, %v", self, err)
	}
	if _, err := db.SetAvatar(ctx, "avatars/b", "https://a.example/b", u[1]); !errors.Is(err, im.NotFound) {
		t.Errorf("another's picture: %v", err)
	}
	if mine, err := db.ClaimAvatar(ctx, "avatars/a"); err != nil || mine {
		t.Errorf("what is used is taken: %v, %v", mine, err)
	}
	pgtest.Wants(t, db.ForgetAvatar(ctx, "avatars/a"), "")
	if mine, err := db.ClaimAvatar(ctx, "avatars/b"); err != nil || !mine {
		t.Errorf("what is not used is not taken: %v, %v", mine, err)
	}
	if _, err := db.SetAvatar(ctx, "avatars/b", "https://a.example/b", u[0]); !errors.Is(err, im.NotFound) {
		t.Errorf("what was taken is used: %v", err)
	}
	if _, err := db.SetAvatar(ctx, "avatars/c", "https://a.example/c", u[0]); err != nil {
		t.Fatal(err)
	}
	if keys, err := db.UnusedAvatars(ctx, 0, 10); err != nil || len(keys) != 2 {
		t.Errorf("pictures of nobody are %v, %v", keys, err)
	}
	if keys, err := db.UnusedAvatars(ctx, time.Hour, 10); err != nil || len(keys) != 0 {
		t.Errorf("old pictures of nobody are %v, %v", keys, err)
	}
	there, err := db.AvatarsOf(ctx, []string{"avatars/a", "avatars/c", "avatars/d"})
	if err != nil || !there["avatars/a"] || !there["avatars/c"] || there["avatars/d"] {
		t.Errorf("there are %v, %v", there, err)
	}
	for _, after := range []string{"x", "y", ""} {
		pgtest.Wants(t, db.SetSweptTo(ctx, "files/", after), "")
		if got, err := db.SweptTo(ctx, "files/"); err != nil || got != after {
			t.Errorf("swept to %q, %v", got, err)
		}
	}
}

func TestAPictureIsSweptThatItsUserReplacesByAnAddress(t *testing.T) {
	db := pgtest.Fresh(t)
	ctx := t.Context()
	u := pgtest.People(t, db, 1)
	key, other := "avatars/a.jpg", "https://a.example/b.jpg"
	pgtest.Wants(t, db.AddAvatar(ctx, key, u[0]), "")
	self, err := db.SetAvatar(ctx, key, "https://a.example/"+key, u[0])
	pgtest.Wants(t, err, "")
	for _, step := range []struct {
		avatar *string
		unused int
	}{{nil, 0}, {&self.Avatar, 0}, {&other, 1}} {
		if _, err := db.UpdateUser(ctx, u[0], im.UserChange{Avatar: step.avatar}); err != nil {
			t.Fatal(err)
		}
		if keys, err := db.UnusedAvatars(ctx, 0, 10); err != nil || len(keys) != step.unused {
			t.Errorf("pictures of nobody are %v, %v", keys, err)
		}
	}
}

// What is being sent at the moment at which it is swept is either sent or
// swept.
func TestAFileIsSentOrSweptAndNotBoth(t *testing.T) {
	db := pgtest.Fresh(t)
	ctx := t.Context()
	u := pgtest.People(t, db, 2)
	for range 20 {
		f := completeFile(t, db, u[0])
		var wg sync.WaitGroup
		var err error
		wg.Go(func() {
			err = db.GrantFiles(ctx, []im.FileGrant{{File: f.ID, Conversation: im.Direct(u[0], u[1]), Message: im.NewMessageID(im.Now())}})
		})
		wg.Go(func() {
			if _, err := db.ExpireFiles(ctx, 0, 1000); err != nil {
				t.Error(err)
			}
		})
		wg.Wait()
		stored, err2 := db.File(ctx, f.ID)
		if err2 != nil {
			t.Fatal(err2)
		}
		if sent := err == nil; sent == (stored.State == im.FileRemoved) {
			t.Errorf("it is %s, and granting it said %v", stored.State, err)
		}
	}
}
