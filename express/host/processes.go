package host

// HTTPD describes the httpd of an instance, to identify its process.
type HTTPD struct {
	Program string   // path
	Args    []string // without the program's name
	UID     int      // the application's account, or 0 if it is the current user
}
