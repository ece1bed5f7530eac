package freeport

import (
	"net"
	"strconv"
	"testing"
)

func TestGet(t *testing.T) {
	given := map[int]bool{}
	for range 500 {
		port := Get(t)
		if given[port] {
			t.Fatalf("%d was given twice", port)
		}
		given[port] = true
		if port >= firstEphemeral() || port < lowest {
			t.Fatalf("%d is not below %d", port, firstEphemeral())
		}
	}
	for port := range given {
		if release, ok := reserve(port); ok {
			release()
			t.Fatalf("%d is not reserved", port)
		}
	}
}

func TestBusyPortIsNotGiven(t *testing.T) {
	port := Get(t)
	l, err := net.Listen("tcp", "127.0.0.1:"+strconv.Itoa(port))
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if free(port) {
		t.Errorf("%d counts as free while it is listened on", port)
	}
}
