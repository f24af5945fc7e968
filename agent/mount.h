/* mount.h - what the destination is mounted from and with which options (docs/operations.md, "Mount options") */
#ifndef OBV_AGENT_MOUNT_H
#define OBV_AGENT_MOUNT_H

#include "base/finding.h"
#include "base/span.h"

typedef struct obv_mount {
    char point[1024];
    char type[64];
    char source[256];
    char options[1024]; /* of the mount, then of the file system, separated by commas */
    unsigned major, minor;
} obv_mount;

/**
 * The mount that holds @p path, from the text of /proc/self/mountinfo.
 * @return OBV_OK; OBV_E_NOT_FOUND: no line fits
 */
OBV_CHECK obv_code obv_mount_find(obv_span mountinfo, const char *path, obv_mount *out, obv_err *err);
/** The value of an option ("" without one), NULL if it is not there. @p buf holds it. */
const char *obv_mount_option(const obv_mount *m, const char *name, char *buf, size_t cap);
/** One line of advice for each option that matters. */
void obv_mount_judge(const obv_mount *m, const char *where, obv_findings *out);

#endif
