/* temp_dir.h - a fresh folder for one test, removed with all it holds */
#ifndef OBV_TEST_TEMP_DIR_H
#define OBV_TEST_TEMP_DIR_H

#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static inline int temp_dir_remove_one(const char *path, const struct stat *st, int type, struct FTW *w)
{
    (void)st, (void)type, (void)w;
    return remove(path);
}

/* cmocka set-up: *state is the folder's path */
static inline int temp_dir_make(void **state)
{
    const char *root = getenv("TMPDIR");
    char path[256];
    (void)snprintf(path, sizeof path, "%s/obvault-test-XXXXXX", root ? root : "/tmp");
    *state = mkdtemp(path) ? strdup(path) : NULL;
    return *state ? 0 : -1;
}

static inline int temp_dir_drop(void **state)
{
    const int rc = nftw(*state, temp_dir_remove_one, 16, FTW_DEPTH | FTW_PHYS);
    free(*state);
    return rc;
}

/* Path of a file in the folder; valid until the next call but three. */
static inline const char *temp_path(void *dir, const char *name)
{
    static char paths[4][512];
    static unsigned next;
    char *p = paths[next++ % 4];
    (void)snprintf(p, sizeof paths[0], "%s/%s", (const char *)dir, name);
    return p;
}

#endif
