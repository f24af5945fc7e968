/* golden_count.h - what a test program used of the golden data, printed at its end for tests/e2e/golden_sweep.py
 *
 * "golden-file NAME" for each file opened, "golden-list LIST used N refused R accepted A stricter S looser L" for each
 * list of vectors or mutations: R and A as OceanBase, S refused by us only, L refused by OceanBase only.
 */
#ifndef OBV_TEST_GOLDEN_COUNT_H
#define OBV_TEST_GOLDEN_COUNT_H

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define GOLDEN_NAMES_MAX 512

struct golden_list {
    char name[128];
    unsigned refused, accepted, stricter, looser;
};
struct golden_used {
    char *files[GOLDEN_NAMES_MAX];
    struct golden_list lists[64];
    size_t file_count, list_count;
};

static inline struct golden_used *golden_used(void)
{
    static struct golden_used used;
    return &used;
}

static inline void golden_print(void)
{
    struct golden_used *u = golden_used();
    for (size_t i = 0; i < u->file_count; i++) {
        printf("golden-file %s\n", u->files[i]);
        free(u->files[i]);
    }
    for (size_t i = 0; i < u->list_count; i++) {
        const struct golden_list *l = &u->lists[i];
        printf("golden-list %s used %u refused %u accepted %u stricter %u looser %u\n", l->name,
               l->refused + l->accepted + l->stricter + l->looser, l->refused, l->accepted, l->stricter, l->looser);
    }
}

static inline void golden_begin_count(void)
{
    const struct golden_used *u = golden_used();
    if (u->file_count + u->list_count == 0 && atexit(golden_print) != 0)
        abort();
}

static inline void golden_note_file(const char *name)
{
    struct golden_used *u = golden_used();
    golden_begin_count();
    for (size_t i = 0; i < u->file_count; i++)
        if (strcmp(u->files[i], name) == 0)
            return;
    if (u->file_count == GOLDEN_NAMES_MAX)
        abort();
    u->files[u->file_count++] = strdup(name);
}

/* @p list is "manifest.json path", the path as in the manifest with [] for any element: "clog_manifest.json a.b[].c" */
static inline struct golden_list *golden_list(const char *list)
{
    struct golden_used *u = golden_used();
    golden_begin_count();
    for (size_t i = 0; i < u->list_count; i++)
        if (strcmp(u->lists[i].name, list) == 0)
            return &u->lists[i];
    if (u->list_count == sizeof u->lists / sizeof *u->lists)
        abort();
    struct golden_list *l = &u->lists[u->list_count++];
    (void)snprintf(l->name, sizeof l->name, "%s", list);
    return l;
}

/* One vector whose values and bytes were compared. */
static inline void golden_vector_used(const char *list) { golden_list(list)->accepted++; }

/* One mutation, judged by OceanBase and by us. */
static inline void golden_judged(const char *list, bool they_refuse, bool we_refuse)
{
    struct golden_list *l = golden_list(list);
    if (they_refuse)
        *(we_refuse ? &l->refused : &l->looser) += 1;
    else
        *(we_refuse ? &l->stricter : &l->accepted) += 1;
}

#endif
