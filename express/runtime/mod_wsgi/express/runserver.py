"""The WSGI application of a Django project, as "manage.py runserver" serves it.

The variable DJANGO_SETTINGS_MODULE names the settings.  With DEBUG, static files come
from the applications, without collectstatic.  mod_wsgi-express serve loads this module.
"""

from django.conf import settings
from django.core.servers.basehttp import get_internal_wsgi_application

application = get_internal_wsgi_application()

if settings.DEBUG and "django.contrib.staticfiles" in settings.INSTALLED_APPS:
    from django.contrib.staticfiles.handlers import StaticFilesHandler

    application = StaticFilesHandler(application)
