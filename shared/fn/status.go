package fn

import (
	"net/http"

	"github.com/tidings-im/tidings/shared/im"
)

// deliveryStatus is what a broker is told. Knative sends an event again on
// ≥ 500, 404, 408, 409 and 429, so what can never succeed is none of these.
func deliveryStatus(k im.Kind) int {
	switch k {
	case im.Internal, im.Unavailable:
		return http.StatusServiceUnavailable
	case im.Overloaded:
		return http.StatusTooManyRequests
	case im.Unsupported:
		return http.StatusUnsupportedMediaType
	}
	return http.StatusUnprocessableEntity
}

// CallStatus is the status by which a caller is told of err.
func CallStatus(err error) int { return callStatus(im.KindOf(err)) }

// callStatus is what a caller is told.
func callStatus(k im.Kind) int {
	switch k {
	case im.Invalid:
		return http.StatusBadRequest
	case im.Unauthenticated, im.SecondFactor, im.Reauthenticate:
		return http.StatusUnauthorized
	case im.Denied:
		return http.StatusForbidden
	case im.NotFound:
		return http.StatusNotFound
	case im.Conflict:
		return http.StatusConflict
	case im.TooLarge:
		return http.StatusRequestEntityTooLarge
	case im.Unsupported:
		return http.StatusUnsupportedMediaType
	case im.Overloaded:
		return http.StatusTooManyRequests
	case im.Unavailable:
		return http.StatusServiceUnavailable
	}
	return http.StatusInternalServerError
}

// kindOf is the kind that a status stands for, where an answer came without one.
func kindOf(status int) im.Kind {
	switch status {
	case http.StatusBadRequest, http.StatusUnprocessableEntity:
		return im.Invalid
	case http.StatusUnauthorized:
		return im.Unauthenticated
	case http.StatusForbidden:
		return im.Denied
	case http.StatusNotFound:
		return im.NotFound
	case http.StatusConflict:
		return im.Conflict
	case http.StatusRequestEntityTooLarge:
		return im.TooLarge
	case http.StatusUnsupportedMediaType:
		return im.Unsupported
	case http.StatusTooManyRequests:
		return im.Overloaded
	case http.StatusBadGateway, http.StatusServiceUnavailable, http.StatusGatewayTimeout:
		return im.Unavailable
	}
	return im.Internal
}
