// A CPython for Windows to test against under wine; nothing of ours imports it.
module modwsgi/acceptance/winpython

go 1.26

require github.com/kluctl/go-embed-python v0.0.0-3.11.11-20241219-1
