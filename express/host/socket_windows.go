package host

// SocketProblem always returns "", because no option for sockets works on Windows.
func SocketProblem(*Account, string) string { return "" }
