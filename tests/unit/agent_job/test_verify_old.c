/* Sets of before 3.1, made by hand: they are good, every changed byte and every missing object is found */
#include "verify_old_tree.h"

static const int64_t LAYOUTS[] = {OBV_COMPATIBLE_V1, OBV_COMPATIBLE_V2};

static void good_sets_have_no_finding(void **state)
{
    (void)state;
    for (size_t i = 0; i < 2; i++) {
        struct vt *t = vo_make(LAYOUTS[i]);
        t->print = true;
        assert_int_equal(vt_verify(t), 0);
        assert_int_equal(t->stats.found[OBV_VERIFY_LEFTOVER], 0);
        assert_int_equal(t->stats.objects, t->count);
        assert_int_equal(t->stats.sets, 1);
        assert_int_equal(t->stats.pgs, 2);
        assert_int_equal(t->stats.blocks, 3);
        assert_int_equal(t->stats.archived_pgs, 2);
        /* an incremental: its own folder, or that of the full; its majors lie in the full */
        t->set.set_id = 2;
        vo_set(t);
        assert_int_equal(vt_verify(t), 0);
        assert_int_equal(t->stats.sets, 2);
        assert_int_equal(t->stats.blocks, 6);
        vt_free(t);
    }
}

static void a_changed_byte_is_found(void **state)
{
    (void)state;
    size_t tried = 0;
    for (size_t k = 0; k < 2; k++) {
        struct vt *t = vo_make(LAYOUTS[k]);
        for (size_t i = 0; i < t->count; i++) {
            struct vt_file *f = &t->files[i];
            if (!strstr(f->key, "/backup_set_"))
                continue;
            (void)strcpy(t->wanted, f->key);
            const bool blocks = strstr(f->key, "macro_block_1.") != NULL;
            for (size_t at = 0; at < f->bytes.len; at += blocks ? 997 : 11) {
                const uint8_t mask = (uint8_t)(1u << (tried++ % 8));
                f->bytes.data[at] ^= mask;
                if (vt_verify(t) == 0 || !t->met)
                    fail_msg("%s: byte %zu ^ %02x is not found", f->key, at, mask);
                f->bytes.data[at] ^= mask;
            }
        }
        vt_free(t);
    }
    print_message("%zu bytes changed\n", tried);
    assert_true(tried > 1000);
}

static void an_object_that_is_gone_is_missed(void **state)
{
    (void)state;
    for (size_t k = 0; k < 2; k++) {
        struct vt *t = vo_make(LAYOUTS[k]);
        for (size_t i = 0; i < t->count; i++) {
            if (!strstr(t->files[i].key, "/backup_set_"))
                continue;
            struct vt_file kept = t->files[i];
            t->files[i] = t->files[--t->count];
            /* the second pass of a PG without blocks says nothing; of the other it has the last block */
            const bool optional = strstr(kept.key, "tenant_diagnose_info") ||
                                  strstr(kept.key, "/meta_index_file") == kept.key + strlen(kept.key) - 16 ||
                                  strstr(kept.key, "/0/macro_block_index_1.1");
            if ((vt_verify(t) > 0) == optional)
                fail_msg("%s: %" PRIu64 " findings when it is gone", kept.key, obv_verify_damage(&t->stats));
            t->files[t->count++] = t->files[i];
            t->files[i] = kept;
        }
        assert_int_equal(vt_verify(t), 0);
        vt_free(t);
    }
}

/* Files where only sets of the other layout have them. */
static void layouts_do_not_mix(void **state)
{
    (void)state;
    static const char *const FLAT = VT_SET "/data/1100611139453781/3/macro_block_1.7";
    static const char *const SPLIT = VT_SET "/data/1100611139453781/3/major_data/macro_block_1.7";
    struct vt *old = vo_make(OBV_COMPATIBLE_V2);
    struct vt *now = vt_make();
    obv_put_end_mark(vt_new(old, SPLIT));
    obv_put_end_mark(vt_new(now, FLAT));
    assert_int_equal(vt_verify(old), 1);
    assert_int_equal(old->stats.found[OBV_VERIFY_UNLISTED], 1);
    assert_int_equal(vt_verify(now), 1);
    assert_int_equal(now->stats.found[OBV_VERIFY_UNLISTED], 1);
    vt_free(old);
    vt_free(now);
}

/* Compatible 3 differs from 4 only in where transaction states lie; 0 and 5 are nobody's. */
static void compatible_is_known(void **state)
{
    (void)state;
    for (int64_t compatible = 3; compatible <= 5; compatible++) {
        struct vt *t = vt_empty();
        t->compatible = compatible;
        vt_pgs(t);
        vt_set_infos(t);
        vt_tenants(t);
        vt_log(t, 0);
        vt_log(t, 1);
        vt_rounds(t);
        vt_identity(t);
        assert_int_equal(vt_verify(t) > 0, compatible == 5);
        vt_free(t);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(good_sets_have_no_finding),
        cmocka_unit_test(a_changed_byte_is_found),
        cmocka_unit_test(an_object_that_is_gone_is_missed),
        cmocka_unit_test(layouts_do_not_mix),
        cmocka_unit_test(compatible_is_known),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
