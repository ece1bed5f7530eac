/*
 * mod_handover lets one httpd take over from another one without losing a connection.
 *
 * The launcher runs httpd and starts a second one when the first is to be replaced. Both
 * accept connections from the same sockets for a moment: the first hands its listening
 * sockets to the launcher, which hands them to the second. So nothing that waits in the
 * queue of a socket is lost, and addresses, ports and options of sockets stay httpd's
 * affair.
 *
 * The environment variable MOD_WSGI_HANDOVER has the numbers of inherited descriptors:
 *
 *   control   a socket (SOCK_SEQPACKET). httpd sends "L" each time it has opened its
 *             listening sockets, with their descriptors, and "R" when a signal asks it to
 *             restart: the launcher replaces it instead.
 *   gate      a pipe, or -1. Children accept no connection before it is readable or
 *             closed, so that the application can be loaded first.
 *   leave     a pipe, or -1. Once it has one byte, children close each connection after
 *             its next response; once it has two, they accept no further connection. A
 *             closed pipe means nothing: the launcher was killed, and httpd continues.
 *   board     memory that the launcher and all processes share (board_t), or -1
 *   ...       listening sockets of the httpd before
 *
 * Nothing is ever read from the pipes, so one byte reaches all children.
 *
 * On the board, httpd counts requests for the launcher, and keeps the slowest ones. It also answers requests for the
 * path of --health-path itself, with the state that the launcher writes there: before any
 * redirection or access control, and without the application.
 *
 * The environment variable MOD_WSGI_CHALLENGES has the path of a directory with what the
 * launcher has httpd answer to an authority that issues certificates (RFC 8555):
 *
 *   http-01/TOKEN           the answer to /.well-known/acme-challenge/TOKEN, on every
 *                           virtual host and before anything else
 *   tls-alpn-01/NAME.pem    the certificate and its key for clients that want to speak
 *                           acme-tls/1 with NAME (RFC 8737)
 */

#include "httpd.h"
#include "http_config.h"
#include "http_connection.h"
#include "http_core.h"
#include "http_log.h"
#include "http_protocol.h"
#if AP_MODULE_MAGIC_AT_LEAST(20120211, 104)
#include "http_ssl.h"
#endif
#include "ap_listen.h"
#include "ap_mpm.h"
#include "scoreboard.h"
#include "apr_lib.h"
#include "apr_poll.h"
#include "apr_portable.h"
#include "apr_strings.h"
#include "apr_thread_proc.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <pthread.h>
#include <signal.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#define VARIABLE "MOD_WSGI_HANDOVER"

/* As many descriptors as Linux passes in one message (SCM_MAX_FD). */
#define MOST 253

extern module AP_MODULE_DECLARE_DATA handover_module;

APLOG_USE_MODULE(handover);

#define BOUNDS 16

#define CLASSES 86 /* of durations, see class_of */

#define PERIOD 5    /* seconds */
#define PERIODS 13  /* a minute, and the present period */
#define SPAN 60     /* seconds whose slowest requests are kept together */
#define SPANS 6     /* five minutes, and the present span */
#define SLOWEST 10  /* requests of a span */
#define TEXT 176    /* bytes of a method and a path */
#define MOST_METHOD 16

/* Completed requests of a period. */
typedef struct {
    unsigned long number; /* of the period since the epoch */
    unsigned long failed; /* requests with a status of 500 or more */
    unsigned long times[CLASSES];
} period_t;

/* A slow request. Its serial number is odd while a process writes it. */
typedef struct {
    unsigned long serial;
    unsigned long at; /* its end, in seconds since the epoch */
    unsigned long took; /* microseconds */
    unsigned long status;
    char text[TEXT]; /* its method, a space, and its path without the query, to the first 0 */
} slow_t;

/* The slowest requests of a span of time. */
typedef struct {
    unsigned long number; /* of the span since the epoch */
    slow_t list[SLOWEST];
} span_t;

/* express/host/board_linux.go has the same. A word is as long as a pointer. */
typedef struct {
    /* written by the launcher */
    unsigned long state;          /* of the instance: an index of states */
    unsigned long bounds[BOUNDS]; /* of the classes of durations, in microseconds; 0 follows the last */
    unsigned long patience;       /* microseconds for the head of a request of a client that has no thread; 0 is no limit */
    /* written by httpd */
    unsigned long connections, begun, ended; /* connections, and requests that are known */
    unsigned long status[6];                 /* completed requests by the first digit of their status */
    unsigned long bytes, duration;           /* of completed requests, the latter in microseconds */
    unsigned long slow[BOUNDS + 1];          /* completed requests by class of duration */
    /* written by the launcher before httpd starts */
    char health[256]; /* path, or empty */
    /* written by httpd */
    unsigned long times[CLASSES]; /* all completed requests */
    period_t periods[PERIODS];
    span_t spans[SPANS];
} board_t;

static const char *const states[] = { "starting", "ready", "draining", "failed" };

#define READY 1

/* This survives a restart of httpd, which unloads the module and loads it again. */
typedef struct {
    int control, gate, leave, board;
    board_t *mapped;
    int given; /* number of sockets that were inherited and are not in use yet */
    int sockets[MOST];
} handover_t;

static handover_t *state;

static volatile int leaving;

/* What the signals that restart httpd did before this module took them. */
static struct {
    int number;
    struct sigaction before;
} restarts[] = { { SIGHUP, { { 0 } } }, { SIGUSR1, { { 0 } } } };

#define RESTARTS (sizeof(restarts) / sizeof(restarts[0]))

static volatile int taken;
static pid_t parent;
static int control = -1;

static void keep_from_programs(int fd)
{
    if (fd >= 0) {
        fcntl(fd, F_SETFD, FD_CLOEXEC);
    }
}

/* Returns the state, and reads the variable when httpd has just been started. */
static handover_t *find_state(void)
{
    const char *text;
    char *end;
    int field = 0;
    handover_t *h = ap_retained_data_get("mod_handover");

    if (h) {
        return h;
    }
    h = ap_retained_data_create("mod_handover", sizeof(*h));
    h->control = h->gate = h->leave = h->board = -1;
    text = getenv(VARIABLE);
    while (text && *text && h->given < MOST) {
        int fd = (int)strtol(text, &end, 10);
        if (end == text) {
            break;
        }
        text = end;
        keep_from_programs(fd);
        switch (field++) {
        case 0:
            h->control = fd;
            break;
        case 1:
            h->gate = fd;
            break;
        case 2:
            h->leave = fd;
            break;
        case 3:
            h->board = fd;
            break;
        default:
            h->sockets[h->given++] = fd;
        }
    }
    unsetenv(VARIABLE); /* the application's processes inherit the environment */
    return h;
}

/* Only httpd's first process may speak to the launcher: the application runs in the
 * others, and the launcher may be root's. */
static void in_child(void)
{
    if (control >= 0) {
        close(control);
        control = -1;
    }
}

/* Reports whether a descriptor is a socket that is bound to an address. */
static int is_bound_to(int fd, const apr_sockaddr_t *wanted, struct sockaddr_storage *at, socklen_t *length)
{
    *length = sizeof(*at);
    if (getsockname(fd, (struct sockaddr *)at, length) != 0 || at->ss_family != wanted->sa.sin.sin_family) {
        return 0;
    }
    if (at->ss_family == AF_INET) {
        const struct sockaddr_in *a = (const struct sockaddr_in *)at, *b = &wanted->sa.sin;
        return a->sin_port == b->sin_port && a->sin_addr.s_addr == b->sin_addr.s_addr;
    }
#if APR_HAVE_IPV6
    if (at->ss_family == AF_INET6) {
        const struct sockaddr_in6 *a = (const struct sockaddr_in6 *)at, *b = &wanted->sa.sin6;
        return a->sin6_port == b->sin6_port && a->sin6_scope_id == b->sin6_scope_id
            && memcmp(&a->sin6_addr, &b->sin6_addr, sizeof(a->sin6_addr)) == 0;
    }
#endif
    return 0;
}

/* A socket for all IPv6 addresses usually gets the connections to all IPv4 addresses, too,
 * and httpd does not open one for those then. If it got the former here, it would first try
 * to open both again. */
static int takes_ipv4(const ap_listen_rec *lr)
{
#if APR_HAVE_IPV6
    apr_os_sock_t fd;
    int only = 1;
    socklen_t length = sizeof(only);

    return lr->active && lr->bind_addr && lr->bind_addr->family == APR_INET6
        && IN6_IS_ADDR_UNSPECIFIED(&lr->bind_addr->sa.sin6.sin6_addr) && apr_os_sock_get(&fd, lr->sd) == APR_SUCCESS
        && getsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &only, &length) == 0 && !only;
#else
    return 0;
#endif
}

static void leave_out_ipv4(void)
{
    ap_listen_rec **at, *six;

    for (six = ap_listeners; six; six = six->next) {
        if (!takes_ipv4(six)) {
            continue;
        }
        at = &ap_listeners;
        while (*at) {
            const ap_listen_rec *lr = *at;
            if (!lr->active && lr->bind_addr && lr->bind_addr->family == APR_INET && lr->bind_addr->port == six->bind_addr->port
                && lr->bind_addr->sa.sin.sin_addr.s_addr == INADDR_ANY) {
                apr_socket_close(lr->sd); /* not bound to anything */
                *at = lr->next;
            } else {
                at = &(*at)->next;
            }
        }
    }
}

/* Gives inherited sockets to the listeners that have none yet, before the MPM opens new
 * ones: it leaves alone a listener that is active. */
static int adopt(apr_pool_t *pconf, apr_pool_t *plog, apr_pool_t *ptemp, server_rec *s)
{
    ap_listen_rec *lr;
    int k;

    state = find_state();
    for (lr = ap_listeners; lr; lr = lr->next) {
        for (k = 0; !lr->active && lr->bind_addr && k < state->given; k++) {
            struct sockaddr_storage at;
            socklen_t length;
            apr_os_sock_info_t info;
            apr_socket_t *socket = NULL;

            if (!is_bound_to(state->sockets[k], lr->bind_addr, &at, &length)) {
                continue;
            }
            memset(&info, 0, sizeof(info));
            info.os_sock = &state->sockets[k];
            info.local = (struct sockaddr *)&at;
            info.family = at.ss_family;
            info.type = SOCK_STREAM;
            info.protocol = APR_PROTO_TCP;
            if (apr_os_sock_make(&socket, &info, s->process->pool) != APR_SUCCESS) {
                return HTTP_INTERNAL_SERVER_ERROR;
            }
            apr_socket_close(lr->sd); /* not bound to anything */
            lr->sd = socket;
            lr->active = 1;
            lr->accept_func = NULL;
            state->sockets[k] = state->sockets[--state->given];
        }
    }
    leave_out_ipv4();
    return OK;
}

/* Sends the listening sockets to the launcher. */
static void send_listeners(server_rec *s)
{
    union {
        struct cmsghdr header;
        char space[CMSG_SPACE(sizeof(int) * MOST)];
    } control;
    struct msghdr message;
    struct iovec text;
    ap_listen_rec *lr;
    int fds[MOST], count = 0;
    char word = 'L';

    for (lr = ap_listeners; lr; lr = lr->next) {
        apr_os_sock_t fd;
        if (!lr->active || apr_os_sock_get(&fd, lr->sd) != APR_SUCCESS) {
            continue;
        }
        if (count == MOST) {
            ap_log_error(APLOG_MARK, APLOG_WARNING, 0, s,
                         "mod_handover: more than %d listening sockets: the next reload restarts httpd", MOST);
            return;
        }
        fds[count++] = fd;
    }
    if (count == 0) {
        return;
    }
    memset(&message, 0, sizeof(message));
    memset(&control, 0, sizeof(control));
    text.iov_base = &word;
    text.iov_len = 1;
    message.msg_iov = &text;
    message.msg_iovlen = 1;
    message.msg_control = control.space;
    message.msg_controllen = CMSG_SPACE(sizeof(int) * count);
    control.header.cmsg_level = SOL_SOCKET;
    control.header.cmsg_type = SCM_RIGHTS;
    control.header.cmsg_len = CMSG_LEN(sizeof(int) * count);
    memcpy(CMSG_DATA(&control.header), fds, sizeof(int) * count);
    while (sendmsg(state->control, &message, MSG_DONTWAIT | MSG_NOSIGNAL) < 0) {
        if (errno != EINTR) {
            ap_log_error(APLOG_MARK, APLOG_WARNING, errno, s,
                         "mod_handover: the launcher does not get the listening sockets: the next reload restarts httpd");
            return;
        }
    }
}

#ifdef AP_MPMQ_CAN_WAITIO
static int can_wait; /* the MPM waits for connections when a module asks for it */
#endif

static void map_board(void)
{
    void *at;

    /* lseek, and not fstat: that one needs glibc 2.33, and with it the wheel would. */
    if (state->mapped || state->board < 0 || lseek(state->board, 0, SEEK_END) < (off_t)sizeof(board_t)) {
        return;
    }
    at = mmap(NULL, sizeof(board_t), PROT_READ | PROT_WRITE, MAP_SHARED, state->board, 0);
    if (at != MAP_FAILED) {
        state->mapped = at;
        close(state->board);
        state->board = -1;
    }
}

static void add(unsigned long *to, unsigned long n)
{
    __atomic_fetch_add(to, n, __ATOMIC_RELAXED);
}

static int opened(apr_pool_t *pconf, apr_pool_t *plog, apr_pool_t *ptemp, server_rec *s)
{
    if (ap_state_query(AP_SQ_MAIN_STATE) == AP_SQ_MS_CREATE_PRE_CONFIG) {
        return OK; /* httpd reads its configuration twice when it starts */
    }
    while (state->given > 0) { /* the new configuration does not have them */
        close(state->sockets[--state->given]);
    }
    map_board();
#ifdef AP_MPMQ_CAN_WAITIO
    if (ap_mpm_query(AP_MPMQ_CAN_WAITIO, &can_wait) != APR_SUCCESS) {
        can_wait = 0;
    }
#endif
    parent = getpid();
    control = state->control;
    if (control >= 0) {
        if (pthread_atfork(NULL, NULL, in_child) != 0) { /* the loader undoes it with the module */
            return HTTP_INTERNAL_SERVER_ERROR;
        }
        send_listeners(s);
    }
    return OK;
}

/* Waits until a pipe is readable, or its other end is closed, and reports which. */
static int is_readable(int fd, apr_pool_t *pool)
{
    apr_os_file_t number = fd;
    apr_file_t *file = NULL;
    apr_pollfd_t p;
    apr_int32_t ready;
    apr_status_t rv = apr_os_file_put(&file, &number, APR_FOPEN_READ, pool);

    memset(&p, 0, sizeof(p));
    p.p = pool;
    p.desc_type = APR_POLL_FILE;
    p.reqevents = APR_POLLIN;
    p.desc.f = file;
    while (rv == APR_SUCCESS || APR_STATUS_IS_EINTR(rv)) {
        rv = apr_poll(&p, 1, &ready, -1);
        if (rv == APR_SUCCESS && ready > 0) {
            return (p.rtnevents & APR_POLLIN) != 0;
        }
    }
    return 0;
}

/* What accepted connections before this module did. */
static accept_function accept_before;

/* Reports whether the launcher has asked this httpd to accept no more connections. */
static int is_asked_to_leave(void)
{
    int bytes = 0;

    return state->leave >= 0 && ioctl(state->leave, FIONREAD, &bytes) == 0 && bytes >= 2;
}

/* Accepts a connection unless httpd leaves. Then the socket stays readable until a child
 * of the next httpd has accepted the connection. */
static apr_status_t accept_unless_leaving(void **accepted, ap_listen_rec *lr, apr_pool_t *pool)
{
    if (!is_asked_to_leave()) {
        return accept_before(accepted, lr, pool);
    }
    *accepted = NULL;
    apr_sleep(1000); /* microseconds */
    return APR_EAGAIN;
}

/* Asks the launcher to replace httpd. If that is not there any more, httpd restarts. */
static void on_restart(int number)
{
    size_t k;
    int error = errno;

    if (getpid() != parent) {
        return; /* a new child, which has not set its own handler yet */
    }
    if (send(control, "R", 1, MSG_DONTWAIT | MSG_NOSIGNAL) != 1) {
        for (k = 0; k < RESTARTS; k++) {
            sigaction(restarts[k].number, &restarts[k].before, NULL);
        }
        raise(number);
    }
    errno = error;
}

/* The MPM sets its handlers after all hooks of a start. The next thing that happens is its
 * message that it is ready, which is logged at every level. */
static void take_signals(const ap_errorlog_info *info, const char *text)
{
    struct sigaction ours;
    size_t k;

    if (taken || !parent || control < 0 || getpid() != parent
        || ap_state_query(AP_SQ_MAIN_STATE) != AP_SQ_MS_RUN_MPM || !strstr(text, "resuming normal operations")) {
        return;
    }
    taken = 1;
    memset(&ours, 0, sizeof(ours));
    ours.sa_handler = on_restart;
    sigemptyset(&ours.sa_mask);
    for (k = 0; k < RESTARTS; k++) {
        sigaction(restarts[k].number, &ours, &restarts[k].before);
    }
}

/* The MPM chooses what accepts connections after all hooks of a child's start. */
static void *APR_THREAD_FUNC wait_to_leave(apr_thread_t *thread, void *unused)
{
    ap_listen_rec *lr;

    for (lr = ap_listeners; lr; lr = lr->next) {
        while (!lr->accept_func) {
            apr_sleep(1000);
        }
        accept_before = lr->accept_func;
        lr->accept_func = accept_unless_leaving;
    }
    if (is_readable(state->leave, apr_thread_pool_get(thread))) {
        leaving = 1;
    }
    return NULL;
}

static void begin(apr_pool_t *pchild, server_rec *s)
{
    apr_thread_t *thread;
    apr_status_t rv;
    ap_listen_rec *lr;

    if (state->gate >= 0) {
        is_readable(state->gate, pchild);
    }
    if (state->leave < 0) {
        return;
    }
    if (is_asked_to_leave()) {
        _exit(0); /* httpd replaces one of its children although it leaves */
    }
    for (lr = ap_listeners; lr; lr = lr->next) {
        lr->accept_func = NULL;
    }
    rv = apr_thread_create(&thread, NULL, wait_to_leave, NULL, pchild);
    if (rv != APR_SUCCESS) {
        ap_log_error(APLOG_MARK, APLOG_WARNING, rv, s,
                     "mod_handover: no thread: this process takes connections until it is ended");
    }
}

/* What a request of httpd is marked with: counted in begun, or not counted at all. */
static char known, silent;

static int read_request(request_rec *r)
{
    if (leaving) {
        r->connection->keepalive = AP_CONN_CLOSE;
    }
    if (state->mapped && !r->main && !r->prev) {
        add(&state->mapped->begun, 1);
        ap_set_module_config(r->request_config, &handover_module, &known);
    }
    return DECLINED;
}

static int connected(conn_rec *c, void *socket)
{
#if AP_MODULE_MAGIC_AT_LEAST(20120211, 116)
    if (c->outgoing) {
        return OK; /* to another server, by mod_proxy */
    }
#endif
    if (state && state->mapped && !c->master) {
        add(&state->mapped->connections, 1);
    }
    return OK;
}

/* Answers a request for the path of --health-path, or for /live below it, which asks only
 * whether httpd answers. */
static int answer_health(request_rec *r, int lookup)
{
    const board_t *board = state ? state->mapped : NULL;
    unsigned long now;
    size_t length;
    int live;

    if (lookup || !board || r->method_number != M_GET || !board->health[0] || !r->uri) {
        return DECLINED;
    }
    length = strnlen(board->health, sizeof(board->health));
    if (strncmp(r->uri, board->health, length) != 0) {
        return DECLINED;
    }
    live = strcmp(r->uri + length, "/live") == 0;
    if (!live && r->uri[length]) {
        return DECLINED;
    }
    now = __atomic_load_n(&board->state, __ATOMIC_RELAXED);
    if (now >= sizeof(states) / sizeof(states[0])) {
        now = 0;
    }
    if (!r->main && !r->prev) {
        add(&state->mapped->ended, 1);
        ap_set_module_config(r->request_config, &handover_module, &silent);
    }
    if (now != READY && !live) {
        r->status = HTTP_SERVICE_UNAVAILABLE;
    }
    ap_set_content_type(r, "text/plain; charset=utf-8");
    apr_table_setn(r->headers_out, "Cache-Control", "no-store");
    ap_rputs(live ? "live" : states[now], r);
    ap_rputs("\n", r);
    return OK;
}

/* Returns the class of a duration in microseconds: four for each power of two from 64 on, the
 * first for everything below, and the last for two minutes and more. */
static int class_of(unsigned long took)
{
    int power;

    if (took < 64) {
        return 0;
    }
    power = (int)sizeof(took) * 8 - 1 - __builtin_clzl(took);
    power = 1 + (power - 6) * 4 + (int)((took >> (power - 2)) & 3);
    return power < CLASSES - 1 ? power : CLASSES - 1;
}

/* Empties what an earlier period or span has left in the place of the present one. What
 * other processes count at the same moment may be lost: these numbers are for display. */
static void begin_anew(unsigned long *number, unsigned long now, void *rest, size_t length)
{
    unsigned long was = __atomic_load_n(number, __ATOMIC_RELAXED);

    if (was != now && __atomic_compare_exchange_n(number, &was, now, 0, __ATOMIC_RELAXED, __ATOMIC_RELAXED)) {
        memset(rest, 0, length);
    }
}

/* Writes the method and the path of a request into TEXT bytes. A client chooses both. */
static void describe(const request_rec *r, char *text)
{
    const char *path = r->unparsed_uri ? r->unparsed_uri : "", *after;
    const char *method = r->method ? r->method : "-";
    size_t length = strnlen(method, MOST_METHOD);

    memcpy(text, method, length);
    text[length++] = ' ';
    if (*path != '/' && (after = strstr(path, "://")) != NULL) { /* the rest may contain a password */
        path = after + 3 + strcspn(after + 3, "/?#");
    }
    after = path + strcspn(path, "?#");
    if ((size_t)(after - path) >= TEXT - length) {
        after = path + (TEXT - 1 - length);
    }
    memcpy(text + length, path, (size_t)(after - path));
    text[length + (size_t)(after - path)] = 0;
}

/* Keeps a request if it is one of the slowest of its span, and the slowest one of its
 * method and path. Without a lock: a process that is killed meanwhile leaves one entry that
 * is not used before the next span in its place, and two processes may keep the same path. */
static void keep_slow(span_t *span, const request_rec *r, unsigned long now, unsigned long took, int status)
{
    char text[TEXT];
    unsigned long serial;
    slow_t *least = NULL;
    int k;

    begin_anew(&span->number, now / SPAN, span->list, sizeof(span->list));
    for (k = 0; k < SLOWEST; k++) {
        slow_t *one = &span->list[k];
        if (!least || one->took < least->took) {
            least = one;
        }
    }
    if (took <= least->took) {
        return; /* nearly always */
    }
    memset(text, 0, sizeof(text));
    describe(r, text);
    for (k = 0; k < SLOWEST; k++) {
        slow_t *one = &span->list[k];
        if (strncmp(one->text, text, TEXT) == 0) {
            if (took <= one->took) {
                return;
            }
            least = one;
        }
    }
    serial = __atomic_load_n(&least->serial, __ATOMIC_RELAXED);
    if ((serial & 1) || !__atomic_compare_exchange_n(&least->serial, &serial, serial + 1, 0, __ATOMIC_ACQUIRE, __ATOMIC_RELAXED)) {
        return; /* another process writes it */
    }
    __atomic_thread_fence(__ATOMIC_RELEASE);
    least->at = now;
    least->took = took;
    least->status = (unsigned long)status;
    memcpy(least->text, text, TEXT);
    __atomic_store_n(&least->serial, serial + 2, __ATOMIC_RELEASE);
}

/* Counts a request for the distribution of durations. */
static void count_time(board_t *board, const request_rec *r, unsigned long now, unsigned long took, int status)
{
    period_t *period = &board->periods[now / PERIOD % PERIODS];
    int k = class_of(took);

    add(&board->times[k], 1);
    begin_anew(&period->number, now / PERIOD, &period->failed, sizeof(*period) - offsetof(period_t, failed));
    add(&period->times[k], 1);
    if (status >= 500) {
        add(&period->failed, 1);
    }
    keep_slow(&board->spans[now / SPAN % SPANS], r, now, took, status);
}

static int count(request_rec *r)
{
    board_t *board = state ? state->mapped : NULL;
    const void *mark = r->request_config ? ap_get_module_config(r->request_config, &handover_module) : NULL;
    const request_rec *last = r;
    apr_time_t now = apr_time_now(), took = now - r->request_time;
    int k;

    if (!board || mark == &silent) {
        return DECLINED;
    }
    if (mark == &known) {
        add(&board->ended, 1);
    }
    while (last->next) { /* an internal redirection */
        last = last->next;
    }
    k = last->status / 100;
    add(&board->status[k > 0 && k < 6 ? k : 0], 1);
    add(&board->bytes, (unsigned long)last->bytes_sent);
    took = took > 0 ? took : 0;
    add(&board->duration, (unsigned long)took);
    for (k = 0; k < BOUNDS && board->bounds[k] && took > (apr_time_t)board->bounds[k]; k++) {
    }
    add(&board->slow[k], 1);
    count_time(board, r, (unsigned long)apr_time_sec(now), (unsigned long)took, last->status);
    return DECLINED;
}

#ifdef AP_MPMQ_CAN_WAITIO

/* A client that sends the head of its request slowly would occupy a thread meanwhile. While
 * more than a quarter of the threads of a process are busy, the MPM waits for such clients
 * instead, as it does for idle ones, and a thread only takes what has arrived. The rest is
 * for requests: httpd closes idle connections when no thread is left. */

#define MOST_HEAD 16384 /* bytes; a longer head is left to httpd and its limits */

typedef struct {
    apr_bucket_brigade *head; /* what has arrived and nobody has read yet */
    ap_filter_t *filter;
    apr_time_t until; /* for the rest of the head; 0 for no limit */
    int waits;
} early_t;

static ap_filter_rec_t *early_handle;

/* Gives what has been read early to the filters above, before anything else. */
static apr_status_t read_early(ap_filter_t *f, apr_bucket_brigade *bb, ap_input_mode_t mode,
                               apr_read_type_e block, apr_off_t bytes)
{
    early_t *e = f->ctx;
    apr_bucket *b, *after, *copy;
    apr_status_t rv;
    const char *text;
    apr_size_t length, k;

    if (mode == AP_MODE_EATCRLF) {
        while (!APR_BRIGADE_EMPTY(e->head)) {
            b = APR_BRIGADE_FIRST(e->head);
            if ((rv = apr_bucket_read(b, &text, &length, APR_NONBLOCK_READ)) != APR_SUCCESS) {
                return rv;
            }
            for (k = 0; k < length && (text[k] == '\r' || text[k] == '\n'); k++) {
            }
            if (k < length) {
                return APR_SUCCESS;
            }
            apr_bucket_delete(b);
        }
    }
    if (mode == AP_MODE_INIT || APR_BRIGADE_EMPTY(e->head)) {
        return ap_get_brigade(f->next, bb, mode, block, bytes);
    }
    switch (mode) {
    case AP_MODE_GETLINE:
        return apr_brigade_split_line(bb, e->head, APR_NONBLOCK_READ, HUGE_STRING_LEN);
    case AP_MODE_EXHAUSTIVE:
        APR_BRIGADE_CONCAT(bb, e->head);
        return ap_get_brigade(f->next, bb, mode, block, bytes);
    default:
        rv = apr_brigade_partition(e->head, bytes, &after);
        if (rv != APR_SUCCESS && rv != APR_INCOMPLETE) {
            return rv;
        }
        for (b = APR_BRIGADE_FIRST(e->head); b != after && b != APR_BRIGADE_SENTINEL(e->head);) {
            apr_bucket *next = APR_BUCKET_NEXT(b);
            if (mode == AP_MODE_SPECULATIVE) {
                if ((rv = apr_bucket_copy(b, &copy)) != APR_SUCCESS) {
                    return rv;
                }
                APR_BRIGADE_INSERT_TAIL(bb, copy);
            } else {
                APR_BUCKET_REMOVE(b);
                APR_BRIGADE_INSERT_TAIL(bb, b);
            }
            b = next;
        }
        return APR_SUCCESS;
    }
}

/* Reports whether more than a quarter of this process's threads are busy. */
static int is_busy(void)
{
    static apr_time_t looked; /* each is written by any thread; a wrong answer does no harm */
    static int busy, slot = -1;
    apr_time_t now = apr_time_now();
    int threads, k, n = 0;

    if (looked && now - looked < apr_time_from_msec(1)) {
        return busy;
    }
    looked = now;
    if (ap_mpm_query(AP_MPMQ_MAX_THREADS, &threads) != APR_SUCCESS) {
        return 0;
    }
    if (slot < 0 || ap_get_scoreboard_process(slot)->pid != getpid()) {
        int most;
        slot = -1;
        if (ap_mpm_query(AP_MPMQ_HARD_LIMIT_DAEMONS, &most) == APR_SUCCESS) {
            for (k = 0; k < most && slot < 0; k++) {
                if (ap_get_scoreboard_process(k)->pid == getpid()) {
                    slot = k;
                }
            }
        }
        if (slot < 0) {
            return 0;
        }
    }
    for (k = 0; k < threads; k++) {
        const worker_score *w = ap_get_scoreboard_worker_from_indexes(slot, k);
        n += w && w->status != SERVER_READY && w->status != SERVER_DEAD && w->status != SERVER_STARTING;
    }
    busy = n > threads / 4;
    return busy;
}

/* Reports whether a text has the whole head of a request. */
static int is_complete(const char *text, apr_size_t length)
{
    apr_size_t begin, k, p;
    int first = 0;

    for (begin = 0; begin < length && (text[begin] == '\r' || text[begin] == '\n'); begin++) {
    }
    for (k = begin; k < length; k++) {
        if (text[k] != '\n') {
            continue;
        }
        if (k + 1 < length && (text[k + 1] == '\n' || (text[k + 1] == '\r' && k + 2 < length && text[k + 2] == '\n'))) {
            return 1;
        }
        if (!first) {
            first = 1;
            for (p = begin; p + 6 <= k && strncmp(text + p, " HTTP/", 6) != 0; p++) {
            }
            if (p + 6 > k) {
                return 1; /* a request of HTTP/0.9, or none at all, has nothing but its line */
            }
        }
    }
    return 0;
}

static int await_head(conn_rec *c)
{
    early_t *e;
    apr_bucket_brigade *bb;
    apr_status_t rv;
    char text[MOST_HEAD];
    apr_size_t length;
    apr_time_t now;

    if (!can_wait || c->master || c->aborted || !c->cs || c->clogging_input_filters) {
        return DECLINED;
    }
    e = ap_get_module_config(c->conn_config, &handover_module);
    if (!(e && e->waits) && !is_busy()) {
        return DECLINED;
    }
    if (!e) {
        e = apr_pcalloc(c->pool, sizeof(*e));
        e->head = apr_brigade_create(c->pool, c->bucket_alloc);
        e->filter = ap_add_input_filter_handle(early_handle, e, NULL, c);
        ap_set_module_config(c->conn_config, &handover_module, e);
    }
    now = apr_time_now();
    if (!e->waits) {
        e->waits = 1;
        e->until = state->mapped && state->mapped->patience ? now + (apr_time_t)state->mapped->patience : 0;
    }
    bb = apr_brigade_create(c->pool, c->bucket_alloc);
    for (;;) {
        length = sizeof(text);
        apr_brigade_flatten(e->head, text, &length);
        if (length == sizeof(text) || is_complete(text, length)) {
            break;
        }
        rv = ap_get_brigade(e->filter->next, bb, AP_MODE_READBYTES, APR_NONBLOCK_READ, sizeof(text) - length);
        if (rv != APR_SUCCESS && !APR_STATUS_IS_EAGAIN(rv)) {
            break; /* httpd gets the same error */
        }
        if (APR_BRIGADE_EMPTY(bb)) {
            apr_brigade_destroy(bb);
            if (e->until && now >= e->until) {
                apr_table_setn(c->notes, "short-lingering-close", "1");
                c->cs->state = CONN_STATE_LINGER;
                return OK;
            }
            c->cs->state = CONN_STATE_ASYNC_WAITIO;
            c->cs->sense = CONN_SENSE_WANT_READ;
            return OK;
        }
        if (APR_BUCKET_IS_EOS(APR_BRIGADE_LAST(bb))) {
            break;
        }
        length = sizeof(text);
        if (apr_brigade_flatten(bb, text, &length) != APR_SUCCESS || apr_brigade_write(e->head, NULL, NULL, text, length) != APR_SUCCESS) {
            break;
        }
        apr_brigade_cleanup(bb);
    }
    apr_brigade_destroy(bb);
    e->waits = 0;
    return DECLINED;
}

#endif

#define MOST_ANSWER 16384 /* bytes */

/* Returns the contents of a file of the directory that MOD_WSGI_CHALLENGES names, NULL if it
 * does not exist. The name comes from a client. */
static const char *answer_in(apr_pool_t *pool, const char *kind, const char *name, const char *suffix)
{
    const char *directory = getenv("MOD_WSGI_CHALLENGES");
    const char *path, *c;
    apr_file_t *file;
    apr_size_t length = MOST_ANSWER;
    char *text;

    if (!directory || !name || !*name || *name == '.') {
        return NULL;
    }
    for (c = name; *c; c++) {
        if (!apr_isalnum(*c) && *c != '-' && *c != '_' && *c != '.') {
            return NULL;
        }
    }
    if (c - name > 253) {
        return NULL;
    }
    path = apr_pstrcat(pool, directory, "/", kind, "/", name, suffix, NULL);
    if (apr_file_open(&file, path, APR_FOPEN_READ, APR_FPROT_OS_DEFAULT, pool) != APR_SUCCESS) {
        return NULL;
    }
    text = apr_pcalloc(pool, MOST_ANSWER + 1);
    if (apr_file_read_full(file, text, length, &length) != APR_SUCCESS && length == 0) {
        text = NULL;
    }
    apr_file_close(file);
    return text;
}

/* Answers an authority's question for a name by HTTP (RFC 8555, section 8.3). */
static int answer_authority(request_rec *r, int lookup)
{
    static const char path[] = "/.well-known/acme-challenge/";
    const char *text;

    if (lookup || r->method_number != M_GET || !r->uri || strncmp(r->uri, path, sizeof(path) - 1) != 0) {
        return DECLINED;
    }
    text = answer_in(r->pool, "http-01", r->uri + sizeof(path) - 1, "");
    if (!text) {
        return DECLINED; /* the application may have such a path, too */
    }
    ap_set_content_type(r, "application/octet-stream");
    apr_table_setn(r->headers_out, "Cache-Control", "no-store");
    ap_rputs(text, r);
    return OK;
}

#if AP_MODULE_MAGIC_AT_LEAST(20120211, 104)

#define ACME_TLS "acme-tls/1"

static int propose_acme(conn_rec *c, request_rec *r, server_rec *s, const apr_array_header_t *offers, apr_array_header_t *proposals)
{
    if (!r && getenv("MOD_WSGI_CHALLENGES") && ap_array_str_contains(offers, ACME_TLS)) {
        APR_ARRAY_PUSH(proposals, const char *) = ACME_TLS;
        return OK;
    }
    return DECLINED;
}

static int switch_to_acme(conn_rec *c, request_rec *r, server_rec *s, const char *protocol)
{
    if (r || strcmp(protocol, ACME_TLS) != 0) {
        return DECLINED;
    }
    c->keepalive = AP_CONN_CLOSE; /* nothing but the handshake is of interest */
    return OK;
}

/* Gives mod_ssl the certificate that proves the control of a name (RFC 8737). mod_ssl asks
 * after a switch to a protocol other than h2. */
static int answer_handshake(conn_rec *c, const char *name, const char **certificate, const char **key)
{
    char *lower;

    if (!name || c->keepalive != AP_CONN_CLOSE) {
        return DECLINED;
    }
    lower = apr_pstrdup(c->pool, name);
    ap_str_tolower(lower);
    *certificate = answer_in(c->pool, "tls-alpn-01", lower, ".pem");
    *key = NULL; /* in the same text */
    return *certificate ? OK : DECLINED;
}

#endif

static void hooks(apr_pool_t *pool)
{
#ifdef AP_MPMQ_CAN_WAITIO
    static const char *const before[] = { "mod_ssl.c", "mod_http2.c", NULL };

    early_handle = ap_register_input_filter("HANDOVER_EARLY", read_early, NULL, AP_FTYPE_CONNECTION + 4); /* above mod_ssl */
    ap_hook_process_connection(await_head, before, NULL, APR_HOOK_LAST);
#endif
    ap_hook_open_logs(adopt, NULL, NULL, APR_HOOK_REALLY_FIRST - 1);
    ap_hook_post_config(opened, NULL, NULL, APR_HOOK_REALLY_FIRST);
    ap_hook_error_log(take_signals, NULL, NULL, APR_HOOK_REALLY_LAST);
    ap_hook_child_init(begin, NULL, NULL, APR_HOOK_REALLY_LAST);
    ap_hook_pre_connection(connected, NULL, NULL, APR_HOOK_MIDDLE);
    ap_hook_post_read_request(read_request, NULL, NULL, APR_HOOK_FIRST);
    ap_hook_quick_handler(answer_health, NULL, NULL, APR_HOOK_REALLY_FIRST);
    ap_hook_quick_handler(answer_authority, NULL, NULL, APR_HOOK_REALLY_FIRST);
#if AP_MODULE_MAGIC_AT_LEAST(20120211, 104)
    ap_hook_protocol_propose(propose_acme, NULL, NULL, APR_HOOK_MIDDLE);
    ap_hook_protocol_switch(switch_to_acme, NULL, NULL, APR_HOOK_MIDDLE);
    ap_hook_ssl_answer_challenge(answer_handshake, NULL, NULL, APR_HOOK_MIDDLE);
#endif
    ap_hook_log_transaction(count, NULL, NULL, APR_HOOK_MIDDLE);
}

module AP_MODULE_DECLARE_DATA handover_module = {
    STANDARD20_MODULE_STUFF,
    NULL,
    NULL,
    NULL,
    NULL,
    NULL,
    hooks
};
