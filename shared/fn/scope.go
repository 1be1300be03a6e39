package fn

import "github.com/tidings-im/tidings/shared/im"

// People is the scope of what no token of a bot is good for: what concerns an
// account, and what is asked without any token.
const People im.Scope = ""
