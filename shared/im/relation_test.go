package im

import (
	"errors"
	"testing"
)

func TestWhoMayWriteToWhom(t *testing.T) {
	for _, tt := range []struct {
		name          string
		is            Relation
		open, friends error
	}{
		{"strangers", Relation{Exist: true}, nil, Denied},
		{"friends", Relation{Exist: true, Friends: true}, nil, nil},
		{"a block", Relation{Exist: true, Blocked: true}, Denied, Denied},
		{"a block between friends", Relation{Exist: true, Blocked: true, Friends: true}, Denied, Denied},
		{"nobody", Relation{}, NotFound, NotFound},
	} {
		t.Run(tt.name, func(t *testing.T) {
			for policy, want := range map[string]error{DirectOpen: tt.open, DirectFriends: tt.friends} {
				if err := tt.is.MayWrite(policy); !errors.Is(err, want) || (err == nil) != (want == nil) {
					t.Errorf("%s: %v, want %v", policy, err, want)
				}
			}
		})
	}
}

func TestP6WhoIsBlockedReadsWhatAStrangerReads(t *testing.T) {
	blocked := Relation{Exist: true, Blocked: true}.MayWrite(DirectFriends)
	stranger := Relation{Exist: true}.MayWrite(DirectFriends)
	if blocked == nil || stranger == nil || blocked.Error() != stranger.Error() {
		t.Errorf("who is blocked reads %q, a stranger %q", blocked, stranger)
	}
}
