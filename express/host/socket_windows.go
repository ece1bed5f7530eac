package host

// SocketProblem tells why an account cannot send datagrams to a socket; no option
// for one works here.
func SocketProblem(*Account, string) string { return "" }
