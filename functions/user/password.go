package user

import (
	"context"
	"crypto/rand"
	"crypto/subtle"
	"encoding/base64"
	"fmt"
	"strings"

	"golang.org/x/crypto/argon2"

	"github.com/tidings-im/tidings/shared/proc"
)

// params are those of Argon2id (RFC 9106).
type params struct {
	memory  uint32 // KiB
	time    uint32
	threads uint8
}

// current are the parameters of new hashes: OWASP Password Storage Cheat
// Sheet, second of its equivalent choices.
var current = params{memory: 19456, time: 2, threads: 1}

// most are the greatest parameters that are believed of a stored hash, so that
// a damaged one does not take the machine down.
var most = params{memory: 1 << 20, time: 16, threads: 16}

const (
	saltLen = 16
	hashLen = 32
)

var b64 = base64.RawStdEncoding.Strict()

// hasher hashes passwords, a few at a time: each hash takes 19 MiB and a core
// for some 30 ms. Those who wait are bounded, too, and take turns by the
// network, or the user, that they are said to come from.
type hasher struct {
	line  *line
	dummy string       // hash of no password
	work  *proc.Budget // lends what a stored hash takes beyond current; nil is no limit
}

// bytes is the memory that a hash takes.
func (p params) bytes() int64 { return int64(p.memory) << 10 }

// newHasher returns a hasher of which parallel work and waiting wait at a time.
func newHasher(parallel, waiting int) *hasher {
	var salt [saltLen]byte
	var sum [hashLen]byte
	rand.Read(salt[:])
	rand.Read(sum[:])
	return &hasher{
		line:  newLine(parallel, waiting),
		dummy: encode(current, salt[:], sum[:]),
	}
}

// hash returns the hash of a password as a PHC string. The error is Overloaded
// if too many are waiting.
func (h *hasher) hash(ctx context.Context, from, password string) (string, error) {
	var salt [saltLen]byte
	rand.Read(salt[:])
	sum, err := h.sum(ctx, from, password, salt[:], current, hashLen)
	if err != nil {
		return "", err
	}
	return encode(current, salt[:], sum), nil
}

// verify reports whether a password is the one of a PHC string.
func (h *hasher) verify(ctx context.Context, from, phc, password string) (bool, error) {
	p, salt, want, err := decode(phc)
	if err != nil {
		return false, err
	}
	got, err := h.sum(ctx, from, password, salt, p, len(want))
	if err != nil {
		return false, err
	}
	return subtle.ConstantTimeCompare(got, want) == 1, nil
}

func (h *hasher) sum(ctx context.Context, from, password string, salt []byte, p params, n int) ([]byte, error) {
	if err := h.line.enter(ctx, from); err != nil {
		return nil, err
	}
	defer h.line.leave()
	if more := p.bytes() - current.bytes(); more > 0 && h.work != nil {
		if more > h.work.Size() {
			return nil, fmt.Errorf("a stored password takes %d MiB to hash: give the process more memory", p.bytes()>>20)
		}
		if !h.work.TryTake(more) {
			return nil, errBusy
		}
		defer h.work.Give(more)
	}
	return argon2.IDKey([]byte(password), salt, p.time, p.memory, p.threads, uint32(n)), nil
}

// encode writes a hash in the PHC string format
// (github.com/P-H-C/phc-string-format).
func encode(p params, salt, sum []byte) string {
	return fmt.Sprintf("$argon2id$v=%d$m=%d,t=%d,p=%d$%s$%s",
		argon2.Version, p.memory, p.time, p.threads, b64.EncodeToString(salt), b64.EncodeToString(sum))
}

func decode(phc string) (p params, salt, sum []byte, err error) {
	part := strings.Split(phc, "$")
	if len(part) != 6 || part[0] != "" || part[1] != "argon2id" || part[2] != fmt.Sprintf("v=%d", argon2.Version) {
		return p, nil, nil, fmt.Errorf("a stored password is not hashed by argon2id of version %d", argon2.Version)
	}
	if _, err := fmt.Sscanf(part[3], "m=%d,t=%d,p=%d", &p.memory, &p.time, &p.threads); err != nil {
		return p, nil, nil, fmt.Errorf("reading the parameters of a stored password: %w", err)
	}
	if p.time < 1 || p.threads < 1 || p.memory > most.memory || p.time > most.time || p.threads > most.threads {
		return p, nil, nil, fmt.Errorf("a stored password asks for m=%d,t=%d,p=%d", p.memory, p.time, p.threads)
	}
	salt, err = b64.DecodeString(part[4])
	if err == nil {
		sum, err = b64.DecodeString(part[5])
	}
	if err == nil && (len(salt) < 8 || len(sum) < 16) {
		err = fmt.Errorf("it has a salt of %d and a hash of %d bytes", len(salt), len(sum))
	}
	if err != nil {
		return p, nil, nil, fmt.Errorf("reading a stored password: %w", err)
	}
	return p, salt, sum, nil
}
