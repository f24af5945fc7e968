/* log.h - one line a message, logfmt, to stderr: ts= level= mod= job= task= pg= tenant= set= msg=
 *
 * A .c file that logs says `#define OBV_LOG_MOD "archive"` before its includes. The level is tested before the
 * arguments are evaluated. Log where an error is handled, not where it passes. Any thread; one write(2) a line.
 */
#ifndef OBV_BASE_LOG_H
#define OBV_BASE_LOG_H

#include "base/err.h"

#include <stdbool.h>
#include <stdint.h>

#ifndef OBV_LOG_MOD
#define OBV_LOG_MOD "main"
#endif

typedef enum obv_log_level {
    OBV_LOG_ERROR = 0,
    OBV_LOG_WARN = 1,
    OBV_LOG_INFO = 2,
    OBV_LOG_DETAIL = 3,
    OBV_LOG_DEBUG = 4,
} obv_log_level;

#define OBV_LOG_LINE_MAX 2048u /* bytes; a longer line is cut and ends in "..." */

void obv_log_set_level(obv_log_level level); /* default OBV_LOG_INFO */
bool obv_log_enabled(obv_log_level level);
/** "error", "warn", "info", "detail" or "debug". OBV_E_INVAL otherwise. */
OBV_CHECK obv_code obv_log_level_parse(const char *text, obv_log_level *out, obv_err *err);
/** Lines go to @p fd instead of stderr; -1 drops them. For tests and fuzzing. */
void obv_log_set_fd(int fd);

/* What a thread works for. Copied into a thread that is started for the same work. */
typedef struct obv_log_context {
    char job[64];
    char task[128]; /* uid of the coordinator's task */
    char pg[48];    /* "<table id>/<partition id>" */
    char tenant[64];
    char set[32];
} obv_log_context;

/** Sets the thread's context; NULL or "" leaves a field out of the lines. */
void obv_log_context_set(const char *job, const char *tenant, const char *set);
/** Task and PG of the same thread; both stay as they are when obv_log_context_set is called. NULL or "" as there. */
void obv_log_context_work(const char *task, const char *pg);
obv_log_context obv_log_context_get(void);
void obv_log_context_put(const obv_log_context *c);

void obv_log_write(obv_log_level level, const char *mod, const char *fmt, ...) OBV_PRINTF(3, 4);
/** msg="<fmt>: <err->msg>" with code=, sys= and hint= of the error. */
void obv_log_write_err(obv_log_level level, const char *mod, const obv_err *e, const char *fmt, ...) OBV_PRINTF(4, 5);

#define OBV_LOG(level, ...)                                                                                            \
    do {                                                                                                               \
        if (obv_log_enabled(level))                                                                                    \
            obv_log_write(level, OBV_LOG_MOD, __VA_ARGS__);                                                            \
    } while (0)
#define OBV_ERROR(...) OBV_LOG(OBV_LOG_ERROR, __VA_ARGS__)
#define OBV_WARN(...) OBV_LOG(OBV_LOG_WARN, __VA_ARGS__)
#define OBV_INFO(...) OBV_LOG(OBV_LOG_INFO, __VA_ARGS__)
#define OBV_DETAIL(...) OBV_LOG(OBV_LOG_DETAIL, __VA_ARGS__)
#define OBV_DEBUG(...) OBV_LOG(OBV_LOG_DEBUG, __VA_ARGS__)

#define OBV_ERROR_OF(e, ...) obv_log_write_err(OBV_LOG_ERROR, OBV_LOG_MOD, e, __VA_ARGS__)
#define OBV_WARN_OF(e, ...) obv_log_write_err(OBV_LOG_WARN, OBV_LOG_MOD, e, __VA_ARGS__)

/* For a warning that may repeat: at most one line every `seconds` from this place; the next one says how many were
 * left out (left_out=). */
typedef struct obv_log_limit {
    _Atomic int64_t next_at_ns;
    _Atomic uint64_t left_out;
} obv_log_limit;
/** @return true if a line is due now; *left_out says how many were not written since the last. */
bool obv_log_limit_pass(obv_log_limit *l, uint32_t seconds, uint64_t *left_out);
/** A line with left_out= (if not 0): how many like it were not written since the last. */
void obv_log_repeated(obv_log_level level, const char *mod, uint64_t left_out, const char *fmt, ...) OBV_PRINTF(4, 5);
#define OBV_WARN_EVERY(seconds, ...)                                                                                   \
    do {                                                                                                               \
        static obv_log_limit limit_;                                                                                   \
        uint64_t left_out_;                                                                                            \
        if (obv_log_enabled(OBV_LOG_WARN) && obv_log_limit_pass(&limit_, seconds, &left_out_)) {                       \
            obv_log_repeated(OBV_LOG_WARN, OBV_LOG_MOD, left_out_, __VA_ARGS__);                                       \
        }                                                                                                              \
    } while (0)

#endif
