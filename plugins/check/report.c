/* report.c - what the kit prints: text for people, one JSON document for programs (docs/plugin-guide.md has the schema)
 */
#include "kit.h"

#include <inttypes.h>
#include <stdio.h>

static struct {
    unsigned passed, failed, skipped, required_failed;
    bool any_case;
} sum;

static const struct {
    uint32_t bit;
    const char *name;
} CAPS[] = {
    {OBV_CAP_IF_ABSENT, "if_absent"},
    {OBV_CAP_APPEND, "append"},
    {OBV_CAP_REPLACE, "replace"},
    {OBV_CAP_SERVER_COPY, "server_copy"},
    {OBV_CAP_OBSERVER_READS, "observer_reads"},
    {OBV_CAP_FORGETS, "forgets"},
};

static void json_string(const char *s)
{
    (void)putchar('"');
    for (const unsigned char *p = (const unsigned char *)s; *p; p++) {
        if (*p == '"' || *p == '\\')
            (void)printf("\\%c", *p);
        else if (*p < 0x20 || *p >= 0x7f)
            (void)printf("\\u%04x", *p); /* bytes above ASCII as Latin-1: never an invalid document */
        else
            (void)putchar(*p);
    }
    (void)putchar('"');
}

static void json_member(const char *name, const char *value)
{
    (void)printf("\"%s\":", name);
    json_string(value);
}

static void print_caps(uint32_t caps, bool json)
{
    bool first = true;
    for (size_t i = 0; i < sizeof CAPS / sizeof *CAPS; i++) {
        if (!(caps & CAPS[i].bit))
            continue;
        (void)printf(json ? "%s\"%s\"" : "%s%s", first ? "" : json ? "," : ", ", CAPS[i].name);
        first = false;
    }
    if (first && !json)
        (void)printf("none");
}

static const char *level_of(const struct kit_case *c) { return c->flags & KIT_ADVISED ? "advised" : "required"; }

void kit_report_list(bool json)
{
    bool first = true;
    (void)printf("%s", json ? "[" : "");
    for (size_t g = 0; g < KIT_GROUP_COUNT; g++) {
        for (size_t i = 0; i < KIT_GROUPS[g]->count; i++) {
            const struct kit_case *c = &KIT_GROUPS[g]->cases[i];
            if (!json) {
                (void)printf("%-26s %-8s  %s\n", c->name, level_of(c), c->sentence);
                continue;
            }
            (void)printf("%s{", first ? "" : ",\n");
            json_member("name", c->name);
            (void)printf(",");
            json_member("level", level_of(c));
            (void)printf(",");
            json_member("sentence", c->sentence);
            (void)printf("}");
            first = false;
        }
    }
    (void)printf("%s", json ? "]\n" : "");
}

void kit_report_describe(const struct kit_info *info, bool json)
{
    static const char *const KINDS[] = {"text", "yes|no", "number", "folder", "plugin"};
    if (json)
        (void)printf("[");
    else
        (void)printf("%s %s: storage plugin, ABI %u.%u\n\n", info->name, info->version, info->major, info->minor);
    for (uint32_t i = 0; i < info->option_count; i++) {
        const char *kind = info->options[i].kind < sizeof KINDS / sizeof *KINDS ? KINDS[info->options[i].kind] : "?";
        const bool required = info->options[i].flags & OBV_OPTION_REQUIRED;
        if (json) {
            (void)printf("%s{", i ? ",\n" : "");
            json_member("name", info->options[i].name);
            (void)printf(",");
            json_member("kind", kind);
            (void)printf(",\"required\":%s,", required ? "true" : "false");
            json_member("default", info->options[i].fallback);
            (void)printf(",");
            json_member("doc", info->options[i].doc);
            (void)printf("}");
        } else {
            (void)printf("%-20s %-7s %s%s\n    %s\n", info->options[i].name, kind,
                         required                       ? "required"
                         : info->options[i].fallback[0] ? "default "
                                                        : "optional",
                         required ? "" : info->options[i].fallback, info->options[i].doc);
        }
    }
    if (json)
        (void)printf("]\n");
}

void kit_report_begin(const struct kit *k)
{
    const struct kit_info *info = k->info;
    if (!k->cfg->json) {
        (void)printf("%s: ", k->cfg->so);
        if (info->loaded)
            (void)printf("%s %s, ABI %u.%u, %s\n  claims: ", info->name, info->version, info->major, info->minor,
                         info->threads == OBV_THREADS_PARALLEL ? "parallel" : "serial");
        else
            (void)printf("%s", info->trouble);
        if (info->loaded)
            print_caps(info->caps, false);
        if (info->opened) {
            (void)printf("; works here: ");
            print_caps(info->probed, false);
            (void)printf("\n  storage: %s", info->identity);
        } else if (info->loaded) {
            (void)printf("\n  %s", info->trouble);
        }
        (void)printf("\n\n");
        return;
    }
    (void)printf("{\"schema\":1,\"kit\":\"%u.%u\",\"plugin\":{", OBV_STORAGE_ABI_MAJOR, OBV_STORAGE_ABI_MINOR);
    json_member("path", k->cfg->so);
    (void)printf(",");
    json_member("name", info->name);
    (void)printf(",");
    json_member("version", info->version);
    (void)printf(",\"abi\":\"%u.%u\",\"parallel\":%s,\"claims\":[", info->major, info->minor,
                 info->threads == OBV_THREADS_PARALLEL ? "true" : "false");
    print_caps(info->caps, true);
    (void)printf("],\"works\":[");
    print_caps(info->probed, true);
    (void)printf("],");
    json_member("trouble", info->trouble);
    (void)printf(",");
    json_member("storage", info->identity);
    (void)printf("},\n\"cases\":[");
}

void kit_report_case(const struct kit *k, const struct kit_case *c, const struct kit_result *res)
{
    static const char *const WORDS[] = {"fail", "pass", "fail", "skip"};
    switch (res->verdict) {
    case KIT_PASS:
        sum.passed++;
        break;
    case KIT_SKIP:
        sum.skipped++;
        break;
    default:
        sum.failed++;
        if (!(c->flags & KIT_ADVISED))
            sum.required_failed++;
    }
    if (!k->cfg->json) {
        (void)printf("%s  %-26s %s%s%s", WORDS[res->verdict], c->name, res->reason, res->reason[0] ? " " : "",
                     c->flags & KIT_ADVISED ? "(advised) " : "");
        (void)printf("%u ms\n", res->ms);
        if (res->verdict == KIT_FAIL)
            (void)printf("      contract: %s\n", c->sentence);
        (void)fflush(stdout);
        return;
    }
    (void)printf("%s\n{", sum.any_case ? "," : "");
    sum.any_case = true;
    json_member("name", c->name);
    (void)printf(",");
    json_member("level", level_of(c));
    (void)printf(",");
    json_member("verdict", WORDS[res->verdict]);
    (void)printf(",");
    json_member("reason", res->reason);
    (void)printf(",\"ms\":%u,", res->ms);
    json_member("sentence", c->sentence);
    (void)printf("}");
}

bool kit_report_end(const struct kit *k)
{
    /* nothing that passed proves nothing */
    const bool good = sum.required_failed == 0 && sum.passed > 0;
    const char *grade = !good ? "F" : sum.failed ? "B" : "A";
    if (k->cfg->json)
        (void)printf("\n],\"summary\":{\"passed\":%u,\"failed\":%u,\"skipped\":%u,\"required_failed\":%u,"
                     "\"grade\":\"%s\"}}\n",
                     sum.passed, sum.failed, sum.skipped, sum.required_failed, grade);
    else
        (void)printf("\n%u passed, %u failed (%u of them required), %u skipped: grade %s\n", sum.passed, sum.failed,
                     sum.required_failed, sum.skipped, grade);
    return good;
}
