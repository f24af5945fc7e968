/* rules.c - reading and counting of rules */
#include "fault_priv.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

static const char *const CALLS[] = {"open",      "probe",  "put_begin", "put_write", "put_commit",
                                    "put_abort", "append", "sync",      "get",       "head",
                                    "list",      "remove", "copy",      "sweep",     "any"};

static const struct {
    const char *name;
    obv_store_class cls;
} CLASSES[] = {
    {"not_found", OBV_STORE_NOT_FOUND},
    {"exists", OBV_STORE_EXISTS},
    {"conflict", OBV_STORE_CONFLICT},
    {"denied", OBV_STORE_DENIED},
    {"expired", OBV_STORE_EXPIRED},
    {"no_space", OBV_STORE_NO_SPACE},
    {"read_only", OBV_STORE_READ_ONLY},
    {"corrupt", OBV_STORE_CORRUPT},
    {"stale", OBV_STORE_STALE},
    {"config", OBV_STORE_CONFIG},
    {"unsupported", OBV_STORE_UNSUPPORTED},
    {"cancelled", OBV_STORE_CANCELLED},
    {"io", OBV_STORE_IO},
    {"fatal", OBV_STORE_FATAL},
    {"retry", OBV_STORE_RETRY},
    {"throttled", OBV_STORE_THROTTLED},
};

const char *fault_call_name(enum fault_call call) { return CALLS[call]; }

/* Takes word off *at when it is there and ends there. */
static bool take_word(const char **at, const char *word)
{
    const size_t len = strlen(word);
    if (strncmp(*at, word, len) != 0 || ((*at)[len] >= 'a' && (*at)[len] <= 'z') || (*at)[len] == '_')
        return false;
    *at += len;
    return true;
}

static bool take(const char **at, char c)
{
    if (**at != c)
        return false;
    ++*at;
    return true;
}

static bool take_number(const char **at, uint64_t *out)
{
    char *end;
    if (**at < '0' || **at > '9')
        return false;
    errno = 0;
    *out = strtoull(*at, &end, 10);
    *at = end;
    return errno == 0;
}

static bool take_class(const char **at, struct fault_rule *out)
{
    for (size_t i = 0; i < sizeof CLASSES / sizeof *CLASSES; i++) {
        if (!take_word(at, CLASSES[i].name))
            continue;
        out->cls = CLASSES[i].cls;
        return out->cls != OBV_STORE_THROTTLED || !take(at, '/') || take_number(at, &out->value);
    }
    return false;
}

static bool take_action(const char **at, struct fault_rule *out)
{
    static const struct {
        const char *name;
        enum fault_action action;
    } ACTIONS[] = {{"fail", ACT_FAIL},   {"lost", ACT_LOST},   {"cut", ACT_CUT},
                   {"short", ACT_SHORT}, {"delay", ACT_DELAY}, {"kill", ACT_KILL}};
    for (size_t i = 0; i < sizeof ACTIONS / sizeof *ACTIONS; i++) {
        if (!take_word(at, ACTIONS[i].name))
            continue;
        out->action = ACTIONS[i].action;
        const bool value = take(at, '=');
        out->cls = OBV_STORE_RETRY;
        switch (out->action) {
        case ACT_FAIL:
            return value && take_class(at, out);
        case ACT_LOST:
        case ACT_CUT:
            return !value || take_class(at, out);
        case ACT_SHORT:
            return out->call == CALL_GET && (!value || take_number(at, &out->value));
        case ACT_DELAY:
            return value && take_number(at, &out->value);
        default:
            return !value;
        }
    }
    return false;
}

static bool take_rule(const char **at, struct fault_rule *out)
{
    size_t call = 0;
    while (call < sizeof CALLS / sizeof *CALLS && !take_word(at, CALLS[call]))
        call++;
    if (call == sizeof CALLS / sizeof *CALLS)
        return false;
    out->call = (enum fault_call)call;
    out->count = 1;
    if (!take(at, '@') || !take_number(at, &out->first) || out->first == 0)
        return false;
    if (take(at, '+'))
        out->count = UINT64_MAX;
    else if (take(at, 'x') && (!take_number(at, &out->count) || out->count == 0))
        return false;
    return take(at, ':') && take_action(at, out);
}

const char *fault_rules_parse(const char *text, struct fault_rules *out)
{
    for (const char *at = text; *at;) {
        const char *began = at;
        if (out->count == FAULT_RULES_MAX || !take_rule(&at, &out->rule[out->count]) || (*at && !take(&at, ';')))
            return began;
        out->count++;
    }
    return NULL;
}

void fault_rules_count(struct fault_rules *rules, enum fault_call call, struct fault_rule *now, uint64_t *delay_ms)
{
    now->action = ACT_NONE;
    *delay_ms = 0;
    for (size_t i = 0; i < rules->count; i++) {
        struct fault_rule *r = &rules->rule[i];
        if (r->call != call && r->call != CALL_ANY)
            continue;
        const uint64_t nth = atomic_fetch_add(&r->seen, 1) + 1;
        if (nth < r->first || nth - r->first >= r->count)
            continue;
        if (r->action == ACT_DELAY) {
            *delay_ms += r->value;
        } else if (now->action == ACT_NONE) {
            now->action = r->action;
            now->cls = r->cls;
            now->value = r->value;
        }
    }
}
