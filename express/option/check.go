package option

import (
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
)

// Checks for values. Each error completes a message that starts with the option's name
// and a colon.

func notWhole(v string) error  { return fmt.Errorf("%q is not a whole number", v) }
func notNumber(v string) error { return fmt.Errorf("%q is not a number", v) }

// AtLeast accepts whole numbers that are at least low.
func AtLeast(low int) func(string) error { return Between(low, math.MaxInt32) }

// Between accepts whole numbers from low to high.
func Between(low, high int) func(string) error {
	return func(v string) error {
		n, err := strconv.Atoi(v)
		switch {
		case err != nil:
			return notWhole(v)
		case n < low || n > high:
			if high == math.MaxInt32 {
				return fmt.Errorf("%d is less than %d", n, low)
			}
			return fmt.Errorf("%d is not between %d and %d", n, low, high)
		}
		return nil
	}
}

// ZeroOr accepts 0, which means the default, and whole numbers that are at least low.
func ZeroOr(low int) func(string) error {
	return func(v string) error {
		n, err := strconv.Atoi(v)
		if err != nil {
			return notWhole(v)
		}
		if n != 0 && n < low {
			return fmt.Errorf("%d is neither 0 (the default) nor at least %d", n, low)
		}
		return nil
	}
}

// Part accepts numbers from 0 to 1.
func Part(v string) error {
	n, err := strconv.ParseFloat(v, 64)
	if err != nil {
		return notNumber(v)
	}
	if !(n >= 0 && n <= 1) {
		return fmt.Errorf("%s is not between 0 and 1", v)
	}
	return nil
}

// most is the largest number that Positive and AtLeastFraction accept.
const most = 1e6

// Positive accepts numbers above 0, up to a million.
func Positive(v string) error {
	n, err := strconv.ParseFloat(v, 64)
	if err != nil {
		return notNumber(v)
	}
	if !(n > 0) || n > most {
		return fmt.Errorf("%s is not a number above 0", v)
	}
	return nil
}

// AtLeastFraction accepts numbers from low to a million.
func AtLeastFraction(low float64) func(string) error {
	return func(v string) error {
		n, err := strconv.ParseFloat(v, 64)
		if err != nil {
			return notNumber(v)
		}
		if !(n >= low && n <= most) {
			return fmt.Errorf("%s is less than %g", v, low)
		}
		return nil
	}
}

// OneOf accepts the given words. fold ignores the case of letters.
func OneOf(fold bool, words ...string) func(string) error {
	return func(v string) error {
		if slices.ContainsFunc(words, func(w string) bool { return v == w || fold && strings.EqualFold(v, w) }) {
			return nil
		}
		return fmt.Errorf("%q is not one of %s", v, strings.Join(words, ", "))
	}
}
