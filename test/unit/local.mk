# One program per module; the driver suite runs against every store driver.
check_PROGRAMS += $(unit_tests)
TESTS += $(unit_tests)
unit_tests =
# lib/base
unit_tests += test/unit/test_arena test/unit/test_buf test/unit/test_clock test/unit/test_err
unit_tests += test/unit/test_file test/unit/test_lock test/unit/test_log test/unit/test_map
unit_tests += test/unit/test_path test/unit/test_str test/unit/test_sys
# lib/stream, lib/form
unit_tests += test/unit/test_cipher test/unit/test_codec test/unit/test_hash test/unit/test_lines test/unit/test_sink
unit_tests += test/unit/test_fields test/unit/test_ini test/unit/test_json
# lib/wire
unit_tests += test/unit/test_frame test/unit/test_pack
# src/pg
unit_tests += test/unit/test_control test/unit/test_page test/unit/test_timeline
unit_tests += test/unit/test_version test/unit/test_wal
# src/store, src/work
unit_tests += test/driver/test_store test/driver/test_remote_store test/unit/test_pipe test/unit/test_posix test/unit/test_pool test/unit/test_sftp
unit_tests += test/unit/test_dial test/unit/test_beneath test/unit/test_serve
unit_tests += test/unit/test_remote_pack
# src/repo
unit_tests += test/unit/test_bundle_get test/unit/test_ahead
unit_tests += test/unit/test_info test/unit/test_layout test/unit/test_manifest test/unit/test_plan test/unit/test_resume test/unit/test_scan
unit_tests += test/unit/test_plan_standby
unit_tests += test/unit/test_wal_find test/unit/test_wal_get test/unit/test_wal_put
# src/config, src/cmd
unit_tests += test/unit/test_conf_file test/unit/test_config_load test/unit/test_config_values
unit_tests += test/unit/test_spool test/unit/test_help test/unit/test_options test/unit/test_archive_exit
unit_tests += test/unit/test_recovery test/unit/test_restore_select
unit_tests += test/unit/test_wal_reach
unit_tests += test/unit/test_restore_map
unit_tests += test/unit/test_block_map test/unit/test_block_get test/unit/test_block_put test/unit/test_block_size
unit_tests += test/unit/test_retention test/unit/test_retention_model
unit_tests += test/unit/test_file_check test/unit/test_verify test/unit/test_wal_gaps
unit_tests += test/unit/test_wal_lines test/unit/test_verify_cluster test/unit/test_wal_copy
unit_tests += test/unit/test_wal_drop
unit_tests += test/unit/test_spool_in
unit_tests += test/unit/test_push_guard test/unit/test_serve_policy
unit_tests += test/unit/test_remote_db
