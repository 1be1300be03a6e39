package users

import "github.com/tidings-im/tidings/shared/im"

// ProfileColumns are what a profile is made of, of a row u of users, in the
// order of profileTargets. An avatar of which nobody has seen whose site it is on
// is not shown: it may tell others who looks at it.
const ProfileColumns = `u.id, coalesce(u.account, ''), u.name, CASE WHEN u.avatar = u.avatar_checked THEN u.avatar ELSE '' END, u.bio, u.owner_id IS NOT NULL AND u.deleted IS NULL, u.deleted IS NOT NULL`

// ProfileTargets returns where ProfileColumns are scanned to.
func ProfileTargets(p *im.Profile) []any {
	return []any{&p.ID, &p.Account, &p.Name, &p.Avatar, &p.Bio, &p.Bot, &p.Deleted}
}
