package routes

import (
	"strings"
	"unicode"
)

// Initials returns the letters that stand for a person where there is no picture: those of the first
// and the last word of a name, in title case. An e-mail address used as a name counts without its
// domain. A name has only one initial if its script does not use two: two letters might join into another
// word, as in Arabic, or the family name might come first, as in Chinese.
func Initials(name string) string {
	if at := strings.LastIndexByte(name, '@'); at > 0 {
		name = name[:at]
	}
	words := strings.FieldsFunc(name, func(r rune) bool { return !unicode.In(r, unicode.L, unicode.N, unicode.M) })
	if len(words) == 0 {
		return "?"
	}
	first, last := firstLetter(words[0]), firstLetter(words[len(words)-1])
	if len(words) == 1 || !abbreviable(first) || !abbreviable(last) {
		return string(first)
	}
	return string([]rune{first, last})
}

// firstLetter returns the first letter of a word, in title case: some scripts, such as Georgian, have
// capitals that no name begins with.
func firstLetter(word string) rune {
	for _, r := range word {
		return unicode.ToTitle(r)
	}
	return '?'
}

// abbreviable reports whether two such letters can stand side by side as initials.
func abbreviable(r rune) bool {
	return unicode.IsDigit(r) || unicode.In(r, unicode.Latin, unicode.Greek, unicode.Cyrillic, unicode.Armenian)
}
