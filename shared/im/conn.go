package im

// A Conn is a socket of a user, as it is known to all gateways.
type Conn struct {
	ID       string
	User     string
	Gateway  string // id of the gateway that holds it
	Device   string
	Platform string
	Session  string
	Since    Time // when it was made, by Redis's clock
}

// A Displaced is a connection that has to go, and why: Replaced or TooMany,
// which are reasons of close codes, too.
type Displaced struct {
	Conn
	Reason string
}

// Why a connection is displaced.
const (
	Replaced = "replaced" // another of the same device or platform took its place
	TooMany  = "too-many" // the user has made as many later ones as are allowed
)
