/* Options and keys of the file plugin: whatever they are, nothing is found, listed or made outside the root. Input:
 * option texts "key=value", one a line, then an empty line, then keys, one a line. */
#include "obvault/storage_plugin.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
const obv_storage_plugin *obv_storage_plugin_v0(void);

enum { OPTIONS = 4 };
static char outside[64], root[80];

static int cancelled(void *ctx) { return (void)ctx, 0; }
static void logged(void *ctx, int level, const char *text) { (void)ctx, (void)level, (void)text; }
static uint64_t unbounded(void *ctx) { return (void)ctx, UINT64_MAX; }
static int no_credential(void *ctx, const char *name, char *out, size_t cap)
{
    return (void)ctx, (void)name, (void)out, (void)cap, -1;
}

static char secret[80];

static void tidy(void)
{
    (void)unlink(secret);
    (void)rmdir(root);
    (void)rmdir(outside);
}

static void prepare(void)
{
    (void)snprintf(outside, sizeof outside, "/dev/shm/obvault-fuzz-plugin-%d", (int)getpid());
    (void)snprintf(root, sizeof root, "%s/root", outside);
    (void)snprintf(secret, sizeof secret, "%s/secret", outside);
    if (mkdir(outside, 0700) != 0 || mkdir(root, 0700) != 0 || atexit(tidy) != 0)
        abort();
    FILE *f = fopen(secret, "w");
    if (!f)
        abort();
    (void)fputs("outside", f);
    (void)fclose(f);
}

static void try_key(const obv_storage_plugin *p, obv_repo_handle *r, const char *key)
{
    obv_object_info info;
    obv_store_err err;
    memset(&info, 0, sizeof info);
    memset(&err, 0, sizeof err);
    if (p->head(r, key, &info, &err) == OBV_STORE_OK)
        abort(); /* the repository is empty: something else was found */
    uint8_t byte;
    size_t got = 0;
    if (p->get(r, key, 0, &byte, 1, &got, &err) == OBV_STORE_OK)
        abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const obv_storage_plugin *p;
    if (!p) {
        p = obv_storage_plugin_v0();
        prepare();
    }
    if (size > 4096)
        return 0;
    char *text = malloc(size + 1);
    if (!text)
        abort();
    memcpy(text, data, size);
    text[size] = 0;
    obv_kv cfg[OPTIONS + 1] = {{"root", root}};
    size_t n = 1;
    char *line = text;
    for (char *end; n <= OPTIONS && *line && *line != '\n'; line = end) {
        end = line + strcspn(line, "\n");
        if (*end)
            *end++ = 0;
        char *eq = strchr(line, '=');
        if (!eq)
            continue;
        *eq = 0;
        if (strcmp(line, "root") == 0) /* stays where it may be looked at */
            continue;
        cfg[n++] = (obv_kv){line, eq + 1};
    }
    const obv_host host = {.size = sizeof host,
                           .log = logged,
                           .cancelled = cancelled,
                           .deadline_ms = unbounded,
                           .credential = no_credential};
    obv_repo_handle *r = NULL;
    obv_store_err err;
    memset(&err, 0, sizeof err);
    if (p->open(&host, cfg, n, &r, &err) == OBV_STORE_OK) {
        for (char *end; *line; line = end) {
            end = line + strcspn(line, "\n");
            if (*end)
                *end++ = 0;
            try_key(p, r, line);
        }
        p->close(r);
    }
    free(text);
    return 0;
}
