package proc

import (
	"context"
	"slices"
)

// An Opener opens what something is built on and keeps the errors, so that
// building it is one expression and one check after it. Its Settings are read
// from the process. Where something could not be opened it returns the zero
// value, which is of no use: nothing that was built is, unless Err is nil.
type Opener struct {
	*Settings
	ctx context.Context
}

// Build builds by an Opener. ctx is the life of the process.
func Build[T any](ctx context.Context, env *Env, build func(*Opener) T) (T, error) {
	o := &Opener{Settings: env.Settings(), ctx: ctx}
	v := build(o)
	return v, o.Err()
}

// Open opens by a function.
func Open[T any](o *Opener, open func(context.Context, *Env) (T, error)) T {
	v, err := open(o.ctx, o.env)
	o.Fail(err)
	if err != nil {
		var none T
		return none
	}
	return v
}

// Fail notes an error, if it is one. What several openings have in common is
// noted once.
func (o *Opener) Fail(err error) {
	if err == nil || slices.ContainsFunc(o.errs, func(e error) bool { return e.Error() == err.Error() }) {
		return
	}
	o.errs = append(o.errs, err)
}

// Env returns the process.
func (o *Opener) Env() *Env { return o.env }

// Context returns the life of the process.
func (o *Opener) Context() context.Context { return o.ctx }

// OpenEnv opens by a function that needs no context.
func OpenEnv[T any](o *Opener, open func(*Env) (T, error)) T {
	return Open(o, func(_ context.Context, env *Env) (T, error) { return open(env) })
}

// ShareIn returns the process's one value for key, as Share does, or nothing if
// what it is made of could not be opened.
func ShareIn[T any](o *Opener, key string, open func() (T, func() error, error)) T {
	var none T
	if o.Err() != nil {
		return none
	}
	v, err := Share(o.env, key, open)
	o.Fail(err)
	return v
}
