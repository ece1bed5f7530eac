package host

// AppendText does nothing: no process supervises httpd on Windows.
func AppendText(string, []byte) error { return nil }
