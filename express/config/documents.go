package config

import "modwsgi/express/option"

var (
	DocumentRoot = option.Text("document-root", "", "DIRECTORY", "Files here are served at /, before the application is asked.").
			DefaultText("SERVER_ROOT/htdocs")
	FollowSymlinks = option.Text("follow-symlinks", "none", "WHICH", "Symbolic links in the document root and in directories of --url-alias that are followed: none, owner (link and target have the same owner) or all.").
			Among(true, "none", "owner", "all")
	DirectoryIndex   = option.Text("directory-index", "", "NAMES", "Files that stand for their directory, such as index.html.")
	DirectoryListing = option.Toggle("directory-listing", "List directories that have no index file.")
	AllowOverride    = option.Texts("allow-override", "CLASS", "Kind of directives that .htaccess files may hold.").
				Check(oneWord).DefaultText("None")
	URLAlias      = option.Pairs("url-alias", "URL-PATH PATH", "Serve a file or directory at a URL.")
	ErrorDocument = option.Pairs("error-document", "STATUS DOCUMENT", "What to send instead of httpd's own error page.").
			MayBeEmpty()
	ErrorOverride = option.Toggle("error-override", "Error documents replace the application's own error responses too.")
	MIMETypes     = option.Text("mime-types", "", "FILE", "Table of media types by file name.").
			DefaultText("system mime.types")
	RewriteRules = option.Text("rewrite-rules", "", "FILE", "mod_rewrite rules for the document root.").
			DefaultText("SERVER_ROOT/rewrite.conf")
	AddHandler = option.Pairs("add-handler", "EXTENSION SCRIPT", "Python script that answers for files with an extension.")
	WithCGI    = option.Toggle("with-cgi", "Run .cgi files of the document root.")
	EnableDocs = option.Toggle("enable-docs", "Serve the launcher's manual below /__wsgi__/docs; on by itself for the welcome page.")
)

var documentsGroup = option.NewGroup("Files",
	DocumentRoot, FollowSymlinks, DirectoryIndex, DirectoryListing, AllowOverride, URLAlias, ErrorDocument, ErrorOverride,
	MIMETypes, RewriteRules, AddHandler, WithCGI, EnableDocs,
)
