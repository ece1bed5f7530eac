"""The Python side of mod_wsgi.

Inside httpd the module adds to this package what it knows about the process:
version, process_group, application_group and more.  Outside it is empty.
"""
