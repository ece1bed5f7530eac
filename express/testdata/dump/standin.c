/* A stand-in for mod_wsgi (without STANDIN_HTTP2) or for mod_http2: it knows the
 * directives by name and takes any argument. With it httpd itself reads what the
 * launcher writes for a module that is not there. */
#include "httpd.h"
#include "http_config.h"
#include "http_request.h"
#include "ap_provider.h"
#include "mod_auth.h"

#ifdef STANDIN_HTTP2
module AP_MODULE_DECLARE_DATA http2_module = { STANDARD20_MODULE_STUFF, NULL, NULL, NULL, NULL, NULL, NULL };
#else
static const char *take(cmd_parms *cmd, void *conf, const char *args)
{
    return NULL;
}

#define TAKES(name) AP_INIT_RAW_ARGS(name, take, NULL, RSRC_CONF | ACCESS_CONF, "")

static const command_rec commands[] = {
    TAKES("WSGIAccessScript"), TAKES("WSGIAuthGroupScript"), TAKES("WSGIAuthUserScript"), TAKES("WSGICallableObject"),
    TAKES("WSGIChunkedRequest"), TAKES("WSGIDaemonProcess"), TAKES("WSGIDestroyInterpreter"), TAKES("WSGIEnableSendfile"),
    TAKES("WSGIErrorOverride"), TAKES("WSGIFreeThreading"), TAKES("WSGIHandlerScript"), TAKES("WSGIIgnoreActivity"),
    TAKES("WSGIImportScript"), TAKES("WSGIMapHEADToGET"), TAKES("WSGIPassAuthorization"), TAKES("WSGIPythonHome"),
    TAKES("WSGIPythonPath"), TAKES("WSGIPythonWarnings"), TAKES("WSGIRestrictEmbedded"), TAKES("WSGIRestrictStdin"),
    TAKES("WSGIScriptReloading"), TAKES("WSGIServerMetrics"), TAKES("WSGISlowRequests"), TAKES("WSGISocketPrefix"),
    TAKES("WSGISocketRotation"), TAKES("WSGISwitchInterval"), TAKES("WSGITelemetryOptions"), TAKES("WSGITelemetryService"),
    TAKES("WSGITrustedProxies"), TAKES("WSGITrustedProxyHeaders"),
    { NULL }
};

static authn_status password(request_rec *r, const char *user, const char *p) { return AUTH_DENIED; }
static authn_status hash(request_rec *r, const char *user, const char *realm, char **h) { return AUTH_DENIED; }
static authz_status group(request_rec *r, const char *line, const void *parsed) { return AUTHZ_DENIED; }

static const authn_provider users = { password, hash };
static const authz_provider groups = { group, NULL };

static void hooks(apr_pool_t *p)
{
    ap_register_auth_provider(p, AUTHN_PROVIDER_GROUP, "wsgi", AUTHN_PROVIDER_VERSION, &users, AP_AUTH_INTERNAL_PER_CONF);
    ap_register_auth_provider(p, AUTHZ_PROVIDER_GROUP, "wsgi-group", AUTHZ_PROVIDER_VERSION, &groups, AP_AUTH_INTERNAL_PER_CONF);
}

module AP_MODULE_DECLARE_DATA wsgi_module = { STANDARD20_MODULE_STUFF, NULL, NULL, NULL, NULL, commands, hooks };
#endif
