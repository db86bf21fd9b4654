package routes_test

import (
	"testing"

	"latchkey/routes"
)

func TestInitials(t *testing.T) {
	t.Parallel()
	for name, want := range map[string]string{
		"Ada Lovelace":                   "AL",
		"ada":                            "A",
		"Ada King, Countess of Lovelace": "AL",
		"Ludwig van Beethoven":           "LB",
		"Åsa Öberg":                      "ÅÖ",
		"Ольга Ладыженская":              "ОЛ",
		"Σοφία Κοβαλέφσκαγια":            "ΣΚ",
		"Team 42":                        "T4",
		"O'Neil":                         "ON",

		"jane@gmail.com":         "J", // not the domain
		"jane.doe@example.co.uk": "JD",
		"@jane":                  "J",
		"Jane (jane@work)":       "JJ",

		"ليلى عبد الرحمن": "ل", // Arabic, whose letters join
		"ܡܪܝܡ ܐܦܪܝܡ":      "ܡ", // Syriac, too
		"क्षमा शर्मा":     "क", // Devanagari, whose letters form conjuncts
		"王 小明":            "王", // the family name is first
		"김 민준":            "김",
		"山田 太郎":           "山",
		"გიორგი მაისურაძე": "გ", // in the letters that names have
		"Layla عبد": "L",

		"":     "?",
		"🦊 🦊":  "?",
		" - ":  "?",
		"\xff": "?",
	} {
		if got := routes.Initials(name); got != want {
			t.Errorf("the initials of %q are %q, want %q", name, got, want)
		}
	}
}
