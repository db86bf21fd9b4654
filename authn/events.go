package authn

// Event is the stable name of a security event. A log line that has one, in the attribute "event", is
// such an event: see docs/operations.md, which lists them with their attributes. The message of the
// line is for people, and may change.
type Event string

// The security events.
const (
	EventConfiguration Event = "configuration"  // the program started, with this configuration
	EventSignIn        Event = "sign_in"        // a person signed in
	EventSignInFailed  Event = "sign_in_failed" // a sign-in ended without a session
	EventSignOut       Event = "sign_out"       // a person signed out
	EventSessionEnded  Event = "session_ended"  // a session was ended before it expired
	EventStepUp        Event = "step_up"        // a page demanded a more recent or a stronger sign-in
	EventTokenRefused  Event = "token_refused"  // a logout token, an access token or the operators' token was refused
	EventProofRefused  Event = "proof_refused"  // a proof of the key of a device-bound session was refused
	EventRefused       Event = "refused"        // any other request was answered with an error
	EventOperator      Event = "operator"       // an operator listed or ended sessions
)

// by returns who ended a session with this cause.
func (c Cause) by() string {
	switch c {
	case CauseSignedOut, CauseReplaced, CauseElsewhere:
		return "person"
	case CauseProvider, CauseRefresh:
		return "provider"
	case CauseOperator:
		return "operator"
	default:
		return "app"
	}
}
