package im

import (
	"slices"
	"strings"
)

// A Scope is a part of the API that a token of a bot is good for. None covers
// accounts: who signs in where, passwords, bots and their webhooks.
type Scope string

// The scopes.
const (
	MessagesRead       Scope = "messages:read"       // the inbox, history, and the socket
	MessagesWrite      Scope = "messages:write"      // send, edit, recall, react
	ConversationsRead  Scope = "conversations:read"  // the list of conversations
	ConversationsWrite Scope = "conversations:write" // what is read, pinned, muted
	GroupsRead         Scope = "groups:read"
	GroupsWrite        Scope = "groups:write"
	FriendsRead        Scope = "friends:read" // blocks among them
	FriendsWrite       Scope = "friends:write"
	UsersRead          Scope = "users:read" // profiles, and who is online
	FilesRead          Scope = "files:read"
	FilesWrite         Scope = "files:write"
)

// Scopes are all of them.
var Scopes = []Scope{
	MessagesRead, MessagesWrite, ConversationsRead, ConversationsWrite, GroupsRead, GroupsWrite,
	FriendsRead, FriendsWrite, UsersRead, FilesRead, FilesWrite,
}

// NormalScopes returns scopes in their order, each once. Invalid: there is
// none, or one that there is not.
func NormalScopes(scopes []Scope) ([]Scope, error) {
	if len(scopes) == 0 {
		return nil, Errorf(Invalid, "a token is good for something: name one of the scopes %s", joined(Scopes))
	}
	for _, s := range scopes {
		if !slices.Contains(Scopes, s) {
			return nil, Errorf(Invalid, "%.40q is not a scope: they are %s", string(s), joined(Scopes))
		}
	}
	var normal []Scope
	for _, s := range Scopes {
		if slices.Contains(scopes, s) {
			normal = append(normal, s)
		}
	}
	return normal, nil
}

// ScopeClaim returns scopes as an access token holds them (RFC 9068, §2.2.3).
func ScopeClaim(scopes []Scope) string { return joined(scopes) }

func joined(scopes []Scope) string {
	words := make([]string, len(scopes))
	for i, s := range scopes {
		words[i] = string(s)
	}
	return strings.Join(words, " ")
}

// May reports whether the token of c is good for a scope. "" is of no scope:
// only a token without any, which is a person's, is good for it.
func (c Caller) May(s Scope) error {
	switch {
	case c.Scope == "":
		return nil
	case s == "":
		return Errorf(Denied, "no token of a bot is good for this: it is for people to do")
	case !slices.Contains(strings.Split(c.Scope, " "), string(s)):
		return Errorf(Denied, "the token is not good for this: it takes the scope %s", s)
	}
	return nil
}
