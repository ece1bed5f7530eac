// Package winpython is where the tests get a CPython for Windows from: the files
// are data of the module that go.mod names.
package winpython
