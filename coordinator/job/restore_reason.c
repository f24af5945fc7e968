#include "job/restore_priv.h"

#include <stdlib.h>
#include <string.h>

/* What OceanBase's numbers mean to somebody who restores; none of them says that the backup was written to. */
static const struct {
    int number;
    obv_code code;
    const char *hint;
} REASONS[] = {
    {-9048, OBV_E_NOT_RESTORABLE,
     "the set lies before the log that was named with it: `obvault window` shows which times each set reaches"},
    {-9064, OBV_E_NOT_RESTORABLE,
     "the archived log of a PG begins behind its copy: restore from another set, and make a new full backup"},
    {-4016, OBV_E_INTERNAL,
     "often a gap in the log or a set that the schema does not fit: `obvault-agent local verify` reads the tree;"
     " another time or set may do"},
    {-4103, OBV_E_CORRUPT, "damage was read: `obvault-agent local verify` names the file; restore from another set"},
    {-4108, OBV_E_CORRUPT, "damage was read: `obvault-agent local verify` names the file; restore from another set"},
    {-4018, OBV_E_CORRUPT, "a file is missing where the target reads: compare the mounts of its servers"},
    {-4009, OBV_E_IO, "a server of the target cannot read the destination: look at the mount on each of them"},
    {-4184, OBV_E_NO_SPACE, "the target's data disk is full: give it room, drop the new tenant, start again"},
    {-4013, OBV_E_LIMIT, "the target is short of memory: larger units in the pool, or a smaller restore_concurrency"},
    {-4030, OBV_E_LIMIT, "the new tenant is short of memory: larger units in the pool"},
    {-4624, OBV_E_PRECONDITION, "the target's resources do not suffice for the pool: larger units, or another pool"},
    {-5150, OBV_E_CANCELLED, "the new tenant was dropped while it was restored"},
    {-5157, OBV_E_CANCELLED, "the new tenant was dropped while it was restored"},
    {-4007, OBV_E_UNSUPPORTED, "the target runs an older release than the set's, or one that does not know it"},
    {-4179, OBV_E_PRECONDITION, "the target's state forbids it now: restore_concurrency, standby, upgrade, clock"},
};

/* OceanBase writes "<module> : <name>(<number>) on <server> with traceid <id>". */
static int number_in(const char *info)
{
    for (const char *p = strstr(info, "(-"); p; p = strstr(p + 1, "(-")) {
        char *end = NULL;
        const long n = strtol(p + 1, &end, 10);
        if (*end == ')' && n > -100000)
            return (int)n;
    }
    return 0;
}

obv_code obv_restore_reason(const char *status, const char *info, obv_err *out)
{
    const int number = number_in(info);
    obv_code code = OBV_E_INTERNAL;
    const char *hint = "the backup itself was only read";
    for (size_t i = 0; i < sizeof REASONS / sizeof *REASONS; i++)
        if (number == REASONS[i].number) {
            code = REASONS[i].code;
            hint = REASONS[i].hint;
        }
    (void)obv_fail(out, code, -number, "the target says %s: %.300s", status, info[0] ? info : "no reason is given");
    return obv_hint(out,
                    "%s; the target's rootservice.log has the details. What is left of the new tenant is to be "
                    "dropped there before the next try",
                    hint);
}
