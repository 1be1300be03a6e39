package chat

import (
	"slices"
	"testing"

	"github.com/tidings-im/tidings/shared/im"
)

func TestP7ANewAccountIsAskedAboutOnceForEachStranger(t *testing.T) {
	f := newFixture(t)
	got := f.send(t, text(ann, "u:"+bob, "1", "hello"), text(ann, "u:"+dave, "2", "hello"), text(ann, "g:"+staff, "3", "hello"), text(ann, "u:"+cleo, "4", "hello"), text(ann, "u:"+bob, "5", "hello"))
	if got[0].Err != nil || got[1].Err != nil || got[4].Err != nil {
		t.Errorf("%+v", got)
	}
	if !slices.Equal(f.town.reached, []string{ann + " " + bob}) || !slices.Equal(f.town.met, []string{bob + " " + ann}) {
		t.Errorf("reached %q, met %q", f.town.reached, f.town.met)
	}
}

func TestP7ANewAccountIsRefusedStrangersButNoFriends(t *testing.T) {
	f := newFixture(t)
	f.town.newErr = im.Errorf(im.Overloaded, "you are new")
	got := f.send(t, text(ann, "u:"+bob, "1", "hello"), text(ann, "u:"+dave, "2", "hello"), text(ann, "g:"+staff, "3", "hello"), text(ann, "u:"+bob, "4", "again"))
	for i, want := range []error{im.Denied, nil, nil, im.Denied} {
		if im.KindOf(got[i].Err) != im.KindOf(want) && got[i].Err != want {
			t.Errorf("message %d: %v, want %v", i, got[i].Err, want)
		}
	}
	if len(f.town.met) != 0 {
		t.Errorf("met %q", f.town.met)
	}
}
