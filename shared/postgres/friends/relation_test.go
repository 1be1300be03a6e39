package friends_test

import (
	"testing"

	"github.com/tidings-im/tidings/shared/im"
	"github.com/tidings-im/tidings/shared/imtest/pgtest"
)

func TestRelations(t *testing.T) {
	db := pgtest.Fresh(t)
	ctx := t.Context()
	u := pgtest.People(t, db, 4)
	nobody := im.NewID()
	for _, row := range []struct{ table, a, b string }{
		{"blocks (user_id, blocked_id)", u[0], u[1]},
		{"friendships (user_id, friend_id)", u[0], u[2]},
		{"friendships (user_id, friend_id)", u[2], u[0]},
	} {
		if _, err := db.Exec(ctx, `INSERT INTO `+row.table+` VALUES ($1, $2)`, row.a, row.b); err != nil {
			t.Fatal(err)
		}
	}
	want := map[im.Pair]im.Relation{
		{A: u[0], B: u[1]}:   {Exist: true, Blocked: true},
		{A: u[1], B: u[0]}:   {Exist: true, Blocked: true},
		{A: u[0], B: u[2]}:   {Exist: true, Friends: true},
		{A: u[2], B: u[0]}:   {Exist: true, Friends: true},
		{A: u[0], B: u[3]}:   {Exist: true},
		{A: u[0], B: nobody}: {},
		{A: nobody, B: u[0]}: {},
	}
	var pairs []im.Pair
	for p := range want {
		pairs = append(pairs, p)
	}
	got, err := db.Relations(ctx, pairs)
	if err != nil || len(got) != len(want) {
		t.Fatalf("relations = %v, %v", got, err)
	}
	for p, r := range want {
		if got[p] != r {
			t.Errorf("relation of %v = %v, want %v", p, got[p], r)
		}
	}
	if got, err := db.Relations(ctx, nil); err != nil || len(got) != 0 {
		t.Errorf("relations of nobody = %v, %v", got, err)
	}
}
