/* Any bytes as /proc/self/mountinfo and as a line of SHOW GRANTS: judged within their bounds. */
#include "base/rights.h"
#include "mount.h"

#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    obv_err err = {0};
    obv_mount m;
    if (obv_mount_find(obv_span_of(data, size), "/mnt/backup/a", &m, &err) == OBV_OK) {
        obv_findings l = {0};
        obv_mount_judge(&m, "host", &l);
        obv_assert(l.n > 0);
        obv_findings_fini(&l);
    }
    char *line = strndup((const char *)data, size);
    if (!line)
        return 0;
    for (int role = OBV_ROLE_AGENT; role <= OBV_ROLE_RESTORE; role++) {
        obv_rights r = {0};
        obv_rights_grant((obv_role)role, line, &r);
        obv_rights_grant((obv_role)role, line, &r);
        obv_assert(strlen(r.too_wide) < sizeof r.too_wide);
    }
    free(line);
    return 0;
}
