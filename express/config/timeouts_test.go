package config

import "testing"

func TestReadTimeout(t *testing.T) {
	for _, c := range []struct {
		first, most, rate int
		want              string
	}{
		{15, 30, 500, "15-30,MinRate=500"},
		{15, 0, 500, "15,MinRate=500"},
		{0, 30, 500, "0"},
		{15, 30, 0, "15"}, // httpd rejects a range without a rate
		{15, 0, 0, "15"},
		{40, 30, 500, "40"}, // and a range that ends before it begins
	} {
		if got := readTimeout(c.first, c.most, c.rate); got != c.want {
			t.Errorf("%d %d %d: %s, want %s", c.first, c.most, c.rate, got, c.want)
		}
	}
}
