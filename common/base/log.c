#include "base/log.h"

#include "base/clock.h"

#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

static const char *const NAMES[] = {"error", "warn", "info", "detail", "debug"};
static const int SYSLOG_LEVEL[] = {3, 4, 6, 6, 7}; /* as sd-daemon(3) prefixes */

static _Atomic int max_level = OBV_LOG_INFO;
static _Atomic int out_fd = STDERR_FILENO;
static _Thread_local obv_log_context context;

void obv_log_set_level(obv_log_level level) { atomic_store(&max_level, (int)level); }

bool obv_log_enabled(obv_log_level level)
{
    return (int)level <= atomic_load_explicit(&max_level, memory_order_relaxed);
}

void obv_log_set_fd(int fd) { atomic_store(&out_fd, fd); }

obv_code obv_log_level_parse(const char *text, obv_log_level *out, obv_err *err)
{
    for (unsigned i = 0; i < sizeof NAMES / sizeof *NAMES; i++) {
        if (strcmp(text, NAMES[i]) == 0) {
            *out = (obv_log_level)i;
            return OBV_OK;
        }
    }
    return obv_fail(err, OBV_E_INVAL, 0, "log level '%.20s': error, warn, info, detail or debug", text);
}

void obv_log_context_set(const char *job, const char *tenant, const char *set)
{
    (void)snprintf(context.job, sizeof context.job, "%s", job ? job : "");
    (void)snprintf(context.tenant, sizeof context.tenant, "%s", tenant ? tenant : "");
    (void)snprintf(context.set, sizeof context.set, "%s", set ? set : "");
}

void obv_log_context_work(const char *task, const char *pg)
{
    (void)snprintf(context.task, sizeof context.task, "%s", task ? task : "");
    (void)snprintf(context.pg, sizeof context.pg, "%s", pg ? pg : "");
}

obv_log_context obv_log_context_get(void) { return context; }
void obv_log_context_put(const obv_log_context *c) { context = *c; }

/* One line under construction; what does not fit is cut. */
struct line {
    char text[OBV_LOG_LINE_MAX];
    size_t len;
};
#define LINE_ROOM (OBV_LOG_LINE_MAX - 8) /* leaves place for `..."` and the line feed */

static void put(struct line *l, const char *s, size_t n)
{
    const size_t room = LINE_ROOM - l->len;
    memcpy(l->text + l->len, s, n < room ? n : room);
    l->len += n < room ? n : room;
}

/* key="value" with quotes, backslashes and control bytes escaped, so that no text can forge a line or a field. */
static void put_quoted(struct line *l, const char *key, const char *value)
{
    put(l, key, strlen(key));
    put(l, "=\"", 2);
    for (const char *p = value; *p; p++) {
        char escaped[5];
        size_t n = 1;
        escaped[0] = *p;
        if (*p == '"' || *p == '\\' || *p == '\n') {
            const char name = *p;
            escaped[0] = '\\';
            escaped[1] = 'n';
            if (name != '\n')
                escaped[1] = name;
            n = 2;
        } else if ((unsigned char)*p < 0x20 || *p == 0x7f) {
            n = (size_t)snprintf(escaped, sizeof escaped, "\\x%02x", (unsigned)(unsigned char)*p);
        }
        if (n > LINE_ROOM - l->len) {
            memcpy(l->text + l->len, "...", 3); /* beyond LINE_ROOM by intent */
            l->len += 3;
            break;
        }
        put(l, escaped, n);
    }
    l->text[l->len++] = '"';
}

static void put_context(struct line *l, const char *key, const char *value)
{
    if (value[0] && l->len < LINE_ROOM) {
        put(l, " ", 1);
        put_quoted(l, key, value);
    }
}

static void begin(struct line *l, obv_log_level level, const char *mod)
{
    char ts[OBV_TIME_TEXT_LEN];
    static _Atomic int journal = -1;
    int j = atomic_load_explicit(&journal, memory_order_relaxed);
    if (j < 0) {
        j = getenv("JOURNAL_STREAM") != NULL; /* set by systemd for services whose stderr is the journal */
        atomic_store_explicit(&journal, j, memory_order_relaxed);
    }
    const unsigned at = (unsigned)level < sizeof NAMES / sizeof *NAMES ? (unsigned)level : OBV_LOG_DEBUG;
    char head[160];
    (void)obv_time_text(obv_now_us(), ts);
    ts[23] = '\0'; /* milliseconds are enough here: "2021-03-04T05:06:07.123" */
    int n = 0;
    if (j)
        n = snprintf(head, sizeof head, "<%d>", SYSLOG_LEVEL[at]);
    n += snprintf(head + n, sizeof head - (size_t)n, "ts=%sZ level=%s mod=%.40s", ts, NAMES[at], mod);
    l->len = 0;
    put(l, head, (size_t)n);
    put_context(l, "job", context.job);
    put_context(l, "task", context.task);
    put_context(l, "pg", context.pg);
    put_context(l, "tenant", context.tenant);
    put_context(l, "set", context.set);
}

static void end(struct line *l)
{
    l->text[l->len++] = '\n';
    const int fd = atomic_load(&out_fd);
    if (fd >= 0)
        (void)!write(fd, l->text, l->len); /* there is nobody to tell about a failure */
}

void obv_log_write(obv_log_level level, const char *mod, const char *fmt, ...)
{
    char msg[OBV_LOG_LINE_MAX];
    struct line l;
    va_list ap;
    va_start(ap, fmt);
    (void)vsnprintf(msg, sizeof msg, fmt, ap);
    va_end(ap);
    begin(&l, level, mod);
    put_context(&l, "msg", msg);
    end(&l);
}

void obv_log_repeated(obv_log_level level, const char *mod, uint64_t left_out, const char *fmt, ...)
{
    char msg[OBV_LOG_LINE_MAX];
    char count[24];
    struct line l;
    va_list ap;
    va_start(ap, fmt);
    (void)vsnprintf(msg, sizeof msg, fmt, ap);
    va_end(ap);
    begin(&l, level, mod);
    put_context(&l, "msg", msg);
    if (left_out) {
        (void)snprintf(count, sizeof count, "%llu", (unsigned long long)left_out);
        put_context(&l, "left_out", count);
    }
    end(&l);
}

void obv_log_write_err(obv_log_level level, const char *mod, const obv_err *e, const char *fmt, ...)
{
    if (!obv_log_enabled(level))
        return;
    char what[400];
    char msg[sizeof what + sizeof e->msg + 4];
    struct line l;
    va_list ap;
    va_start(ap, fmt);
    (void)vsnprintf(what, sizeof what, fmt, ap);
    va_end(ap);
    (void)snprintf(msg, sizeof msg, "%s: %s", what, e->msg);
    begin(&l, level, mod);
    put_context(&l, "msg", msg);
    put_context(&l, "code", obv_code_describe(e->code)->name);
    if (e->sys) {
        char sys[16];
        (void)snprintf(sys, sizeof sys, "%d", e->sys);
        put_context(&l, "sys", sys);
    }
    put_context(&l, "hint", e->hint);
    end(&l);
}

bool obv_log_limit_pass(obv_log_limit *l, uint32_t seconds, uint64_t *left_out)
{
    const int64_t now = obv_mono_ns();
    int64_t at = atomic_load(&l->next_at_ns);
    if (now < at || !atomic_compare_exchange_strong(&l->next_at_ns, &at, now + (int64_t)seconds * OBV_NS_PER_S)) {
        atomic_fetch_add(&l->left_out, 1);
        return false;
    }
    *left_out = atomic_exchange(&l->left_out, 0);
    return true;
}
