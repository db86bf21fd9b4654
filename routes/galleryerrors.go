//go:build !release

package routes

import (
	"errors"
	"net/http"
	"time"

	"github.com/labstack/echo/v4"

	"latchkey/authn"
	"latchkey/authn/openid"
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
		{"nothing held", errNoSavedRequest},
		{"a form too large to hold", authn.ErrRequestTooLarge},
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
		list = append(list, sampleError{"declined " + code, &openid.Error{Reason: openid.ReasonDeclined, Code: code}})
	}
	for _, reason := range []openid.Reason{
		openid.ReasonResponseMalformed, authn.ReasonTransactionMissing, authn.ReasonTransactionExpired, authn.ReasonTransactionUsed,
		authn.ReasonConfigurationChanged, openid.ReasonIssuerMismatch, openid.ReasonProviderUnreachable, openid.ReasonProviderMisconfigured,
		openid.ReasonTokenRequestFailed, openid.ReasonTokenInvalid, openid.ReasonIDTokenInvalid, openid.ReasonStepUpFailed,
		openid.ReasonUserInfoFailed, openid.ReasonUserInfoMismatch, openid.ReasonUserInfoRequired, openid.ReasonTooLarge,
		authn.ReasonSessionEnded, authn.ReasonRefreshRefused, authn.ReasonRefreshFailed, authn.ReasonStoreUnavailable, authn.ReasonNotNavigation,
	} {
		list = append(list, sampleError{string(reason), &authn.SignInError{ReturnTo: parseReturnPath("/profile"), Err: &openid.Error{Reason: reason}}})
	}
	return list
}

// refreshErrors are what the profile card says in place.
func refreshErrors() []error {
	return []error{
		&authn.TooSoonError{Wait: 42 * time.Second},
		&openid.Error{Reason: openid.ReasonProviderUnreachable},
		&openid.Error{Reason: authn.ReasonRefreshRefused},
		&openid.Error{Reason: authn.ReasonRefreshFailed, Err: errors.New("sample")},
	}
}
