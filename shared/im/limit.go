package im

// MaxPage is the most bytes of what a page of a list holds, as written, unless
// the first of it is larger.
const MaxPage = 1 << 20

// Fit returns how many of a list, of limit at most, are on a page; written
// returns how many bytes one has.
func Fit[T any](list []T, limit int, written func(T) int) int {
	size := 0
	for i := range min(limit, len(list)) {
		if size += written(list[i]); size > MaxPage && i > 0 {
			return i
		}
	}
	return min(limit, len(list))
}

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
