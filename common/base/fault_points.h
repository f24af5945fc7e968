/* fault_points.h - every named fault point and seeded bug of test builds: X(name, where it stands and what it means)
 *
 * Sorted by name. A point that code names but this table does not aborts at its first hit.
 */
#ifndef OBV_BASE_FAULT_POINTS_H
#define OBV_BASE_FAULT_POINTS_H

/* clang-format off */
#define OBV_FAULT_POINTS(X)                                                                                            \
    X("archive.after_append", "agent/job/archive_media.c: blocks are appended, not synced")                            \
    X("archive.after_index", "agent/job/archive_media.c: index record durable, next data file not begun")              \
    X("archive.after_key", "agent/job/archive_media.c: archive_key is put, no kickoff block yet")                      \
    X("archive.after_kickoff", "agent/job/archive_media.c: kickoff block appended, not synced")                        \
    X("archive.after_sync", "agent/job/archive_loop.c: appends durable, not published to the report")                  \
    X("archive.append", "agent/job/archive_media.c: error: an append fails")                                           \
    X("archive.before_index", "agent/job/archive_media.c: data file full and durable, no index record yet")            \
    X("archive.before_key", "agent/job/archive_media.c: start of a PG known, nothing written")                         \
    X("archive.before_report", "agent/job/archive.c: before a report is made")                                         \
    X("archive.before_sync", "agent/job/archive_loop.c: all appends of a cycle done")                                  \
    X("archive.piece_begin", "agent/job/archive_piece.c: a PG leaves its piece, nothing written")                      \
    X("archive.piece_closed", "agent/job/archive_piece.c: index record of the old piece durable, no new archive_key") \
    X("archive.piece_key", "agent/job/archive_piece.c: archive_key of the new piece durable, no data there")          \
    X("archive.piece_put", "agent/job/archive_piece.c: error: archive_key of a new piece cannot be put")               \
    X("archive.sync", "agent/job/archive_loop.c: error: a sync fails")                                                 \
    X("archive.takeover_indexed", "agent/job/archive_resume.c: a left data file has got its index record")             \
    X("archive.takeover_listed", "agent/job/archive_resume.c: a PG's files are listed, nothing closed yet")            \
    X("backup.before_fencing", "agent/job/backup_pg.c: all blocks are stored, result and metas are not journalled")    \
    X("backup.before_major_index", "agent/job/backup_pg.c: the minor index is stored, the fence is not")               \
    X("backup.before_meta_file", "agent/job/meta.c: both meta files are written, none is stored")                      \
    X("backup.before_open", "agent/job/backup_pg.c: nothing of the PG was asked yet")                                  \
    X("backup.before_put_file", "agent/job/meta.c: a file made by the coordinator is about to be put")                 \
    X("backup.before_report", "agent/sync.c: results are in the journal, the coordinator has not heard of them")       \
    X("backup.fencing", "agent/job/backup_pg.c: result and metas are journalled, no index file is stored")             \
    X("backup.major_file_journalled", "agent/job/backup_copy.c: a file of major_data is stored and journalled")        \
    X("backup.major_file_stored", "agent/job/backup_copy.c: a file of major_data is stored, not journalled")           \
    X("backup.major_file_written", "agent/job/backup_copy.c: a file of major_data is written, not stored")             \
    X("backup.major_index_stored", "agent/job/backup_pg.c: the fence is stored, the journal does not know")            \
    X("backup.meta_file_stored", "agent/job/meta.c: meta_file_<task> is stored, its index is not")                     \
    X("backup.meta_index_stored", "agent/job/meta.c: both meta files are stored, nothing is noted")                    \
    X("backup.minor_file_journalled", "agent/job/backup_copy.c: a file of minor_data is stored and journalled")        \
    X("backup.minor_file_stored", "agent/job/backup_copy.c: a file of minor_data is stored, not journalled")           \
    X("backup.minor_file_written", "agent/job/backup_copy.c: a file of minor_data is written, not stored")             \
    X("backup.record_stored", "agent/job/backup_pg.c: the PG's record is stored, no index file is")                    \
    X("backup.minor_index_stored", "agent/job/backup_pg.c: the minor index is stored, not journalled")                 \
    X("backup.pg_journalled", "agent/job/backup_pg.c: the PG is copied and journalled, not reported")                  \
    X("backup.pg_opened", "agent/job/backup_pg.c: metas are read and checked, no block is copied")                     \
    X("backup.pg_restarted", "agent/job/backup_pg.c: a new state of the PG is noted, stale objects are not removed")   \
    X("backup.put_file_stored", "agent/job/meta.c: a file made by the coordinator is stored, nothing is noted")        \
    X("backup.task_ended", "agent/job/runner.c: the end of a task is in the journal, nothing is reported")             \
    X("coordinator.archive_doing", "coordinator/job/archive_round.c: the round is DOING, its files are queued")        \
    X("coordinator.archive_pending", "coordinator/job/archive_publish.c: new checkpoints are queued, not stored")      \
    X("coordinator.archive_published", "coordinator/job/archive_publish.c: new checkpoints are stored and recorded")   \
    X("coordinator.archive_started", "coordinator/job/archive_round.c: a round is recorded, nothing is stored")        \
    X("coordinator.archive_stopped", "coordinator/job/archive_round.c: the round has ended")                           \
    X("coordinator.archive_stopping", "coordinator/job/archive_round.c: agents are told to let go")                    \
    X("coordinator.backup_batched", "coordinator/job/backup_copy.c: a batch is recorded, no agent has it")             \
    X("coordinator.backup_reviewed", "coordinator/job/backup_review.c: a tenant's copies were compared with its schema") \
    X("coordinator.backup_copied", "coordinator/job/backup_end.c: all PGs are copied, the snapshot is fixed")          \
    X("coordinator.backup_closed", "coordinator/job/backup_end.c: the log reaches the snapshot, the schema is proven") \
    X("coordinator.backup_done", "coordinator/job/backup_end.c: the set is good")                                      \
    X("coordinator.backup_failed", "coordinator/job/backup_end.c: the set has failed, its entries are queued")         \
    X("coordinator.backup_generated", "coordinator/job/backup.c: a tenant's PGs are recorded, their lists queued")     \
    X("coordinator.backup_metas", "coordinator/job/backup_end.c: all meta records are stored, the last files queued")  \
    X("coordinator.backup_prepared", "coordinator/job/backup.c: the set is recorded, nothing is stored")               \
    X("coordinator.backup_scheduled", "coordinator/job/backup.c: the set's first entries are stored")                  \
    X("coordinator.files_queued", "coordinator/job/files.c: files of a step are queued, no agent has them")            \
    X("coordinator.pin_given_back", "coordinator/job/pin.c: a tenant's variable is as before, the pin recorded still") \
    X("coordinator.pin_recorded", "coordinator/job/pin.c: a pin is recorded, the tenant's variable as before")         \
    X("coordinator.pin_taken", "coordinator/job/pin.c: a tenant's variable is raised")                                 \
    X("coordinator.piece_frozen", "coordinator/job/archive_piece.c: a piece is FROZEN, its files are queued")           \
    X("coordinator.piece_switched", "coordinator/job/archive_piece.c: a new piece is recorded, no agent knows it")     \
    X("coordinator.repo_init", "coordinator/job/repo_init.c: the identity is made up, not stored")                     \
    X("coordinator.restore_issue", "coordinator/job/restore.c: about to issue the restore")                            \
    X("coordinator.restore_issued", "coordinator/job/restore.c: the restore is issued, not recorded")                  \
    X("repository.before_identity", "agent/host/repository.c: all is checked, repository.json is not put yet")         \
    X("test.point", "tests/unit/base/test_fault.c")

#define OBV_FAULT_BUGS(X)                                                                                              \
    X("bug.a10_doing_result_0", "coordinator/job/backup_files.c: the entry of a running set has result 0")             \
    X("bug.a1_pin_left", "coordinator/job/pin.c: a tenant's variable is not set back")                                 \
    X("bug.a2_until_equals_s", "coordinator/job/window.c: the set's snapshot itself is offered and restored")          \
    X("bug.a3a_position_of_the_end", "agent/source/observer_pg.c: a later position goes with the earlier sstables")    \
    X("bug.a3a_trans_not_compared", "agent/source/observer_choice.c: transaction states behind the position are taken")  \
    X("bug.a3b_two_majors", "agent/source/observer_pg.c: the major before the newest is kept too")                     \
    X("bug.a3c_minor_beyond", "agent/source/observer_choice.c: minors behind the one that reaches the position stay")  \
    X("bug.a3c_minor_short", "agent/source/observer_pg.c: the minor that reaches the position is left out")            \
    X("bug.a3c_no_trans", "agent/source/observer_pg.c: the transaction-state sstables are left out")                   \
    X("bug.a3d_schema_version_small", "common/format/media/meta_records.c: data_info.schema_version is not raised")    \
    X("bug.a3e_odd_assist", "agent/source/observer_pg.c: a table whose keys a restore makes anew is taken")            \
    X("bug.a3e_replica_state", "agent/source/observer_pg.c: a replica that is being restored is taken")                \
    X("bug.a3f_s_below_l", "coordinator/job/backup_end.c: S lies below what the copies keep versions from")            \
    X("bug.a4_lists_not_closed", "coordinator/job/backup_review.c: PGs that came under the copy are not looked for")   \
    X("bug.a4_contents_not_closed", "coordinator/job/backup_review.c: copies are not compared with what they must hold") \
    X("bug.a5_layout_1", "coordinator/job/backup_files.c: the set says that it is of layout 1")                        \
    X("bug.a6_sys_pg_missing", "coordinator/cluster/sql_pgs.c: one system PG is in no list")                           \
    X("bug.a6_tablegroup_missing", "coordinator/cluster/sql_pgs.c: PGs of tablegroups are in no list")                 \
    X("bug.a7_base_version", "coordinator/job/backup.c: a restored tenant without a merge behind it is taken")         \
    X("bug.a7_gts", "coordinator/job/checks.c: a tenant with the local timestamp service is taken")                    \
    X("bug.a7_standby", "coordinator/job/checks.c: a standby is taken")                                                \
    X("bug.a7_tenant_state", "coordinator/job/checks.c: a tenant that is dropped or restored is taken")                \
    X("bug.a7_upgrade", "coordinator/job/checks.c: a cluster in upgrade is taken")                                     \
    X("bug.a8_build_version", "coordinator/cluster/sql_cluster.c: cluster_version is made of build_version")           \
    X("bug.d19_asks_all_servers", "agent/job/archive_sql.c: the sampling queries name no server")                      \
    X("bug.d20_alters_source", "coordinator/job/backup.c: a statement on the source that needs more than SELECT")      \
    X("bug.d21_all_tenants", "coordinator/cluster/sql_pgs.c: tables of all tenants are read through")                  \
    X("bug.d21_polls_replicas", "coordinator/job/backup_copy.c: replica tables are read with every step")              \
    X("bug.d22_locality_empty", "coordinator/job/backup_files.c: tenant_locality_info has no locality")                \
    X("bug.d22_old_names_lost", "coordinator/job/names.c: a renamed tenant's earlier names are left out")              \
    X("bug.drop_block", "agent/job/backup_copy.c: a macroblock is left out of the copy")                               \
    X("bug.wrong_log_range", "agent/job/archive_media.c: one committed log is left out of its block")                  \
    X("bug.wrong_trans_sstable", "agent/job/bugs.c: blocks of a transaction-state sstable are those of another PG")
/* clang-format on */

#endif
