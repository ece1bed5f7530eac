package mountinfo

import (
	"slices"
	"testing"
)

func TestParse(t *testing.T) {
	const text = `36 35 98:0 /mnt1 /mnt2 rw,noatime master:1 - ext3 /dev/root rw,errors=continue
37 36 0:30 / /a\040b\011\134\043\0 rw - nfs4 server:/x rw
38 36 0:31 / / rw - tmpfs none
no mount
39 36 0:32 / / rw
`
	got := slices.Collect(Parse(text))
	want := []Mount{
		{"36", "98:0", "/mnt1", "/mnt2", "ext3", "rw,errors=continue"},
		{"37", "0:30", "/", "/a b\t\\#\\0", "nfs4", "rw"},
	}
	if !slices.Equal(got, want) {
		t.Errorf("%+v\nwant %+v", got, want)
	}
	for range Parse(text) {
		break
	}
}
