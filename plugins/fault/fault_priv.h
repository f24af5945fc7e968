/* fault_priv.h - rules of the fault plugin: what happens at which call of which function */
#ifndef OBVAULT_PLUGIN_FAULT_PRIV_H
#define OBVAULT_PLUGIN_FAULT_PRIV_H

#include "obvault/storage_plugin.h"

#include <stdatomic.h>
#include <stdbool.h>

enum { FAULT_RULES_MAX = 32 };

enum fault_call {
    CALL_OPEN,
    CALL_PROBE,
    CALL_PUT_BEGIN,
    CALL_PUT_WRITE,
    CALL_PUT_COMMIT,
    CALL_PUT_ABORT,
    CALL_APPEND,
    CALL_SYNC,
    CALL_GET,
    CALL_HEAD,
    CALL_LIST,
    CALL_REMOVE,
    CALL_COPY,
    CALL_SWEEP,
    CALL_ANY
};

enum fault_action {
    ACT_NONE,
    ACT_FAIL,  /* the call is not made */
    ACT_LOST,  /* the call is made, its answer is lost */
    ACT_CUT,   /* half of the call is made */
    ACT_SHORT, /* get: fewer bytes than there are, and OK */
    ACT_DELAY,
    ACT_KILL
};

struct fault_rule {
    enum fault_call call;
    enum fault_action action;
    uint64_t first, count; /* calls first .. first + count - 1, from 1 */
    uint64_t value;        /* DELAY: ms; SHORT: bytes, 0: half; FAIL, CUT, LOST: retry_after_ms */
    obv_store_class cls;
    atomic_uint_fast64_t seen;
};

struct fault_rules {
    struct fault_rule rule[FAULT_RULES_MAX];
    size_t count;
};

/**
 * rules = rule *( ";" rule ), rule = call "@" n [ "+" | "x" m ] ":" action, action = fail=CLASS[/ms] | lost[=CLASS] |
 * cut[=CLASS] | short[=bytes] | delay=ms | kill.
 * @return NULL, or the rule that is wrong (points into text)
 */
const char *fault_rules_parse(const char *text, struct fault_rules *out);
/** Counts one call; @p now gets what must happen (ACT_NONE mostly), delays are added up in @p delay_ms. */
void fault_rules_count(struct fault_rules *rules, enum fault_call call, struct fault_rule *now, uint64_t *delay_ms);
const char *fault_call_name(enum fault_call call);

#endif
