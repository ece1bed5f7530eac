package pe

import (
	stdpe "debug/pe"
	"encoding/binary"
	"errors"
	"io"
)

const (
	maxSignature  = 1 << 20 // bytes of a signature, including certificates
	pkcs7SignData = 2       // WIN_CERT_TYPE_PKCS_SIGNED_DATA
)

// Signature returns the Authenticode signature of a file, a PKCS#7 message in DER, or nil
// if absent. It does not verify the signature. The error wraps [ErrNotPE] for another
// format.
func Signature(r io.ReaderAt, size int64) ([]byte, error) {
	var head [0x40]byte
	if n, err := r.ReadAt(head[:], 0); n < len(head) || (err != nil && !errors.Is(err, io.EOF)) || !Is(head[:]) {
		return nil, ErrNotPE
	}
	file, err := parse(r, size, int64(binary.LittleEndian.Uint32(head[0x3c:])))
	if err != nil {
		return nil, err
	}
	// The only directory whose address is a file offset.
	at := (&image{r: r, size: size, file: file}).directory(stdpe.IMAGE_DIRECTORY_ENTRY_SECURITY)
	if at.VirtualAddress == 0 {
		return nil, nil
	}
	offset, length := int64(at.VirtualAddress), int64(at.Size)
	if length < 8 || length > maxSignature || offset+length > size {
		return nil, errOutside
	}
	table := make([]byte, length)
	if n, err := r.ReadAt(table, offset); n < len(table) {
		return nil, errors.Join(errOutside, err)
	}
	if n := int64(binary.LittleEndian.Uint32(table)); n >= 8 && n <= length && binary.LittleEndian.Uint16(table[6:]) == pkcs7SignData {
		return table[8:n], nil
	}
	return nil, errOutside
}
