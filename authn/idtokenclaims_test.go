package authn_test

import (
	"strings"
	"testing"
	"time"

	"latchkey/internal/scriptedop"
)

func TestIDTokenParties(t *testing.T) {
	t.Parallel()
	withSlash := appOptions{op: scriptedop.Config{Path: "/tenant/"}}
	iss := func(change func(string) string) func(*app, *scriptedop.JWT) {
		return func(a *app, t *scriptedop.JWT) { t.Claims["iss"] = change(a.op.Issuer) }
	}
	us := "client"
	runIDTokenCases(t, map[string]idTokenCase{
		"ID-08 the issuer, with a slash": {edit: iss(same), options: withSlash, accepted: true},
		"ID-08 without its slash":        {edit: iss(func(s string) string { return strings.TrimSuffix(s, "/") }), options: withSlash},
		"ID-08 with another slash":       {edit: iss(func(s string) string { return s + "/" })},
		"ID-08 in another case":          {edit: iss(func(s string) string { return strings.Replace(s, "tenant", "Tenant", 1) }), options: withSlash},
		"ID-08 of another port":          {edit: iss(func(s string) string { return strings.Replace(s, "/tenant", "1/tenant", 1) }), options: withSlash},
		"ID-08 looking the same":         {edit: iss(func(s string) string { return strings.Replace(s, "tenant", "tеnant", 1) }), options: withSlash},
		"ID-08 in a list":                {edit: func(a *app, t *scriptedop.JWT) { t.Claims["iss"] = []string{a.op.Issuer} }},
		"ID-08 missing":                  {edit: claim("iss", nil)},
		"ID-08 empty":                    {edit: claim("iss", "")},
		"ID-08 null":                     {edit: claim("iss", null{})},

		"ID-09 us in a list":                     {edit: claim("aud", []string{us}), accepted: true},
		"ID-09 us, and azp":                      {edit: claim("azp", us), accepted: true},
		"ID-09 us and an API, given to us":       {edit: both(claim("aud", []string{us, "api"}), claim("azp", us)), accepted: true},
		"ID-09 another":                          {edit: claim("aud", "other")},
		"ID-09 missing":                          {edit: claim("aud", nil)},
		"ID-09 empty":                            {edit: claim("aud", "")},
		"ID-09 nobody":                           {edit: claim("aud", []string{})},
		"ID-09 null":                             {edit: claim("aud", null{})},
		"ID-09 a list with null":                 {edit: claim("aud", []any{us, nil})},
		"ID-09 a number":                         {edit: claim("aud", 1)},
		"ID-09 an object":                        {edit: claim("aud", map[string]any{us: true})},
		"ID-09 in another case":                  {edit: claim("aud", "Client")},
		"ID-09 us among others in one string":    {edit: claim("aud", "client evil")},
		"ID-09 us and another":                   {edit: claim("aud", []string{us, "evil"})},
		"ID-09 us and another, given to another": {edit: both(claim("aud", []string{us, "evil"}), claim("azp", "evil"))},
		"ID-09 us, given to another":             {edit: claim("azp", "evil")},
		"ID-09 us, given to nobody":              {edit: claim("azp", "")},
		"ID-09 us, given to a list":              {edit: claim("azp", []string{us})},

		"ID-13 the nonce": {edit: func(*app, *scriptedop.JWT) {}, accepted: true},
		"ID-13 missing":   {edit: claim("nonce", nil)},
		"ID-13 empty":     {edit: claim("nonce", "")},
		"ID-13 null":      {edit: claim("nonce", null{})},
		"ID-13 another":   {edit: claim("nonce", strings.Repeat("x", 43))},
		"ID-13 in a list": {edit: func(_ *app, t *scriptedop.JWT) { t.Claims["nonce"] = []any{t.Claims["nonce"]} }},
		"ID-13 twice, the good one spelt otherwise": {edit: func(_ *app, t *scriptedop.JWT) {
			t.Claims["NONCE"], t.Claims["nonce"] = t.Claims["nonce"], "bad"
		}},
		"ID-13 the beginning of it": {edit: func(_ *app, t *scriptedop.JWT) { t.Claims["nonce"] = t.Claims["nonce"].(string)[:42] }},

		"ID-14 missing":               {edit: claim("sub", nil)},
		"ID-14 empty":                 {edit: claim("sub", "")},
		"ID-14 a space":               {edit: claim("sub", " ")},
		"ID-14 256 characters":        {edit: claim("sub", strings.Repeat("x", 256))},
		"ID-14 NUL":                   {edit: claim("sub", "alice\x00")},
		"ID-14 a line break":          {edit: claim("sub", "alice\n")},
		"ID-14 a number":              {edit: claim("sub", 1)},
		"ID-14 null":                  {edit: claim("sub", null{})},
		"ID-14 an object":             {edit: claim("sub", map[string]any{})},
		"ID-14 twice, in other cases": {edit: claim("Sub", "evil")},
		"ID-14 not UTF-8":             {edit: rawSub("\xff")},

		"ID-16 absent":              {edit: claim("at_hash", nil), accepted: true},
		"ID-16 another token's":     {edit: func(_ *app, t *scriptedop.JWT) { t.Claims["at_hash"] = t.AtHash("other") }},
		"ID-16 cut short":           {edit: func(_ *app, t *scriptedop.JWT) { t.Claims["at_hash"] = t.Claims["at_hash"].(string)[:10] }},
		"ID-16 padded":              {edit: func(_ *app, t *scriptedop.JWT) { t.Claims["at_hash"] = t.Claims["at_hash"].(string) + "==" }},
		"ID-16 empty":               {edit: claim("at_hash", "")},
		"ID-16 null":                {edit: claim("at_hash", null{})},
		"ID-16 a number":            {edit: claim("at_hash", 1)},
		"ID-23 no sid":              {edit: claim("sid", nil), accepted: true},
		"ID-23 a sid of a number":   {edit: claim("sid", 1)},
		"ID-21 auth_time as a text": {edit: claim("auth_time", "yesterday")},
	})
}

// rawSub replaces the subject by bytes that no JSON encoder would write.
func rawSub(sub string) func(*app, *scriptedop.JWT) {
	return func(a *app, t *scriptedop.JWT) {
		delete(t.Claims, "sub")
		rawClaims(`"sub":"`+sub+`"`)(a, t)
	}
}

func both(edits ...func(*app, *scriptedop.JWT)) func(*app, *scriptedop.JWT) {
	return func(a *app, t *scriptedop.JWT) {
		for _, edit := range edits {
			edit(a, t)
		}
	}
}

func TestIDTokenTimes(t *testing.T) {
	t.Parallel()
	const day = 24 * time.Hour
	runIDTokenCases(t, map[string]idTokenCase{
		"ID-10 expired 30 seconds ago":         {edit: claimAt("exp", -30*time.Second), accepted: true},
		"ID-10 expired a minute ago":           {edit: claimAt("exp", -time.Minute), accepted: true},
		"ID-10 expired 61 seconds ago":         {edit: claimAt("exp", -61*time.Second)},
		"ID-10 valid for a day":                {edit: claimAt("exp", day), accepted: true},
		"ID-10 valid for a day and two":        {edit: claimAt("exp", day+2*time.Minute)},
		"ID-10 valid for ten years":            {edit: claimAt("exp", 3652*day)},
		"ID-10 missing":                        {edit: claim("exp", nil)},
		"ID-10 zero":                           {edit: claim("exp", 0)},
		"ID-10 negative":                       {edit: claim("exp", -1)},
		"ID-10 a text":                         {edit: claim("exp", "4000000000")},
		"ID-10 null":                           {edit: claim("exp", null{})},
		"ID-10 true":                           {edit: claim("exp", true)},
		"ID-10 beyond numbers":                 {edit: claim("exp", rawJSON("1e400"))},
		"ID-10 the largest number":             {edit: claim("exp", rawJSON("1e308"))},
		"ID-10 a fraction":                     {edit: func(a *app, t *scriptedop.JWT) { t.Claims["exp"] = float64(a.clock.Now().Unix()) + 60.5 }, accepted: true},
		"ID-11 issued a minute from now":       {edit: claimAt("iat", time.Minute), accepted: true},
		"ID-11 issued 61 seconds from now":     {edit: claimAt("iat", 61*time.Second)},
		"ID-11 issued tomorrow":                {edit: claimAt("iat", day)},
		"ID-11 issued 10 minutes ago":          {edit: claimAt("iat", -10*time.Minute), accepted: true},
		"ID-11 issued a second before that":    {edit: claimAt("iat", -10*time.Minute-time.Second)},
		"ID-11 issued last year":               {edit: claimAt("iat", -365*day)},
		"ID-11 missing":                        {edit: claim("iat", nil)},
		"ID-11 zero":                           {edit: claim("iat", 0)},
		"ID-11 a text":                         {edit: claim("iat", "1")},
		"ID-11 null":                           {edit: claim("iat", null{})},
		"ID-12 not before a minute from now":   {edit: claimAt("nbf", time.Minute), accepted: true},
		"ID-12 not before 61 seconds":          {edit: claimAt("nbf", 61*time.Second)},
		"ID-12 not before 10 minutes":          {edit: claimAt("nbf", 10*time.Minute)},
		"ID-12 not before yesterday":           {edit: claimAt("nbf", -day), accepted: true},
		"ID-12 a text":                         {edit: claim("nbf", "1")},
		"ID-24 the provider's session is over": {edit: claimAt("session_expiry", 0)},
		"ID-24 the provider's session goes on": {edit: claimAt("session_expiry", time.Second), accepted: true},
		"ID-24 no time":                        {edit: claim("session_expiry", "soon")},
	})
}

// TestLongSubject has subjects that are odd and good.
func TestLongSubject(t *testing.T) {
	t.Parallel()
	for name, sub := range map[string]string{
		"ID-14 255 characters": strings.Repeat("x", 255), "ID-14 as Auth0 has it": "auth0|5f7c8ec7c33c6c004bbafe82",
		"ID-14 with a space inside": "alice liddell", "ID-14 in capitals": "ALICE", "ID-14 a digit": "0",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			a := newApp(t, appOptions{})
			a.op.SignInAs(sub)
			b := a.person(t)
			b.wantSignedIn(b.signIn(), sub)
			b.wantCalls(1, 1)
		})
	}
}
