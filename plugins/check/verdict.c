/* verdict.c - how a case ends, and names for what it saw */
#include "kit.h"

#include <stdarg.h>
#include <stdio.h>
#include <unistd.h>

static struct kit_shared *shared;

void kit_verdict_to(struct kit_shared *to) { shared = to; }

/* The first thread that decides writes the reason; the process ends with it, other threads or not. */
static _Noreturn void decide(enum kit_verdict verdict, const char *text)
{
    int undecided = KIT_UNDECIDED;
    if (atomic_compare_exchange_strong(&shared->verdict, &undecided, (int)verdict))
        (void)snprintf(shared->reason, sizeof shared->reason, "%s", text);
    else
        (void)usleep(100000); /* the one that was first still writes */
    _exit(verdict == KIT_FAIL ? 3 : 0);
}

#define FORMATTED(text)                                                                                                \
    char text[KIT_TEXT_MAX];                                                                                           \
    va_list ap;                                                                                                        \
    va_start(ap, fmt);                                                                                                 \
    (void)vsnprintf(text, sizeof text, fmt, ap);                                                                       \
    va_end(ap)

void kit_fail(const char *fmt, ...)
{
    FORMATTED(text);
    decide(KIT_FAIL, text);
}

void kit_skip(const char *fmt, ...)
{
    FORMATTED(text);
    decide(KIT_SKIP, text);
}

void kit_wrong_class(obv_store_class got, obv_store_class want, const char *fmt, ...)
{
    FORMATTED(what);
    if (got == OBV_STORE_OK)
        kit_fail("%s: OK, expected %s", what, kit_class_name(want));
    kit_fail("%s: %s (%.150s), expected %s", what, kit_class_name(got), kit_last_msg(), kit_class_name(want));
}

void kit_note(const struct kit *k, const char *fmt, ...)
{
    FORMATTED(text);
    const unsigned at = atomic_fetch_add(&k->shared->note_count, 1);
    if (at < KIT_NOTES_MAX)
        (void)snprintf(k->shared->notes[at], KIT_TEXT_MAX, "%s: %.340s", k->case_name, text);
}

const char *kit_class_name(obv_store_class cls)
{
    static const char *const NAMES[] = {"OK",      "NOT_FOUND",   "EXISTS",    "CONFLICT", "DENIED",
                                        "EXPIRED", "NO_SPACE",    "READ_ONLY", "CORRUPT",  "STALE",
                                        "CONFIG",  "UNSUPPORTED", "CANCELLED", "IO",       "FATAL"};
    if ((unsigned)cls < sizeof NAMES / sizeof *NAMES)
        return NAMES[cls];
    return cls == OBV_STORE_RETRY ? "RETRY" : cls == OBV_STORE_THROTTLED ? "THROTTLED" : "a class of no known number";
}
