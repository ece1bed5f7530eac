package host

// HTTPD is the httpd of an instance, as it is looked for among the processes.
type HTTPD struct {
	Program string   // path
	Args    []string // without the program's name
	UID     int      // the application's account, 0 where that is our own
}
