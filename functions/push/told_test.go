package push

import (
	"context"
	"encoding/json"
	"testing"

	"github.com/tidings-im/tidings/shared/event"
	"github.com/tidings-im/tidings/shared/im"
	"github.com/tidings-im/tidings/shared/imtest"
	"github.com/tidings-im/tidings/shared/imtest/pgtest"
)

// TestPushPresenceTellsFriends has push-presence run on real services: ann
// comes and goes, and her friend bob, who is connected, is told once of each.
func TestPushPresenceTellsFriends(t *testing.T) {
	s := newSite(t, map[string]string{"PRESENCE_GRACE": "3s"}, Presence) // longer than what is too early takes
	_, _, err := s.db.Change(t.Context(), func(ctx context.Context, tx *pgtest.Tx) error {
		_, _, err := tx.Befriend(ctx, ann, bob)
		return err
	}, func(context.Context, []im.Stale, []im.Notice) ([]im.Pending, error) { return nil, nil })
	if err != nil {
		t.Fatal(err)
	}
	s.connect(t, bob)
	c := s.connect(t, ann)
	post := func(seal bool) int {
		t.Helper()
		e, err := event.New(event.PresenceChanged, "test", ann, event.Changed{User: ann})
		if err != nil {
			t.Fatal(err)
		}
		if seal {
			s.ring.Sign(&e)
		}
		return s.post(t, "push-presence", e)
	}
	told := func(online, seen bool) {
		t.Helper()
		p, ok := s.pushed(t)
		if !ok || len(p.To) != 1 || p.To[0].User != bob {
			t.Fatalf("pushed %+v, %v", p, ok)
		}
		var f im.Presence
		if err := json.Unmarshal(p.Frame, &f); err != nil || f.User != ann || f.Online != online || (f.LastSeen != 0) != seen {
			t.Errorf("told %s", p.Frame)
		}
	}
	quiet := func() {
		t.Helper()
		if p, ok := s.pushed(t); ok {
			t.Errorf("told %+v", p)
		}
	}
	if status := post(false); status != 422 {
		t.Errorf("an event without a seal: %d", status)
	}
	quiet()
	post(true)
	told(true, false)
	post(true) // another gateway noticed, too
	quiet()
	if err := s.presence.Disconnect(t.Context(), c); err != nil {
		t.Fatal(err)
	}
	post(true) // too early
	quiet()
	imtest.Until(t, "it is told", func() bool {
		if status := post(true); status != 204 {
			t.Fatalf("status %d", status)
		}
		return len(s.got) > 0
	})
	told(false, true)
}
