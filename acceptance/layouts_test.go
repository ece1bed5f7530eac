//go:build acceptance

package acceptance

import "strings"

// otherLayouts is a script that makes the rpm and the apk of the module for the
// system's Apache, installs the former and unpacks the latter, and lets Debian's
// Apache serve with them from a configuration like that of Fedora and Alpine. It also
// adds the files of a second package for another Python, which come second: nothing of
// it may affect the first one.
func otherLayouts(made func(format string) string) string {
	return strings.NewReplacer("@RPM@", made("rpm"), "@APK@", made("apk"), "@PYTHON@", systemPython).Replace(`
command -v rpm >/dev/null || apt-get install -y -qq --no-install-recommends rpm >/dev/null
@RPM@
@APK@
cat > /srv/hello/app.wsgi <<'EOF'
import sys
def application(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [("%d.%d %s" % (*sys.version_info[:2], sys.prefix)).encode()]
EOF
cat > /var/tmp/try.py <<'EOF'
import subprocess, sys, time, urllib.request
name, root, include = sys.argv[1:]
with open(root + "/httpd.conf", "w") as f:
    f.write("""ServerRoot %s
Listen 127.0.0.1:18559
ServerName localhost
PidFile /var/tmp/pid
ErrorLog /dev/stderr
DefaultRuntimeDir /var/tmp
User www-data
Group www-data
LoadModule mpm_event_module /usr/lib/apache2/modules/mod_mpm_event.so
LoadModule authz_core_module /usr/lib/apache2/modules/mod_authz_core.so
Include %s
WSGIDaemonProcess app
WSGIScriptAlias / /srv/hello/app.wsgi process-group=app application-group=%%{GLOBAL}
<Directory /srv/hello>
Require all granted
</Directory>
""" % (root, include))
p = subprocess.Popen(["/usr/sbin/apache2", "-d", root, "-f", root + "/httpd.conf", "-DFOREGROUND"])
for attempt in range(100):
    try:
        print(name, "ANSWER", urllib.request.urlopen("http://127.0.0.1:18559/", timeout=20).read().decode(), flush=True)
        break
    except OSError:
        time.sleep(0.1)
p.terminate()
p.wait()
EOF
second() {
	sed 's/mod_wsgi-py[0-9]*/mod_wsgi-py399/; s|^ *# WSGIPythonHome.*|WSGIPythonHome /nonexistent|' "$1" > "$2"
	grep -q nonexistent "$2"
}
rpm -i --nodeps /var/tmp/dist/mod_wsgi-py311-*.rpm
ln -s /usr/lib64/httpd/modules /etc/httpd/modules
second /etc/httpd/conf.modules.d/10-wsgi-py311.conf /etc/httpd/conf.modules.d/10-wsgi-py399.conf
@PYTHON@ /var/tmp/try.py RPM /etc/httpd 'conf.modules.d/*.conf'
echo '# edited' >> /etc/httpd/conf.modules.d/10-wsgi-py311.conf
rpm -U --nodeps --force /var/tmp/dist/mod_wsgi-py311-*.rpm
tail -n 1 /etc/httpd/conf.modules.d/10-wsgi-py311.conf | grep -x '# edited' && echo "RPM KEPT"
rpm -e mod_wsgi-py311
test ! -e /usr/lib64/httpd/modules/mod_wsgi-py311.so && test ! -e /etc/httpd/conf.modules.d/10-wsgi-py311.conf && echo "RPM REMOVED"
mkdir /var/tmp/alpine
tar -xzf /var/tmp/dist/apache2-mod-wsgi-py311-*.apk -C /var/tmp/alpine --warning=no-unknown-keyword
ln -s usr/lib/apache2 /var/tmp/alpine/modules
second /var/tmp/alpine/etc/apache2/conf.d/wsgi-py311.conf /var/tmp/alpine/etc/apache2/conf.d/wsgi-py399.conf
@PYTHON@ /var/tmp/try.py APK /var/tmp/alpine 'etc/apache2/conf.d/*.conf'
`)
}
