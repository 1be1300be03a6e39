package user

import (
	"errors"
	"strings"
	"testing"

	"github.com/tidings-im/tidings/shared/im"
)

func TestAPasswordThatIsGuessedFirstIsRefused(t *testing.T) {
	known := []string{"ann-sophie", "Ann Sophie Müller", "asm.1984@example.org"}
	for name, tt := range map[string]struct {
		passwords []string
		want      error
	}{
		"one of the commonest": {[]string{
			"password", "12345678", "qwertyuiop", "PASSWORD", "iloveyou", "11111111", "ｐａｓｓｗｏｒｄ",
		}, errCommon},
		"with a few characters after it, or backwards": {[]string{
			"password1", "dragon2024", "letmein!!", "monkey1234", "drowssap",
		}, errCommon},
		"of one character, or in their order": {[]string{"ssssssss", "........", "abcdefghi", "98765432", "ねねねねねねねね"}, errCommon},
		"what everybody knows of the user": {[]string{
			"ann-sophie", "ANN-SOPHIE", "eihpos-nna", "ann-sophie1984", "1!ann-sophie!1", "ann-sophieann-sophie",
			"Ann Sophie Müller", "ann sophie mu\u0308ller", "asm.1984@example.org", "asm.1984asm.1984", "4891.msa#1",
		}, errOwn},
		"the name of the service": {[]string{"tidings1", "Tidings2026", "sgnidit!", "tidingstidings"}, errOwn},
		"any other":               {[]string{"correct horse", "battery staple", "ann-sophie likes tea", "tidings of comfort", "x7!kQ2#v", "ann-sophie55612093", "dragon84629471", "пароль-мой-длинный"}, nil},
	} {
		for _, p := range tt.passwords {
			if err := CheckNewPassword(p, known...); !errors.Is(err, tt.want) && err != tt.want {
				t.Errorf("%s: %q: %v", name, p, err)
			} else if err != nil && (im.KindOf(err) != im.Invalid || !strings.Contains(err.Error(), "choose")) {
				t.Errorf("%q: %v does not say what to do", p, err)
			}
		}
	}
	if err := CheckNewPassword("short"); im.KindOf(err) != im.Invalid {
		t.Errorf("a short one: %v", err)
	}
	if n := len(common()); n < 10_000 {
		t.Errorf("%d passwords are on the list", n)
	}
}
