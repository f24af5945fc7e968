/* cases_open.c - opening, closing and probing */
#include "kit.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

/* The configured options with one set to value, or without it when value is NULL. */
static size_t options_with(const struct kit *k, const char *name, const char *value, obv_kv *out)
{
    size_t n = 0;
    for (size_t i = 0; i < k->cfg->option_count; i++)
        if (strcmp(k->cfg->options[i].key, name) != 0)
            out[n++] = k->cfg->options[i];
    if (value)
        out[n++] = (obv_kv){name, value};
    return n;
}

static void need_refused(struct kit *k, const char *name, const char *value, obv_store_class want)
{
    obv_kv kv[KIT_OPTIONS_MAX + 1];
    struct kit_repo *r = NULL;
    const size_t n = options_with(k, name, value, kv);
    need_class(kit_open_with(k, kv, n, &r), want, "open with %s=%.60s", name, value ? value : "(left out)");
    if (want == OBV_STORE_CONFIG)
        need(strstr(kit_last_msg(), name), "the message of a wrong option %s does not name it: %.150s", name,
             kit_last_msg());
}

static void unknown_option(struct kit *k)
{
    need_refused(k, "no_such_option", "x", OBV_STORE_CONFIG);
    need_refused(k, "no_such_option", "", OBV_STORE_CONFIG);
}

static void declared_options(struct kit *k)
{
    for (uint32_t i = 0; i < k->info->option_count; i++) {
        const char *name = k->info->options[i].name;
        if (k->info->options[i].flags & OBV_OPTION_REQUIRED)
            need_refused(k, name, NULL, OBV_STORE_CONFIG);
        if (k->info->options[i].kind == OBV_OPTION_YES_NO)
            need_refused(k, name, "maybe", OBV_STORE_CONFIG);
        if (k->info->options[i].kind == OBV_OPTION_NUMBER) {
            need_refused(k, name, "seven", OBV_STORE_CONFIG);
            need_refused(k, name, "-1", OBV_STORE_CONFIG);
        }
        if (k->info->options[i].kind == OBV_OPTION_FOLDER || k->info->options[i].kind == OBV_OPTION_PLUGIN)
            need_refused(k, name, "relative/path", OBV_STORE_CONFIG);
    }
}

static void missing_folder(struct kit *k)
{
    char path[KIT_PATH_MAX + 32];
    (void)snprintf(path, sizeof path, "%s/no-such-folder", k->info->folder);
    need_refused(k, k->info->folder_option, path, OBV_STORE_NOT_FOUND);
    need(access(path, F_OK) != 0, "open created the missing folder");
}

static void creates_nothing(struct kit *k)
{
    struct kit_repo *r = kit_open(k);
    need(kit_count(r, "").count == 0, "a repository just opened lists objects");
    kit_close(r);
    if (!k->info->folder[0])
        return;
    const struct kit_tree t = kit_scan(k->info->folder);
    need(t.files + t.folders + t.temporaries == 0, "open created %.100s in the folder", t.sample);
}

static void several_handles(struct kit *k)
{
    struct kit_repo *a = kit_open(k);
    struct kit_repo *b = kit_open(k);
    kit_make(a, "by/a", 1000, 1);
    kit_need_object(b, "by/a", 1000, 1);
    kit_make(b, "by/b", 2000, 2);
    kit_need_object(a, "by/b", 2000, 2);
    kit_close(a);
    kit_need_object(b, "by/a", 1000, 1);
    kit_make(b, "by/c", 3000, 3);
    struct kit_repo *c = kit_open(k);
    kit_need_object(c, "by/c", 3000, 3);
    kit_close(b);
    kit_need_object(c, "by/b", 2000, 2);
    kit_close(c);
}

static void borrowed_options(struct kit *k)
{
    obv_kv kv[KIT_OPTIONS_MAX];
    struct kit_repo *r = NULL;
    for (size_t i = 0; i < k->cfg->option_count; i++)
        kv[i] = (obv_kv){strdup(k->cfg->options[i].key), strdup(k->cfg->options[i].value)};
    need_ok(kit_open_with(k, kv, k->cfg->option_count, &r), "open with the given options");
    for (size_t i = 0; i < k->cfg->option_count; i++) {
        memset((char *)(uintptr_t)kv[i].key, '?', strlen(kv[i].key));
        memset((char *)(uintptr_t)kv[i].value, '?', strlen(kv[i].value));
        free((char *)(uintptr_t)kv[i].key);
        free((char *)(uintptr_t)kv[i].value);
    }
    memset(kv, 0xA5, sizeof kv);
    kit_make(r, "after", 100, 1);
    kit_need_object(r, "after", 100, 1);
    kit_close(r);
}

static void probe(struct kit *k)
{
    obv_probe_result first;
    obv_probe_result second;
    memset(&first, 0xA5, sizeof first);
    memset(&second, 0xA5, sizeof second);
    need_ok(kit_probe(k->r, &first), "probe");
    need((first.caps & ~k->p->caps) == 0, "probe finds capabilities that the table does not claim: 0x%x",
         first.caps & ~k->p->caps);
    need(memchr(first.identity, '\0', sizeof first.identity) && first.identity[0], "probe tells no identity");
    need_ok(kit_probe(k->r, &second), "a second probe");
    need(second.caps == first.caps && strcmp(first.identity, second.identity) == 0,
         "a second probe finds something else");
    need(kit_count(k->r, "").count == 0, "probe left an object");
    if (!k->info->folder[0])
        return;
    const struct kit_tree t = kit_scan(k->info->folder);
    need(t.files + t.folders + t.temporaries == 0, "probe left %.100s", t.sample);
}

static const struct kit_case CASES[] = {
    {"open.unknown_option", "Unknown keys in cfg are CONFIG, and the message names them.", 0,
     KIT_NO_OPEN | KIT_FORGETFUL, unknown_option},
    {"open.declared_options", "A required option left out, or a value that is not of its kind, is CONFIG by name.", 0,
     KIT_NO_OPEN | KIT_FORGETFUL, declared_options},
    {"open.missing_folder", "A missing root is NOT_FOUND; open creates nothing.", 0,
     KIT_NO_OPEN | KIT_FOLDER | KIT_FORGETFUL, missing_folder},
    {"open.creates_nothing", "Open creates nothing.", 0, KIT_NO_OPEN | KIT_FORGETFUL, creates_nothing},
    {"open.several_handles", "No globals: handles live side by side, and see each other's objects.", 0, KIT_NO_OPEN,
     several_handles},
    {"open.borrowed_options", "Options are the plugin's to use only during the call.", 0, KIT_NO_OPEN,
     borrowed_options},
    {"open.probe", "Probe finds no more than the table claims, tells what storage it is, and leaves nothing.", 0,
     KIT_FORGETFUL, probe},
};
const struct kit_group KIT_OPEN = KIT_GROUP(CASES);
