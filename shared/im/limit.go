package im

// Limit returns how many a page of a list has at most, of what a client asks
// for: standard, unless it is said how many.
func Limit(asked, standard, most int) (int, error) {
	switch {
	case asked < 0 || asked > most:
		return 0, Errorf(Invalid, `"limit" is 1 to %d, or 0 for %d: not %d`, most, standard, asked)
	case asked == 0:
		return standard, nil
	}
	return asked, nil
}
