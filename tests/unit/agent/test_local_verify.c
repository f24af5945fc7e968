/* local verify over a tree on disk: what it prints, and the exit code that scripts go by. */
#include "agent_job/verify_tree.h"
#include "local.h"

#include <fcntl.h>
#include <ftw.h>
#include <sys/stat.h>
#include <unistd.h>

struct site {
    char root[32];
    struct vt *tree;
};

static void write_file(const struct site *s, const struct vt_file *f)
{
    char path[512];
    (void)snprintf(path, sizeof path, "%s/%s", s->root, f->key);
    for (char *c = path + 1; *c; c++)
        if (*c == '/') {
            *c = '\0';
            (void)mkdir(path, 0755);
            *c = '/';
        }
    const int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, f->bytes.data, f->bytes.len), f->bytes.len);
    (void)close(fd);
}

static int setup(void **state)
{
    struct site *s = calloc(1, sizeof *s);
    assert_non_null(s);
    (void)strcpy(s->root, "/tmp/obv-verify-XXXXXX");
    assert_non_null(mkdtemp(s->root));
    s->tree = vt_make();
    for (size_t i = 0; i < s->tree->count; i++)
        write_file(s, &s->tree->files[i]);
    *state = s;
    return 0;
}

static int drop(const char *path, const struct stat *st, int flag, struct FTW *ftw)
{
    (void)st, (void)flag, (void)ftw;
    return remove(path);
}

static int teardown(void **state)
{
    struct site *s = *state;
    (void)nftw(s->root, drop, 16, FTW_DEPTH | FTW_PHYS);
    vt_free(s->tree);
    free(s);
    return 0;
}

/* One run; what it printed is in out. @return exit code, or minus the code of a failed call */
static int run(const struct site *s, const char *rules, const char *uuid, bool json, char *out, size_t cap)
{
    obv_store_option options[] = {{"root", s->root}, {"plugin", FILE_PLUGIN}, {"rules", rules ? rules : ""}};
    obv_agent_config cfg = {.cluster = {.name = (char *)"obshop", .id = 7},
                            .repository = {.plugin = (char *)(rules ? FAULT_PLUGIN : FILE_PLUGIN),
                                           .options = options,
                                           .option_count = rules ? 3 : 1,
                                           .uuid = (char *)uuid}};
    const obv_local_options o = {.json = json};
    obv_err err = {0};
    int exit_code = -1;
    FILE *f = tmpfile();
    assert_non_null(f);
    (void)fflush(stdout);
    const int kept = dup(STDOUT_FILENO);
    assert_true(kept >= 0 && dup2(fileno(f), STDOUT_FILENO) >= 0);
    const obv_code code = obv_local_verify(&cfg, &o, &exit_code, &err);
    (void)fflush(stdout);
    assert_true(dup2(kept, STDOUT_FILENO) >= 0);
    (void)close(kept);
    rewind(f);
    out[fread(out, 1, cap - 1, f)] = '\0';
    (void)fclose(f);
    return code == OBV_OK ? exit_code : -(int)code;
}

#define INDEX VT_SET "/data/1100611139453781/3/major_data/macro_block_index_1"

static void the_exit_code_tells_the_truth(void **state)
{
    struct site *s = *state;
    static char out[1 << 20];
    assert_int_equal(run(s, NULL, "", false, out, sizeof out), 0);
    assert_memory_equal(out, "good: ", 6);
    assert_int_equal(run(s, NULL, "11111111-2222-4333-8444-555555555555", true, out, sizeof out), 0);
    assert_non_null(strstr(out, "{\"type\":\"summary\",\"result\":\"good\",\"ours\":true,"));

    /* another repository than the one of the configuration */
    assert_int_equal(run(s, NULL, "99999999-2222-4333-8444-555555555555", false, out, sizeof out), 7);

    struct vt_file *f = vt_find(s->tree, INDEX);
    f->bytes.data[100] ^= 1;
    write_file(s, f);
    assert_int_equal(run(s, NULL, "", false, out, sizeof out), 7);
    assert_non_null(strstr(out, "damaged " INDEX " at 0: "));
    assert_non_null(strstr(out, "the PG's blocks cannot be found: take another set"));
    assert_int_equal(run(s, NULL, "", true, out, sizeof out), 7);
    assert_non_null(strstr(out,
                           "{\"type\":\"finding\",\"class\":\"damaged\",\"kind\":\"macro_index\",\"object\":\"" INDEX
                           "\",\"offset\":0,"));
    f->bytes.data[100] ^= 1;
    write_file(s, f);
    assert_int_equal(run(s, NULL, "", false, out, sizeof out), 0);
}

static void a_storage_that_fails_is_no_damage(void **state)
{
    struct site *s = *state;
    static char out[1 << 20];
    assert_int_equal(run(s, "", "", false, out, sizeof out), 0); /* the fault plugin without a rule */
    assert_int_equal(run(s, "get@5:fail=denied", "", true, out, sizeof out), 8);
    assert_non_null(strstr(out, "\"class\":\"unreadable\""));
    assert_non_null(strstr(out, "\"result\":\"unreadable\""));
    assert_null(strstr(out, "\"damaged\",\"kind\""));
    assert_int_equal(run(s, "get@3+:fail=denied", "", true, out, sizeof out), 8);
    assert_null(strstr(out, "\"damaged\",\"kind\""));
    /* nothing is mounted */
    struct site empty = {.tree = s->tree};
    (void)strcpy(empty.root, "/tmp/obv-verify-XXXXXX");
    assert_non_null(mkdtemp(empty.root));
    assert_int_equal(run(&empty, NULL, "", false, out, sizeof out), -(int)OBV_E_NOT_INITIALISED);
    (void)nftw(empty.root, drop, 16, FTW_DEPTH | FTW_PHYS);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(the_exit_code_tells_the_truth, setup, teardown),
        cmocka_unit_test_setup_teardown(a_storage_that_fails_is_no_damage, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
