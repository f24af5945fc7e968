#include "mount.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define CHECK "repository.mount"
#define IO_SIZE_GOOD (256u << 10) /* bytes: smaller requests make NFS slow */

/* The byte that \ooo stands for, -1 if the text is none. */
static int octal(const char *p, size_t len)
{
    int v = 0;
    if (len < 4 || p[0] != '\\')
        return -1;
    for (int i = 1; i < 4; i++) {
        if (p[i] < '0' || p[i] > '7')
            return -1;
        v = v * 8 + (p[i] - '0');
    }
    return v > 0 && v < 256 ? v : -1;
}

/* A word of mountinfo: spaces and the like are \ooo. */
static void unescape(const char *in, size_t len, char *out, size_t cap)
{
    size_t n = 0;
    for (size_t i = 0; i < len && n + 1 < cap; i++) {
        const int v = octal(in + i, len - i);
        out[n++] = v < 0 ? in[i] : (char)v;
        i += v < 0 ? 0 : 3;
    }
    out[n] = 0;
}

/* The next word of a line; NULL at its end. */
static const char *word(const char **p, const char *end, size_t *len)
{
    while (*p < end && **p == ' ')
        (*p)++;
    const char *w = *p;
    while (*p < end && **p != ' ')
        (*p)++;
    *len = (size_t)(*p - w);
    return *len ? w : NULL;
}

/* "36 35 98:0 /root /point opts [optional ...] - type source super-opts" */
static bool parse_line(const char *line, const char *end, obv_mount *m)
{
    const char *w = NULL, *p = line;
    char options[512] = "", super[512] = "", device[32] = "";
    size_t len = 0;
    *m = (obv_mount){0};
    for (int i = 0; i < 6; i++) {
        if (!(w = word(&p, end, &len)))
            return false;
        if (i == 2)
            unescape(w, len, device, sizeof device);
        if (i == 4)
            unescape(w, len, m->point, sizeof m->point);
        if (i == 5)
            unescape(w, len, options, sizeof options);
    }
    while ((w = word(&p, end, &len)) && !(len == 1 && *w == '-'))
        ;
    if (!w || !(w = word(&p, end, &len)))
        return false;
    unescape(w, len, m->type, sizeof m->type);
    if ((w = word(&p, end, &len)))
        unescape(w, len, m->source, sizeof m->source);
    if ((w = word(&p, end, &len)))
        unescape(w, len, super, sizeof super);
    (void)snprintf(m->options, sizeof m->options, "%s,%s", options, super);
    return sscanf(device, "%u:%u", &m->major, &m->minor) == 2;
}

static bool below(const char *path, const char *point)
{
    const size_t n = strlen(point);
    if (strcmp(point, "/") == 0)
        return true;
    return strncmp(path, point, n) == 0 && (path[n] == 0 || path[n] == '/');
}

obv_code obv_mount_find(obv_span mountinfo, const char *path, obv_mount *out, obv_err *err)
{
    const char *p = (const char *)mountinfo.p, *end = p + mountinfo.len;
    obv_mount m;
    bool found = false;
    while (p < end) {
        const char *nl = memchr(p, '\n', (size_t)(end - p));
        const char *stop = nl ? nl : end;
        /* later lines are mounted over earlier ones */
        if (parse_line(p, stop, &m) && below(path, m.point) && (!found || strlen(m.point) >= strlen(out->point))) {
            *out = m;
            found = true;
        }
        p = stop + 1;
    }
    return found ? OBV_OK : obv_fail(err, OBV_E_NOT_FOUND, 0, "no mount holds %s", path);
}

const char *obv_mount_option(const obv_mount *m, const char *name, char *buf, size_t cap)
{
    const size_t n = strlen(name);
    for (const char *p = m->options; *p;) {
        const size_t len = strcspn(p, ",");
        if (len >= n && memcmp(p, name, n) == 0 && (len == n || p[n] == '=')) {
            (void)snprintf(buf, cap, "%.*s", len > n ? (int)(len - n - 1) : 0, p + n + (len > n));
            return buf;
        }
        p += len + (p[len] == ',');
    }
    return NULL;
}

static bool has(const obv_mount *m, const char *name)
{
    char v[128];
    return obv_mount_option(m, name, v, sizeof v) != NULL;
}

/* What an NFS option means for a backup; one line each. */
static const struct {
    const char *option, *value; /* value NULL: any */
    const char *found, *means, *next;
} ADVICE[] = {
    {"soft", NULL, "soft: a server that hesitates longer than timeo x retrans becomes an I/O error",
     "the file that is being written fails and its task with it; nothing is reported stored that is not",
     "mount it hard, so that writers wait for the server"},
    {"softerr", NULL, "softerr: a server that hesitates becomes an I/O error",
     "the file that is being written fails and its task with it; nothing is reported stored that is not",
     "mount it hard, so that writers wait for the server"},
    {"sync", NULL, "sync: every write waits for the server",
     "safe, but much slower: backups may take several times as long; obvault makes each file durable by itself",
     "mount it without sync on the agents' hosts"},
    {"noac", NULL, "noac: no attribute is cached, every write is synchronous",
     "safe, but much slower: backups may take several times as long", "mount it without noac"},
    {"nolock", NULL, "nolock: file locks hold on this host only",
     "none: obvault takes no file locks at the destination; other programs may", "nothing for obvault"},
    {"local_lock", "all", "local_lock=all: file locks hold on this host only",
     "none: obvault takes no file locks at the destination; other programs may", "nothing for obvault"},
    {"local_lock", "flock", "local_lock=flock: flock holds on this host only",
     "none: obvault takes no file locks at the destination; other programs may", "nothing for obvault"},
    {"local_lock", "posix", "local_lock=posix: POSIX locks hold on this host only",
     "none: obvault takes no file locks at the destination; other programs may", "nothing for obvault"},
    {"lookupcache", "all", "lookupcache=all: that a file was absent is remembered",
     "a file of another host may be seen late, and steps that need it take longer",
     "mount it with lookupcache=positive"},
    {"nocto", NULL, "nocto: another host's finished file may be read as it was before",
     "a restore or a check may read an old version of a list", "mount it without nocto"},
};

static bool is_nfs(const obv_mount *m) { return strncmp(m->type, "nfs", 3) == 0; }

static void judge_nfs(const obv_mount *m, const char *where, obv_findings *out)
{
    static const char *const SIZES[] = {"rsize", "wsize"};
    char v[128];
    for (size_t i = 0; i < sizeof ADVICE / sizeof *ADVICE; i++) {
        const char *value = obv_mount_option(m, ADVICE[i].option, v, sizeof v);
        if (value && (!ADVICE[i].value || strcmp(ADVICE[i].value, value) == 0))
            obv_found_warn(out, CHECK, where, ADVICE[i].means, ADVICE[i].next, "%s", ADVICE[i].found);
    }
    for (size_t i = 0; i < 2; i++) {
        const char *value = obv_mount_option(m, SIZES[i], v, sizeof v);
        if (value && strtoul(value, NULL, 10) < IO_SIZE_GOOD)
            obv_found_warn(out, CHECK, where, "safe, but slow: each request carries little",
                           "mount it with rsize=1048576,wsize=1048576", "%s=%s", SIZES[i], value);
    }
    const char *vers = obv_mount_option(m, "vers", v, sizeof v);
    if (vers && vers[0] == '2')
        obv_found_fail(out, OBV_E_UNSUPPORTED, CHECK, where, "files above 2 GiB cannot be stored",
                       "mount it with vers=4.1", "NFS version %s", vers);
}

void obv_mount_judge(const obv_mount *m, const char *where, obv_findings *out)
{
    const size_t before = out->n;
    if (has(m, "ro"))
        obv_found_fail(out, OBV_E_READ_ONLY, CHECK, where,
                       "no backup and no log can be stored; what is there stays good", "mount it read-write",
                       "%s is mounted read-only", m->point);
    if (is_nfs(m))
        judge_nfs(m, where, out);
    if (strcmp(m->type, "tmpfs") == 0 || strcmp(m->type, "ramfs") == 0)
        obv_found_warn(out, CHECK, where, "everything stored there is lost with this host's memory",
                       "use it for tests only; mount a file system that survives", "%s is a %s", m->point, m->type);
    if (out->n == before)
        obv_found_ok(out, CHECK, where, "%s on %s%s%s", m->type, m->point, is_nfs(m) ? ", hard, from " : "",
                     is_nfs(m) ? m->source : "");
}
