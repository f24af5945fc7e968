#include "test.h"
#include "wire.h"

static Obvault__V1__PgKey key_of(uint64_t table_id, uint32_t part)
{
    Obvault__V1__PgKey k = OBVAULT__V1__PG_KEY__INIT;
    k.table_id = table_id;
    k.part_id = part;
    return k;
}

struct batch {
    Obvault__V1__Task task;
    Obvault__V1__BackupBatch batch;
    Obvault__V1__BackupSet set;
    Obvault__V1__PgKey keys[OBV_BATCH_PGS_MAX + 1];
    Obvault__V1__PgKey *list[OBV_BATCH_PGS_MAX + 1];
};

static void make_batch(struct batch *b, size_t pgs)
{
    obvault__v1__task__init(&b->task);
    obvault__v1__backup_batch__init(&b->batch);
    obvault__v1__backup_set__init(&b->set);
    static char uid[] = "t1", name[] = "obshop";
    b->task.uid = uid;
    b->task.epoch = 3;
    b->task.deadline_s = 60;
    b->task.body_case = OBVAULT__V1__TASK__BODY_BATCH;
    b->task.batch = &b->batch;
    b->set.cluster_name = name;
    b->set.cluster_id = 7;
    b->set.tenant_id = 1001;
    b->set.set_id = b->set.full_set_id = 2;
    b->set.date = 20210304;
    b->batch.set = &b->set;
    b->batch.task_id = 5;
    b->batch.round = 1;
    for (size_t i = 0; i < pgs; i++) {
        b->keys[i] = key_of((uint64_t)1001 << 40 | (50001 + i), (uint32_t)i);
        b->list[i] = &b->keys[i];
    }
    b->batch.pgs = b->list;
    b->batch.n_pgs = pgs;
}

static void a_batch_is_read_whole(void **state)
{
    (void)state;
    static struct batch b;
    obv_task *t = NULL;
    obv_err err = {0};
    make_batch(&b, OBV_BATCH_PGS_MAX);
    assert_int_equal(obv_wire_task(&b.task, &t, &err), OBV_OK);
    assert_string_equal(t->uid, "t1");
    assert_int_equal(t->kind, OBV_TASK_BATCH);
    assert_int_equal(t->task_id, 5);
    assert_int_equal(t->deadline_s, 60);
    assert_int_equal(t->pg_count, OBV_BATCH_PGS_MAX);
    assert_int_equal(t->pgs[9].part_id, 9);
    assert_string_equal(t->set.cluster_name, "obshop");
    obv_task_free(t);
}

static void a_task_out_of_bounds_is_refused(void **state)
{
    (void)state;
    static struct batch b;
    for (int i = 0; i < 12; i++) {
        static char empty[] = "", slash[] = "a/b";
        static char longest[200];
        obv_task *t = NULL;
        obv_err err = {0};
        make_batch(&b, 2);
        memset(longest, 'u', sizeof longest - 1);
        switch (i) {
        case 0:
            b.task.uid = empty;
            break;
        case 1:
            b.task.uid = longest;
            break;
        case 2:
            b.batch.set = NULL;
            break;
        case 3:
            b.batch.n_pgs = 0;
            break;
        case 4:
            b.batch.round = 0;
            break;
        case 5:
            b.set.set_id = 0;
            break;
        case 6:
            b.set.date = 5;
            break;
        case 7:
            b.set.cluster_name = slash;
            break;
        case 8:
            b.keys[1].table_id = (uint64_t)1002 << 40 | 50001;
            break; /* of another tenant */
        case 9:
            b.keys[1].part_id = UINT32_MAX;
            break;
        case 10:
            b.batch.task_id = UINT64_MAX;
            break;
        default:
            make_batch(&b, OBV_BATCH_PGS_MAX + 1);
            break;
        }
        print_message("case: %d\n", i);
        assert_int_equal(obv_wire_task(&b.task, &t, &err), OBV_E_INVAL);
        assert_null(t);
    }
    obv_task *t = NULL;
    obv_err err = {0};
    make_batch(&b, 1);
    b.task.body_case = OBVAULT__V1__TASK__BODY__NOT_SET;
    assert_int_equal(obv_wire_task(&b.task, &t, &err), OBV_E_UNSUPPORTED);
}

static void files_keep_their_paths_and_digests(void **state)
{
    (void)state;
    static char uid[] = "t2", good[] = "obshop/7/incarnation_1/tenant_info", bad[] = "obshop/../x";
    static uint8_t sha[OBV_SHA_LEN], content[] = "hello";
    for (int i = 0; i < 5; i++) {
        Obvault__V1__Task task = OBVAULT__V1__TASK__INIT;
        Obvault__V1__PutFiles files = OBVAULT__V1__PUT_FILES__INIT;
        Obvault__V1__PutFile file = OBVAULT__V1__PUT_FILE__INIT;
        Obvault__V1__PutFile *list[] = {&file};
        obv_task *t = NULL;
        obv_err err = {0};
        task.uid = uid;
        task.body_case = OBVAULT__V1__TASK__BODY_PUT_FILES;
        task.put_files = &files;
        files.files = list;
        files.n_files = 1;
        file.path = i == 1 ? bad : good;
        file.size = i == 2 ? 4 : 5;
        file.sha256 = (ProtobufCBinaryData){i == 3 ? 31 : OBV_SHA_LEN, sha};
        file.content = (ProtobufCBinaryData){i == 4 ? 0 : 5, content};
        const obv_code code = obv_wire_task(&task, &t, &err);
        assert_int_equal(code, i == 0 || i == 4 ? OBV_OK : OBV_E_INVAL);
        if (code != OBV_OK)
            continue;
        assert_string_equal(t->files[0].path, good);
        assert_int_equal(t->files[0].content != NULL, i == 0); /* else it is asked for in chunks */
        obv_task_free(t);
    }
}

static void objects_to_look_up_keep_what_is_known_of_them(void **state)
{
    (void)state;
    static char uid[] = "t3", good[] = "obshop/7/incarnation_1/1001/data/x", bad[] = "/etc/passwd";
    static uint8_t sha[OBV_SHA_LEN] = {9};
    static Obvault__V1__StoredObject *many[OBV_VERIFY_MAX + 1];
    for (int i = 0; i < 5; i++) {
        Obvault__V1__Task task = OBVAULT__V1__TASK__INIT;
        Obvault__V1__VerifyObjects v = OBVAULT__V1__VERIFY_OBJECTS__INIT;
        Obvault__V1__StoredObject o = OBVAULT__V1__STORED_OBJECT__INIT;
        obv_task *t = NULL;
        obv_err err = {0};
        for (size_t n = 0; n <= OBV_VERIFY_MAX; n++)
            many[n] = &o;
        task.uid = uid;
        task.body_case = OBVAULT__V1__TASK__BODY_VERIFY_OBJECTS;
        task.verify_objects = &v;
        v.objects = many;
        v.n_objects = i == 1 ? OBV_VERIFY_MAX + 1 : OBV_VERIFY_MAX;
        v.sizes_only = true;
        o.path = i == 2 ? bad : good;
        o.size = 7;
        o.presence = i == 4;
        o.sha256 = (ProtobufCBinaryData){i >= 3 ? 31 : OBV_SHA_LEN, sha};
        assert_int_equal(obv_wire_task(&task, &t, &err), i == 0 || i == 4 ? OBV_OK : OBV_E_INVAL);
        if (!t)
            continue;
        assert_int_equal(t->object_count, OBV_VERIFY_MAX);
        assert_true(t->sizes_only);
        assert_int_equal(t->objects[1].size, 7);
        assert_int_equal(t->objects[1].presence, i == 4);
        assert_int_equal(t->objects[1].sha256[0], i == 4 ? 0 : 9); /* one that is not known is not read */
        obv_task_free(t);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_batch_is_read_whole),
        cmocka_unit_test(a_task_out_of_bounds_is_refused),
        cmocka_unit_test(files_keep_their_paths_and_digests),
        cmocka_unit_test(objects_to_look_up_keep_what_is_known_of_them),
    };
    return cmocka_run_group_tests_name("agent.wire", tests, NULL, NULL);
}
