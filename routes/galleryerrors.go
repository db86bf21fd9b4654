//go:build !release

package routes

import (
	"errors"
	"net/http"
	"time"

	"github.com/labstack/echo/v4"

	"latchkey/authn"
)

// sampleError is an error under the name that the gallery gives it.
type sampleError struct {
	name string
	err  error
}

// sampleErrors is one of every kind that errors.go has a page for.
func (a *App) sampleErrors() []sampleError {
	list := []sampleError{
		{"sign in first", authn.ErrAnonymous},
		{"another host", errWrongHost},
		{"another site", errCrossOrigin},
		{"no cookies", errNoCookies},
		{"another issuer", errOtherIssuer},
		{"another target", errOtherTarget},
		{"nothing held", errNothingHeld},
		{"a form too large to hold", authn.ErrHeldTooLarge},
		{"too many watchers", authn.ErrTooManyWatchers},
		{"too many sign-ins", &tooManyError{wait: time.Minute}},
		{"our fault", errPanic},
	}
	for _, status := range []int{
		http.StatusBadRequest, http.StatusNotFound, http.StatusMethodNotAllowed, http.StatusRequestEntityTooLarge,
		http.StatusRequestURITooLong, http.StatusUnsupportedMediaType, http.StatusTeapot,
	} {
		list = append(list, sampleError{http.StatusText(status), echo.NewHTTPError(status)})
	}
	for _, code := range []string{"access_denied", "login_required", "temporarily_unavailable", "invalid_scope"} {
		list = append(list, sampleError{"declined " + code, &authn.Error{Reason: authn.ReasonDeclined, Code: code}})
	}
	for _, reason := range []authn.Reason{
		authn.ReasonResponseMalformed, authn.ReasonTransactionMissing, authn.ReasonTransactionExpired, authn.ReasonTransactionUsed,
		authn.ReasonConfigurationChanged, authn.ReasonIssuerMismatch, authn.ReasonProviderUnreachable, authn.ReasonProviderMisconfigured,
		authn.ReasonTokenRequestFailed, authn.ReasonTokenInvalid, authn.ReasonIDTokenInvalid, authn.ReasonStepUpFailed,
		authn.ReasonUserInfoFailed, authn.ReasonUserInfoMismatch, authn.ReasonUserInfoRequired, authn.ReasonTooLarge,
		authn.ReasonSessionEnded, authn.ReasonRefreshRefused, authn.ReasonRefreshFailed, authn.ReasonStoreUnavailable, authn.ReasonNotNavigation,
	} {
		list = append(list, sampleError{string(reason), &authn.Error{Reason: reason, ReturnTo: "/profile"}})
	}
	return list
}

// refreshErrors are what the profile card says in place.
func refreshErrors() []error {
	return []error{
		&authn.TooSoonError{Wait: 42 * time.Second},
		&authn.Error{Reason: authn.ReasonProviderUnreachable},
		&authn.Error{Reason: authn.ReasonRefreshRefused},
		&authn.Error{Reason: authn.ReasonRefreshFailed, Err: errors.New("sample")},
	}
}
