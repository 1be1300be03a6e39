package main

import (
	"context"
	"errors"
	"fmt"
	"os"

	"github.com/tidings-im/tidings/bench/abuse"
)

const abuseStage = "abuse"

var abuseColumns = []string{"an uninvolved user while …", "before: p50 / p99", "meanwhile: p50 / p99", "refused or missing", "how the attackers were answered"}

// abuse measures what others notice of each attack, for twice as long as a load.
func (b *bench) abuse(ctx context.Context) error {
	if b.addresses == "" {
		return errors.New(`"abuse" needs -address-header: else all users are at one address, as nobody's are`)
	}
	site := &abuse.Site{URL: b.url, AddressHeader: b.addresses}
	site.Crowd = func(ctx context.Context) (abuse.Crowd, error) { return b.crowd(ctx, site) }
	for _, a := range abuse.All {
		fmt.Fprintln(os.Stderr, "  "+a.Name)
		r, err := a.Measure(ctx, site, b.duration, 2*b.duration)
		if err != nil {
			return fmt.Errorf("while %s: %w", a.Name, err)
		}
		for _, err := range r.During.Refused {
			b.found.add("while %s: %v", a.Name, err)
		}
		if r.During.Missing > 0 {
			b.found.add("while %s: %d messages of others are missing", a.Name, r.During.Missing)
		}
		if r.Held != nil {
			b.found.add("while %s: %v", a.Name, r.Held)
		}
		b.abused.add(a.Name, waits(r.Before), waits(r.During), fmt.Sprint(len(r.During.Refused)+r.During.Missing), r.Attackers)
	}
	return nil
}

func waits(w abuse.Waits) string {
	return fmt.Sprintf("%s / %s ms", millis(w.Quantile(0.5)), millis(w.Quantile(0.99)))
}

// crowd returns the group that groupChat has made.
func (b *bench) crowd(ctx context.Context, site *abuse.Site) (abuse.Crowd, error) {
	group, ok := b.crew.Groups[b.group]
	if !ok {
		return abuse.Crowd{}, fmt.Errorf(`there is no group of %d yet: run "group" before, against the same server with its limits raised`, b.group)
	}
	users, err := b.crew.muster(ctx, 1)
	if err != nil {
		return abuse.Crowd{}, err
	}
	owner := users[0]
	c := abuse.Crowd{Owner: site.Known(owner.ID, owner.Account, owner.AccessToken), Group: group.Group()}
	for _, u := range b.crew.Users[1:b.group] {
		c.Members = append(c.Members, u.ID)
	}
	return c, nil
}
