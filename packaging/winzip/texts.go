package winzip

import (
	"fmt"
	"strings"
)

// configuration is the file that httpd.conf includes. Paths have forward slashes, as
// httpd wants them on Windows too.
func (w *work) configuration() string {
	py := w.stage.Module.Python
	dir := "C:/Python" + strings.TrimPrefix(py.Tag, "cp")
	return fmt.Sprintf(`# mod_wsgi %[1]s for Python %[2]s. At the end of conf/httpd.conf:
#
#     Include conf/extra/httpd-wsgi.conf
#
# The location of your Python. It must be a 64-bit Python %[2]s that the account
# of Apache can read, so install it for all users. To use another location, add
# before the Include: Define PYTHONHOME "D:/Python"
<IfDefine !PYTHONHOME>
    Define PYTHONHOME "%[3]s"
</IfDefine>

# Without LoadFile Windows does not find Python's library, and the module fails
# to load ("The specified module could not be found").
LoadFile "${PYTHONHOME}/python%[4]s.dll"
LoadModule wsgi_module modules/mod_wsgi.so
WSGIPythonHome "${PYTHONHOME}"

# Use the main interpreter for all applications: with sub-interpreters Apache takes
# half a minute to stop, and many extension modules do not work.
WSGIApplicationGroup %%{GLOBAL}

# An application (Windows has no daemon processes, so it runs inside httpd):
#
#     WSGIScriptAlias / "C:/srv/app/wsgi.py"
#     <Directory "C:/srv/app">
#         Require all granted
#     </Directory>
`, w.version(), py.MinorVersion(), dir, strings.TrimPrefix(py.Tag, "cp"))
}

func (w *work) readme() string {
	py := w.stage.Module.Python
	number := strings.TrimPrefix(py.Tag, "cp")
	return fmt.Sprintf(`mod_wsgi %[1]s for Apache 2.4 and Python %[2]s on Windows (x64)
%[5]s

What you need
  - Apache 2.4 for x64, from Apache Lounge, XAMPP or another maker
  - Python %[2]s for x64, not from the Microsoft Store, installed for all users:
    the account that Apache runs as must be able to read its directory
  - the Visual C++ redistributable for x64, which both of them need

How to install it
  1. Unpack this file over the parent directory of your Apache24 (C:\ for
     C:\Apache24). It adds two files and changes none.
  2. At the end of Apache24\conf\httpd.conf add

         Include conf/extra/httpd-wsgi.conf

     and, where Python is not in C:\Python%[3]s, before that line

         Define PYTHONHOME "C:/Program Files/Python%[3]s"

  3. Configure your application, in httpd.conf after the Include:

         WSGIScriptAlias / "C:/srv/app/wsgi.py"
         <Directory "C:/srv/app">
             Require all granted
         </Directory>

  4. Check and restart: Apache24\bin\httpd.exe -t

Or let mod_wsgi-express.exe do it
  It is next to Apache24 and finds Python through the registry (PEP 514).

         mod_wsgi-express module-config
         mod_wsgi-express install-module --modules-directory C:\xampp\apache\modules
         mod_wsgi-express start-server C:\srv\app\wsgi.py --port 8080

If it does not start
  "The specified module could not be found" (for mod_wsgi.so, although it exists):
  Python's library was not found, or has another version. The LoadFile line must
  name python%[3]s.dll and come before LoadModule.
  "not a valid Win32 application": Apache, Python or the module is 32-bit.
  "Invalid command 'WSGIDaemonProcess'": Windows has no daemon mode.
  "No module named 'encodings'": WSGIPythonHome does not name a Python %[2]s.

What is inside
  mod_wsgi.so was compiled from upstream's unchanged source of mod_wsgi %[1]s with
  gcc (mingw-w64) against the Universal C Runtime, with the headers of httpd %[4]s.
  Every Apache 2.4 can load it. SHA256SUMS lists the hash of each file,
  mod_wsgi.cdx.json the components, and licenses contains their licences.
  It was tested under wine, with a Python built by Microsoft's compiler.
`, w.version(), py.MinorVersion(), number, w.stage.Module.HTTPD, strings.Repeat("=", len(w.version())+len(py.MinorVersion())+54))
}
